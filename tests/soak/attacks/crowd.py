"""The attacker's process: many sockets from many addresses, at a bounded rate; they stay open until it is killed."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from bench.idle import BIND_ADDRESS_NO_PORT
from tests.soak.attacks.configurations import PORT
from tests.soak.attacks.good_client import Tally
from tests.soak.client import SMALL_BUFFER

IPV6_FREEBIND = 78  # linux/in6.h: the addresses are routed to loopback, and assigned to no interface
PATIENCE_SECONDS = 1.5  # for the last answers of an attack
RETRY_SECONDS = 0.02  # between two attempts at a unix listener whose queue is full


@dataclass(slots=True)
class Crowd:
    """The clients of one attacker."""

    pid: int  # of the daemon
    unix_path: Path
    begun: int = 0  # connections
    ends: Counter[str] = field(default_factory=Counter)  # how those ended that wait for an answer
    good: Tally = field(default_factory=Tally)  # of an attack whose clients are good
    held: list[socket.socket] = field(default_factory=list)

    async def arrive(self, count: int, rate: float, visit: Callable[[int], Awaitable[None]]) -> None:
        """Begin ``count`` visits, ``rate`` a second; those that do not end are given up."""
        start, visits = time.monotonic(), []
        for number in range(count):
            while (wait := start + number / rate - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            visits.append(asyncio.ensure_future(visit(number)))
            if not number % 50:  # where it is behind its rate: let the visits go on
                await asyncio.sleep(0)
        _, unfinished = await asyncio.wait(visits, timeout=PATIENCE_SECONDS)
        for task in unfinished:
            task.cancel()
        for result in await asyncio.gather(*visits, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def ask(self, source: str, line: bytes, reads: bool = True, closes: bool = True) -> None:
        """Connect, send the line, and if wanted read up to the end and close."""
        with self._counted():
            client = await self.connect(source)
            if line:
                await asyncio.get_running_loop().sock_sendall(client, line)
            if reads:
                self.ends["answered" if await self.read(client) else "closed"] += 1
                if closes:
                    client.close()
                    self.held.remove(client)

    async def read(self, client: socket.socket) -> bytes:
        """All that comes."""
        answer = bytearray()
        while data := await asyncio.get_running_loop().sock_recv(client, 65536):
            answer += data
        return bytes(answer)

    async def connect(self, source: str, port: int = PORT) -> socket.socket:
        """A connection from the address, or to the unix listener if it is empty; it takes little unread data."""
        self.begun += 1
        family = socket.AF_UNIX if not source else socket.AF_INET6 if ":" in source else socket.AF_INET
        client = socket.socket(family, socket.SOCK_STREAM)
        self.held.append(client)
        client.setblocking(False)
        if family == socket.AF_UNIX:
            await self._connect_unix(client)
            return client
        prepare(client, source)
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        await asyncio.get_running_loop().sock_connect(client, (host, port))
        return client

    async def _connect_unix(self, client: socket.socket) -> None:
        while True:
            try:
                return client.connect(str(self.unix_path))
            except BlockingIOError:
                await asyncio.sleep(RETRY_SECONDS)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionError, TimeoutError) as error:  # which is the daemon's right; all else is a bug of the attack
            self.ends[type(error).__name__] += 1


def prepare(client: socket.socket, source: str) -> None:
    """Let a TCP socket have this address, and a receive buffer that takes little."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER[0])
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_BUFFER[1])
    client.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
    if client.family == socket.AF_INET6:
        client.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    client.bind((source, 0))


def run(
    attacker: Callable[[Crowd], Coroutine[None, None, None]],
    crowd: Crowd,
    uid: int | None,
    orders: "Connection[Crowd | None, str]",
) -> None:
    """Say that it is ready, attack when told, send the counts, and hold all sockets until killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the soak test, which then kills this process
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    orders.send(None)
    orders.recv()
    asyncio.run(attacker(crowd))
    held, crowd.held = crowd.held, []  # sockets cannot be sent
    orders.send(crowd)
    with contextlib.suppress(EOFError):
        orders.recv()
    del held
