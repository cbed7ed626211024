"""The targets of fingerd, and whether a measurement meets them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.contenders import CACHED, DEBIAN, LIMIT, NO_LOG, OURS, POOL, PYFINGERD, TWISTED
from bench.load import IdleRun, Run

Runs = Mapping[tuple[int, str], Sequence[Run]]  # by number of clients and server; one a round
Figure = Callable[[Run], float]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for one figure."""

    what: str
    relation: str  # of the figure to the bound: "≥", "≤", "<" or ">"
    bound: float
    measured: float | None
    unit: str = ""

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or ``not measured``."""
        if self.measured is None:
            return "not measured"
        met = {
            "≥": self.measured >= self.bound,
            "≤": self.measured <= self.bound,
            "<": self.measured < self.bound,
            ">": self.measured > self.bound,
        }
        return "met" if met[self.relation] else "**missed**"


def rate(run: Run) -> float:
    return run.rate


def p50(run: Run) -> float:
    return run.p50


def p99(run: Run) -> float:
    return run.p99


def cpu(run: Run) -> float:
    return run.cpu


def memory(run: Run) -> float:
    return run.memory


def ratio(runs: Runs, clients: int, figure: Figure, name: str, base: str) -> float | None:
    """The median of the rounds' ratios of a server's figure to that of ``base``; None if one was not measured."""
    pairs = zip(runs.get((clients, name), ()), runs.get((clients, base), ()), strict=False)
    ratios = [figure(run) / figure(other) for run, other in pairs if figure(other)]
    return statistics.median(ratios) if ratios else None


def lost(runs: Runs, idle_runs: Sequence[IdleRun]) -> int:
    """The queries to servers of this repository without the right answer, and the idle clients that were closed."""
    counted = sum(run.lost for (_, name), all_rounds in runs.items() for run in all_rounds if is_ours(name))
    return counted + sum(run.lost for run in idle_runs)


def is_ours(name: str) -> bool:
    """Whether the server is in this repository."""
    return name not in (TWISTED, PYFINGERD, DEBIAN)


def targets(runs: Runs, idle_runs: Sequence[IdleRun]) -> list[Target]:
    """All targets of the servers."""

    def to(clients: int, figure: Figure, base: str, name: str = OURS) -> float | None:
        return ratio(runs, clients, figure, name, base)

    by_clients = {(run.idle, run.dripping): run for run in idle_runs}
    alone, idle, dripping = map(by_clients.get, ((0, 0), (10_000, 0), (10_000, 500)))
    return [
        Target("queries a second at 50 clients, to the limit's", "≥", 0.80, to(50, rate, LIMIT)),
        Target("queries a second at 50 clients, to Twisted's", "≥", 1.1, to(50, rate, TWISTED)),
        Target("queries a second at 50 clients, to pyfingerd's", "≥", 6, to(50, rate, PYFINGERD)),
        Target("queries a second at 50 clients, to Debian's", "≥", 50, to(50, rate, DEBIAN)),
        Target("CPU per query at 50 clients, to the limit's", "≤", 2.5, to(50, cpu, LIMIT)),
        Target("CPU per query at 50 clients, to Twisted's", "≤", 0.9, to(50, cpu, TWISTED)),
        Target("the same without our log", "≤", 0.7, to(50, cpu, TWISTED, NO_LOG)),
        Target("p99 at 1,000 clients, to Twisted's", "≤", 1.0, to(1_000, p99, TWISTED)),
        Target(
            "through the pool: queries a second at 50 clients, to the limit's", "≥", 0.45, to(50, rate, LIMIT, POOL)
        ),
        Target("through the pool: CPU per query at 50 clients, to the limit's", "≤", 4.5, to(50, cpu, LIMIT, POOL)),
        Target("from the cache: queries a second at 50 clients, to ours", "≥", 0.9, to(50, rate, OURS, CACHED)),
        Target("queries a second at 1 client, to the limit's", "≥", 0.75, to(1, rate, LIMIT)),
        Target("lost or wrong answers in all runs", "≤", 0, lost(runs, idle_runs)),
        Target("memory with 10,000 idle clients", "<", 80, idle.memory if idle else None, " MB"),
        Target(
            "a good client's p99 beside 10,000 idle and 500 dripping",
            "<",
            50,
            dripping.p99 if dripping else None,
            " ms",
        ),
        Target("idle CPU, no client connected", "<", 0.1, alone.cpu_share if alone else None, " %"),
        Target("idle CPU, 10,000 idle clients connected", "<", 0.1, idle.cpu_share if idle else None, " %"),
    ]
