"""The load on one daemon: a process of its own, in which clients of every kind come at their pace."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext

from tests.soak.clients import KINDS, Kind
from tests.soak.visit import Tally, Target, Visit

AT_ONCE = 200  # visits of one kind, should the daemon get stuck: those who come then wait
REPORT_SECONDS = 1.0
LAST_SECONDS = 30.0  # for the last clients to come to their end


class Load:
    """The process; its tally is as old as the last ``look``."""

    def __init__(self, target: Target, until: float, context: SpawnContext) -> None:
        self.tally = Tally()
        self._reports, reports = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(target, until, reports), daemon=True)
        self.process.start()
        reports.close()  # so that the end of the process is the end of its reports

    def look(self) -> None:
        """Take the newest report."""
        with contextlib.suppress(EOFError):
            while self._reports.poll():
                self.tally = self._reports.recv()

    def join(self) -> int | None:
        """Wait for its end; its exit code, None where it did not end."""
        self.process.join(LAST_SECONDS)
        self.look()
        return self.process.exitcode

    def kill(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.join()


def planned(kind: str, name: str, seconds: float) -> float:
    """How many visits of this kind there are in so many seconds."""
    return sum(each.pace.get(name, 0) * seconds for each in KINDS if each.name == kind)


def _run(target: Target, until: float, reports: "Connection[Tally, Tally]") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the soak, which ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tally = Tally()
    asyncio.run(_come(target, until, tally, reports))
    reports.send(tally)


async def _come(target: Target, until: float, tally: Tally, reports: "Connection[Tally, Tally]") -> None:
    async with asyncio.TaskGroup() as group:
        for kind in KINDS:
            if target.name in kind.pace:
                group.create_task(_come_of_kind(kind, target, until, tally, group))
        while time.monotonic() < until:
            await asyncio.sleep(REPORT_SECONDS)
            reports.send(tally)  # to nobody, where the soak was killed: then this is the end here too


async def _come_of_kind(kind: Kind, target: Target, until: float, tally: Tally, group: asyncio.TaskGroup) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def visit(number: int) -> None:
        async with places:
            await kind.visit(Visit(target, tally, kind.name, kind.network, number, kind.addresses))

    for number, due in enumerate(_times(1 / kind.pace[target.name])):
        if due > until:
            return
        await asyncio.sleep(due - time.monotonic())
        async with places:  # nobody new where all places are taken
            pass
        group.create_task(visit(number))


def _times(interval: float) -> Iterator[float]:
    """When they come: the first soon, the others at this interval, more or less."""
    dice = random.Random(interval)
    due = time.monotonic() + interval / 2
    while True:
        yield due
        due += interval * dice.uniform(0.9, 1.1)
