"""Compares this checkout with another one: ``python -m bench --against DIR``.

Both are measured in turns in the same run, by this Python and its libraries.
``git worktree add DIR COMMIT`` makes a checkout of any commit. As root,
``type: system`` is measured too.
"""

import configparser
import contextlib
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.accounts import Host, own_host, populate
from bench.contenders import OURS, SHIPPED, WITH_IDLE, Contender, ours, pool
from bench.load import forget_closed_connections, idle_clients, measure, planned_queries
from bench.peers import ROOT, UnavailableError
from bench.people import files_backend, plans
from bench.report import log_progress, origin, table
from bench.servers import running

CLIENTS = (1, 50, 1_000)
NAMES = 10_000
DISTINCT = {1: 2_000, 50: 5_000, 1_000: 5_000}  # queries of a run: at most NAMES / 2, so that it asks no name twice
IDLE = 1_000
STARTS = 5  # of the daemon, and of pyfinger, in a round
LOST = "lost answers"

HEAD = """\
Written by `python -m bench --against`, {origin}.

Medians of {rounds} rounds, in which the checkouts take turns. A ratio is the figure of this checkout divided by that of
the other one; it is computed within each round, and the median of these is shown. Above 1 is better for queries/s, and
worse for all else. Each query of `files` and `system` asks for another name.

"""

Figures = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # by measure: of this checkout and of the other one


@dataclass(frozen=True, slots=True)
class Checkout:
    """A directory with the source of fingerd."""

    path: Path
    title: str


Measure = Callable[[Checkout], Iterator[tuple[str, float]]]  # yields names and figures


def open_checkout(path: Path) -> Checkout:
    """The checkout at a path, its commit as the title. Raises UnavailableError if the path is not one."""
    path = path.resolve()
    if not (path / "fingerd" / "__main__.py").exists():
        raise UnavailableError(f"{path}: not a checkout of fingerd")
    git = ("git", "describe", "--always", "--dirty")
    commit = subprocess.run(git, cwd=path, capture_output=True, text=True, check=False).stdout.strip()
    return Checkout(path, commit or path.name)


def main(directory: Path, rounds: int, scale: float) -> int:
    """Measure and print the table; 1 if this checkout lost an answer."""
    checkouts = open_checkout(ROOT), open_checkout(directory)
    figures: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    with _contenders() as contenders:
        measures: list[Measure] = [
            partial(_measure_load, contender, clients, scale) for contender in contenders for clients in CLIENTS
        ]
        measures += [_measure_start, _measure_memory, _measure_pyfinger]
        for checkout in checkouts:
            list(_measure_start(checkout))  # compiles the modules
        for number in range(rounds):
            for step in measures:
                for which in (number % 2, 1 - number % 2):
                    for name, figure in step(checkouts[which]):
                        figures[name][which].append(figure)
                        title = f"round {number + 1} of {rounds}, {checkouts[which].title}"
                        log_progress(f"{title}: {name} {figure:,.1f}")
    print(document(checkouts, rounds, figures))
    return 1 if sum(figures[LOST][0]) else 0


@contextlib.contextmanager
def _contenders() -> Iterator[list[Contender]]:
    """The servers to load; ``system`` is asked on a host with accounts of its own."""
    contenders = [replace(ours("static", SHIPPED), name="static"), replace(pool(), name="static through the pool")]
    distinct = replace(ours("files", SHIPPED, files_backend(plans(NAMES))), query="p%d", names=NAMES - 100)
    contenders.append(replace(distinct, queries=DISTINCT))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(own_host())
        except UnavailableError as error:
            log_progress(f"system is left out: {error}")
        else:
            populate(Host("", NAMES, homes=NAMES), ())
            distinct = replace(ours("system", SHIPPED, "{type: system}"), query="user%d", expect="User ", names=NAMES)
            contenders.append(replace(distinct, queries=DISTINCT))
        yield contenders


def _measure_load(contender: Contender, clients: int, scale: float, checkout: Checkout) -> Iterator[tuple[str, float]]:
    forget_closed_connections(planned_queries(contender, clients, scale))
    run = measure(replace(contender, checkout=checkout.path), clients, scale)
    title = f"{contender.name}, {clients:,} client{'s' if clients > 1 else ''}"
    yield f"{title}: queries/s", run.rate
    yield f"{title}: CPU µs/query", run.cpu
    yield LOST, run.lost


def _measure_start(checkout: Checkout) -> Iterator[tuple[str, float]]:
    seconds = []
    for _ in range(STARTS):
        with running(replace(ours(OURS, SHIPPED), checkout=checkout.path)) as server:
            seconds.append(server.start_seconds)
    yield "start to first answer, ms", statistics.median(seconds) * 1_000


def _measure_memory(checkout: Checkout) -> Iterator[tuple[str, float]]:
    with running(replace(ours(OURS, WITH_IDLE), checkout=checkout.path)) as server:
        yield "RSS idle, MB", server.memory("VmRSS")
        with idle_clients(server, IDLE):
            yield f"RSS with {IDLE:,} idle clients, MB", server.memory("VmRSS")


def _measure_pyfinger(checkout: Checkout) -> Iterator[tuple[str, float]]:
    """From starting ``pyfinger`` to its end; the server's share of this is less than 1 ms."""
    setup = configparser.ConfigParser()
    setup.read(checkout.path / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].replace(" ", "").split()
    module, function = dict(line.split("=") for line in scripts)["pyfinger"].split(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    seconds = []
    with running(replace(ours(OURS, SHIPPED), checkout=checkout.path)) as server:
        command = (sys.executable, "-c", code, f"alice@127.0.0.1:{server.port}")
        for _ in range(STARTS):
            start = time.monotonic()
            done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True, check=True)
            seconds.append(time.monotonic() - start)
            assert server.contender.expect in done.stdout
    yield "pyfinger, one query, ms", statistics.median(seconds) * 1_000


def document(checkouts: tuple[Checkout, Checkout], rounds: int, figures: Figures) -> str:
    """The table of all measures but the lost answers, which are below it."""
    rows = []
    for name, (this, other) in figures.items():
        if name != LOST:
            ratios = [mine / theirs for mine, theirs in zip(this, other, strict=True) if theirs]
            medians = (f"{statistics.median(each):,.1f}" for each in (other, this))
            rows.append((name, *medians, f"{statistics.median(ratios):.2f}" if ratios else ""))
    titles = [checkout.title for checkout in checkouts]
    lost = " and ".join(f"{sum(each):,.0f} of {title}" for each, title in zip(figures[LOST], titles, strict=True))
    head = HEAD.format(origin=origin(), rounds=rounds)
    return f"{head}{table(('measure', titles[1], f'this ({titles[0]})', 'ratio'), rows)}\nLost answers: {lost}."
