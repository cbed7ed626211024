"""What fingerd has to reach, and whether it did."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.kinds import CACHED, CREW, DEBIAN, LIMIT, NO_LOG, OURS, PYFINGERD, TWISTED
from bench.load import Beside, Run

Runs = Mapping[tuple[int, str], Sequence[Run]]  # by clients and server; one a round
Figure = Callable[[Run], float]


@dataclass(frozen=True, slots=True)
class Target:
    """One figure, and where it has to be."""

    what: str
    relation: str  # of the figure to the bound: "≥", "≤" or "<"
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
    """The median of all rounds' ratios of one server's figure to another's; None where one was not measured."""
    pairs = zip(runs.get((clients, name), ()), runs.get((clients, base), ()), strict=False)
    ratios = [figure(run) / figure(other) for run, other in pairs if figure(other)]
    return statistics.median(ratios) if ratios else None


def lost(runs: Runs, besides: Sequence[Beside]) -> int:
    """Queries to fingerd, or to the limit, that did not get the right answer, and idle clients that were not held."""
    counted = sum(run.lost for (_, name), all_rounds in runs.items() for run in all_rounds if is_ours(name))
    return counted + sum(beside.lost for beside in besides)


def is_ours(name: str) -> bool:
    """Whether the server is in this repository."""
    return name not in (TWISTED, PYFINGERD, DEBIAN)


def targets(runs: Runs, besides: Sequence[Beside]) -> list[Target]:
    """All of them."""

    def to(clients: int, figure: Figure, base: str, name: str = OURS) -> float | None:
        return ratio(runs, clients, figure, name, base)

    crowd = {(beside.idle, beside.dripping): beside for beside in besides}
    alone, idle, dripping = crowd.get((0, 0)), crowd.get((10_000, 0)), crowd.get((10_000, 500))
    return [
        Target("queries a second at 50 clients, to the limit's", "≥", 0.80, to(50, rate, LIMIT)),
        Target("queries a second at 50 clients, to Twisted's", "≥", 1.1, to(50, rate, TWISTED)),
        Target("queries a second at 50 clients, to pyfingerd's", "≥", 6, to(50, rate, PYFINGERD)),
        Target("queries a second at 50 clients, to Debian's", "≥", 50, to(50, rate, DEBIAN)),
        Target("CPU per query at 50 clients, to the limit's", "≤", 2.5, to(50, cpu, LIMIT)),
        Target("CPU per query at 50 clients, to Twisted's", "≤", 0.9, to(50, cpu, TWISTED)),
        Target("the same with our log off", "≤", 0.7, to(50, cpu, TWISTED, NO_LOG)),
        Target("p99 at 1,000 clients, to Twisted's", "≤", 1.0, to(1_000, p99, TWISTED)),
        Target(
            "through the crew: queries a second at 50 clients, to the limit's", "≥", 0.45, to(50, rate, LIMIT, CREW)
        ),
        Target("through the crew: CPU per query at 50 clients, to the limit's", "≤", 4.5, to(50, cpu, LIMIT, CREW)),
        Target("from the cache: queries a second at 50 clients, to ours", "≥", 0.9, to(50, rate, OURS, CACHED)),
        Target("queries a second at 1 client, to the limit's", "≥", 0.75, to(1, rate, LIMIT)),
        Target("lost or wrong answers in all runs", "≤", 0, lost(runs, besides)),
        Target("memory with 10,000 idle clients", "<", 80, idle.memory if idle else None, " MB"),
        Target(
            "a good client's p99 beside 10,000 idle and 500 dripping",
            "<",
            50,
            dripping.p99 if dripping else None,
            " ms",
        ),
        Target("idle CPU, nobody connected", "<", 0.1, alone.cpu_share if alone else None, " %"),
        Target("idle CPU, 10,000 idle clients connected", "<", 0.1, idle.cpu_share if idle else None, " %"),
    ]
