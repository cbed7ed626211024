"""What metrics cost: ``python -m bench --metrics``."""

import statistics
from collections import defaultdict
from dataclasses import dataclass

from bench.contenders import OURS, POOL, SHIPPED, Contender, ours, pool, run_directory
from bench.load import TURNS, Run, measure_in_turns
from bench.peers import SOURCE
from bench.report import log_progress, log_run, origin, table, targets_table, write_above_hand_part
from bench.servers import running
from bench.targets import Runs, Target, cpu, lost, rate, ratio
from tests.helpers.http import get

RESULTS = SOURCE / "METRICS.md"
CLIENTS = 50
WITH = " with metrics"
MAX_CPU = 1.03  # of that without metrics
SCRAPES = 200  # of a round

DOCUMENT = """\
# What metrics cost

Written by `make bench`, {origin}.

{clients} clients at a time ask for one person, each query on a connection of its own; the answers are remembered, or,
through the pool, worked out by a worker each time. fingerd runs as shipped, with and without the section `metrics`,
at the same time as two processes, which are asked in turns, {turns} times in each of {rounds} rounds, by a load
generator that never sleeps. The figures are medians. A ratio is computed within each turn, and the median of these is
shown. A scrape of `/metrics` takes {scrape:.2f} ms of the event loop.

"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A server without metrics and with them."""

    without: Contender
    with_them: Contender


def main(rounds: int, scale: float, write: bool) -> int:
    """Measure, print, and with ``write`` write the page; 1 if an answer was lost."""
    pairs = _pairs()
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    scrapes = []
    for number in range(rounds):
        for pair in pairs:
            for name, found in measure_in_turns((pair.without, pair.with_them), CLIENTS, scale).items():
                runs[CLIENTS, name] += found
                log_run(f"round {number + 1} of {rounds}, {name}, the last run", found[-1])
        scrapes.append(_scrape_seconds(pairs[0].with_them))
        log_progress(f"round {number + 1} of {rounds}, a scrape: {scrapes[-1] * 1000:.2f} ms")
    head = DOCUMENT.format(
        origin=origin(), clients=CLIENTS, turns=TURNS, rounds=rounds, scrape=statistics.median(scrapes) * 1000
    )
    report = f"{head}{_table(pairs, runs)}\n{targets_table(targets(runs))}"
    print(report)
    if write:
        write_above_hand_part(RESULTS, report)
    return 1 if lost(runs, ()) else 0


def _pairs() -> tuple[Pair, ...]:
    return (
        Pair(ours(OURS, SHIPPED), ours(OURS + WITH, SHIPPED + _section(OURS))),
        Pair(pool(), pool(POOL + WITH, more=_section(POOL))),
    )


def _address(name: str) -> str:
    return str(run_directory() / f"{name.replace(' ', '-')}.metrics")


def _section(name: str) -> str:
    return f"metrics: {{{{listen: 'unix:{_address(name)}'}}}}\n"


def _scrape_seconds(contender: Contender) -> float:
    """CPU seconds that a scrape takes, of a daemon that is asked for nothing else."""
    address = _address(OURS)
    with running(contender) as server:
        get(address, "/metrics")
        before = server.cpu_seconds()
        for _ in range(SCRAPES):
            assert get(address, "/metrics").status == 200
        return (server.cpu_seconds() - before) / SCRAPES


def targets(runs: Runs) -> list[Target]:
    """What metrics may cost."""
    return [
        Target(
            f"{name}: CPU per query with metrics, to that without",
            "≤",
            MAX_CPU,
            ratio(runs, CLIENTS, cpu, name + WITH, name),
        )
        for name in (OURS, POOL)
    ] + [Target("lost or wrong answers in all runs", "≤", 0, lost(runs, ()))]


def _table(pairs: tuple[Pair, ...], runs: Runs) -> str:
    rows = []
    for pair in pairs:
        name = pair.without.name
        for contender in (pair.without, pair.with_them):
            found = runs[CLIENTS, contender.name]
            rates, cpus = (statistics.median(map(figure, found)) for figure in (rate, cpu))
            to_without = ratio(runs, CLIENTS, cpu, contender.name, name) or 0.0
            rows.append((contender.name, f"{rates:,.0f}", f"{cpus:.1f}", f"{to_without:.3f}"))
    return table(("server", "queries/s", "CPU µs/query", "ratio"), rows)
