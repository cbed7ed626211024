"""The load on one daemon: a process in which clients of every kind arrive at their rates."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext

from tests.soak.client import Client, Tally, Target
from tests.soak.client_kinds import KINDS, ClientKind

MAX_CONCURRENT = 200  # clients of one kind; if the daemon hangs, new ones wait
REPORT_SECONDS = 1.0
END_TIMEOUT = 30.0  # for the last clients


class Load:
    """The process; its tally is that of the last ``update``."""

    def __init__(self, target: Target, end: float, context: SpawnContext) -> None:
        self.tally = Tally()
        self._reports, reports = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(target, end, reports), daemon=True)
        self.process.start()
        reports.close()  # so that the pipe ends with the process

    def update(self) -> None:
        """Take the newest report."""
        with contextlib.suppress(EOFError):
            while self._reports.poll():
                self.tally = self._reports.recv()

    def join(self) -> int | None:
        """Wait for its end; returns its exit code, None if it is still running."""
        self.process.join(END_TIMEOUT)
        self.update()
        return self.process.exitcode

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self.process.join()


def planned_clients(kind: str, name: str, seconds: float) -> float:
    """The number of clients of a kind in so many seconds."""
    return sum(each.rate.get(name, 0) * seconds for each in KINDS if each.name == kind)


def _run(target: Target, end: float, reports: "Connection[Tally, Tally]") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the soak test, which then kills this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tally = Tally()
    asyncio.run(_generate(target, end, tally, reports))
    reports.send(tally)


async def _generate(target: Target, end: float, tally: Tally, reports: "Connection[Tally, Tally]") -> None:
    async with asyncio.TaskGroup() as group:
        for kind in KINDS:
            if target.name in kind.rate:
                group.create_task(_generate_kind(kind, target, end, tally, group))
        while time.monotonic() < end:
            await asyncio.sleep(REPORT_SECONDS)
            reports.send(tally)  # fails if the soak test was killed, which ends this process too


async def _generate_kind(kind: ClientKind, target: Target, end: float, tally: Tally, group: asyncio.TaskGroup) -> None:
    slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def run(number: int) -> None:
        async with slots:
            await kind.run(Client(target, tally, kind.name, kind.network, number, kind.addresses))

    for number, arrival in enumerate(_arrivals(1 / kind.rate[target.name])):
        if arrival > end:
            return
        await asyncio.sleep(arrival - time.monotonic())
        async with slots:  # wait for a free slot before making a task
            pass
        group.create_task(run(number))


def _arrivals(interval: float) -> Iterator[float]:
    """The arrival times: the first after half an interval, the others after an interval of 90 to 110 %."""
    generator = random.Random(interval)
    arrival = time.monotonic() + interval / 2
    while True:
        yield arrival
        arrival += interval * generator.uniform(0.9, 1.1)
