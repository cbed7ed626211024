"""Samples the daemons every second during the load, and prints a summary every few seconds."""

import time
from collections.abc import Sequence

from tests.soak.daemon import Daemon, Sample, SoakError
from tests.soak.load import Load
from tests.soak.reloading import Reloading

SUMMARY_SECONDS = 5.0


class Monitor:
    """All samples of one daemon since the start of the load."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.samples: list[Sample] = [daemon.sample()]

    def sample(self) -> None:
        """Add a sample."""
        self.samples.append(self.daemon.sample())

    def memory(self, after: float, seconds: float) -> float:
        """The highest VmRSS in kB over so many seconds, ``after`` the start of the load."""
        begin = self.samples[0].at + after
        return max(s.memory for s in self.samples[1:] if begin <= s.at <= begin + seconds + 1)

    def cpu_share(self, samples: int) -> float:
        """Per cent of one core over the last ``samples`` samples."""
        first, last = self.samples[max(len(self.samples) - samples - 1, 0)], self.samples[-1]
        return (last.cpu - first.cpu) / max(last.at - first.at, 1e-9) * 100

    def summary(self) -> str:
        """The last sample."""
        now = self.samples[-1]
        return (
            f"{self.daemon.name}: {now.memory / 1000:.1f} MB, {now.descriptors} fds, {now.threads} threads, "
            f"{self.cpu_share(int(SUMMARY_SECONDS)):.0f} % CPU"
        )


def monitor(
    monitors: Sequence[Monitor], loads: Sequence[Load], reloadings: Sequence[Reloading], seconds: float
) -> None:
    """Monitor the daemons for so many seconds. Raises SoakError if the load or a daemon fails."""
    start = next_sample = time.monotonic()
    next_summary = start + SUMMARY_SECONDS
    while time.monotonic() < start + seconds:
        next_sample += 1
        time.sleep(max(next_sample - time.monotonic(), 0))
        for load in loads:
            load.update()
        for each in monitors:
            each.sample()
        _check_running(loads, reloadings)
        if time.monotonic() >= next_summary:
            next_summary += SUMMARY_SECONDS
            right = sum(load.tally.right["good"] for load in loads)
            wrong = sum(load.tally.wrong.total() for load in loads)
            elapsed = time.monotonic() - start
            print(
                f"{elapsed:4.0f} s  {right:,} good  {wrong} wrong  ",
                "  ".join(each.summary() for each in monitors),
                flush=True,
            )


def _check_running(loads: Sequence[Load], reloadings: Sequence[Reloading]) -> None:
    reasons = [reloading.failure for reloading in reloadings if reloading.failure]
    reasons += ["a process of clients has ended" for load in loads if load.process.exitcode]
    if reasons:
        raise SoakError("\n".join([*reasons, *(problem for load in loads for problem in load.tally.problems)]))
