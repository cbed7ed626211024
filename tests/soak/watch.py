"""Looking at the daemons every second while the load lasts, and telling of it every few."""

import statistics
import time
from collections.abc import Sequence

from tests.soak.daemon import Daemon, NotWellError, Sample
from tests.soak.load import Load
from tests.soak.reloading import Reloading

TOLD_SECONDS = 5.0


class Watch:
    """All samples of one daemon since the load began."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.samples: list[Sample] = [daemon.sample()]

    def look(self) -> None:
        """Take another one."""
        self.samples.append(self.daemon.sample())

    def memory(self, after: float, seconds: float) -> float:
        """kB of VmRSS: the median of the samples of so many seconds, beginning so long after the load began."""
        begun = self.samples[0].at + after
        return statistics.median(s.memory for s in self.samples[1:] if begun <= s.at <= begun + seconds + 1)

    def cpu_share(self, samples: int) -> float:
        """Per cent of one core, in the last so many samples."""
        first, last = self.samples[max(len(self.samples) - samples - 1, 0)], self.samples[-1]
        return (last.cpu - first.cpu) / max(last.at - first.at, 1e-9) * 100

    def told(self) -> str:
        """How it is now, in a few words."""
        now = self.samples[-1]
        return (
            f"{self.daemon.name}: {now.memory / 1000:.1f} MB, {now.descriptors} fds, {now.threads} threads, "
            f"{self.cpu_share(int(TOLD_SECONDS)):.0f} % CPU"
        )


def watch(watches: Sequence[Watch], loads: Sequence[Load], reloadings: Sequence[Reloading], seconds: float) -> None:
    """Until the load is over; NotWellError where it cannot go on."""
    begun = due = time.monotonic()
    told = begun + TOLD_SECONDS
    while time.monotonic() < begun + seconds:
        due += 1
        time.sleep(max(due - time.monotonic(), 0))
        for load in loads:
            load.look()
        for each in watches:
            each.look()
        _check_going_on(loads, reloadings)
        if time.monotonic() >= told:
            told += TOLD_SECONDS
            right = sum(load.tally.right["good"] for load in loads)
            wrong = sum(load.tally.wrong.total() for load in loads)
            elapsed = time.monotonic() - begun
            print(
                f"{elapsed:4.0f} s  {right:,} good  {wrong} wrong  ", "  ".join(w.told() for w in watches), flush=True
            )


def _check_going_on(loads: Sequence[Load], reloadings: Sequence[Reloading]) -> None:
    reasons = [reloading.failure for reloading in reloadings if reloading.failure]
    reasons += ["a process of clients has ended" for load in loads if load.process.exitcode]
    if reasons:
        raise NotWellError("\n".join([*reasons, *(complaint for load in loads for complaint in load.tally.complaints)]))
