"""The good client: asks 25 times a second, whatever the daemon does, and keeps the time of each answer.

Where HTTP is attacked it asks by Finger and by HTTP in turns.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from tests.soak.attacks.configurations import ANSWER, GOOD_NETWORK, HTTP_PORT, PORT, QUERY, REQUEST

INTERVAL = 0.04  # seconds between two queries, which do not wait for each other
TIMEOUT = 10.0  # after which an answer is lost
ADDRESSES = 10  # of GOOD_NETWORK: unanswered queries must not come to ``per_client``
MAX_PROBLEMS = 5
PRIORITY = -10  # of the daemon and the good client: the attack is what is asked, not the CPU that asking takes


@dataclass(slots=True)
class Tally:
    """What good clients saw."""

    seconds: list[float] = field(default_factory=list)  # from connecting to the end of the answer, pauses left out
    late: list[float] = field(default_factory=list)  # by which this process itself was late: the machine is too busy
    lost: int = 0
    problems: list[str] = field(default_factory=list)

    def lose(self, reason: str) -> None:
        """Count a query without its answer."""
        self.lost += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(reason)


def run(pause: float, by_http: bool, orders: "Connection[Tally | None, str]") -> None:
    """Say that it is ready, ask from the first order to the second one, and send the tally."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the soak test, which then kills this process
    with contextlib.suppress(PermissionError):  # root of a container may not
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    orders.send(None)
    orders.recv()
    orders.send(asyncio.run(_ask_until_told(pause, by_http, orders)))


async def _ask_until_told(pause: float, by_http: bool, orders: "Connection[Tally | None, str]") -> Tally:
    tally, number, planned = Tally(), 0, time.monotonic()
    async with asyncio.TaskGroup() as group:
        while not orders.poll():
            tally.late.append(time.monotonic() - planned)
            source, is_second = f"{GOOD_NETWORK}.{number % ADDRESSES + 1}", bool(number % 2)
            query = (HTTP_PORT, REQUEST) if by_http and is_second else (PORT, QUERY)
            group.create_task(_ask(tally, source, *query, pause if is_second else 0.0))
            number, planned = number + 1, planned + INTERVAL
            await asyncio.sleep(planned - time.monotonic())
    return tally


async def _ask(tally: Tally, source: str, port: int, query: bytes, pause: float) -> None:
    loop, start, answer = asyncio.get_running_loop(), time.monotonic(), bytearray()
    try:
        async with asyncio.timeout(TIMEOUT + pause):
            with socket.socket() as client:
                client.setblocking(False)
                client.bind((source, 0))
                await loop.sock_connect(client, ("127.0.0.1", port))
                if pause:
                    await asyncio.sleep(pause)
                await loop.sock_sendall(client, query)
                while data := await loop.sock_recv(client, 65536):
                    answer += data
    except OSError as error:  # TimeoutError is one
        return tally.lose(f"after {time.monotonic() - start:.2f} s: {error!r}")
    if answer.endswith(ANSWER):
        tally.seconds.append(time.monotonic() - start - pause)
    else:
        tally.lose(f"after {time.monotonic() - start:.2f} s: {bytes(answer[:100])!r}")
