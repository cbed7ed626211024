"""What it costs to ask somebody else: ``python -m bench --backends``.

Every backend is asked alone and behind ``cache``, beside two servers that ask
by the same library and have as many threads: the least one that there can be,
and fingerd itself with a backend that does nothing else.
"""

import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import peers
from bench.bare import THREADS
from bench.kinds import Kind, ours
from bench.load import Run, forget_closed_connections, measure
from bench.peers import CACHE, SOURCE, NotHereError
from bench.people import NAME
from bench.report import BY_HAND, origin, table, targets_table
from bench.sources import PEOPLE, RECORD, SOURCES, TEXT, USER, Ready, Source
from bench.targets import Figure, Runs, Target, cpu, p99, rate, ratio

RESULTS = SOURCE / "BACKENDS.md"
CLIENTS = 50
STATIC, CACHED, ALONE = "static", "cached", "alone"
IN_OURS, BARE = "library, our loop", "library, bare loop"
SERVERS = (ALONE, BARE, IN_OURS, CACHED, STATIC)
FAST = 24_000  # queries of a run that has all in memory
CONFIG = f"limits: {{{{per_client: 2000, threads: {THREADS}}}}}\nlog: {{{{to: '{{log}}'}}}}\n"

LEAST_ALONE, LEAST_CACHED = 0.7, 0.9
HELD_TO_IT = ("SQLite", "PostgreSQL", "LDAP", "web")  # a program costs more than all else, and is only shown

HEAD = """\
# What it costs to ask somebody else

Written by `make bench`, {origin}. {version}.

{clients} clients at a time ask for one of {people} people, with a name and a plan of ten lines: medians of {rounds}
rounds, in which the servers have their turns, each as a fresh process and each time with another first. Ratios are
taken within a round, and these are their medians.

- alone: fingerd as shipped, but with at most {threads} threads, and this backend. It has its log, limits and policy.
- cached: the same behind `cache`, which has the answer after the first query. static: the same in the configuration.
- library, bare loop: {threads} threads that accept, read the line, ask the library, write the text and close, and
  nothing else: no policy, limits, log or deadline. The library is SQLAlchemy's engine with pooled connections and
  without transactions; ldap3 with a connection for each thread; requests with a session for each; `subprocess.run`.
- library, our loop: fingerd with a backend that asks the library in the same way, and does nothing else. What
  fingerd's own backend is less than this is the backend's cost; what this is less than the bare loop is all the rest's.

The databases and the directory are asked over TCP on this machine. The web server is a C program that has one page for
all, and the program is echo. CPU is that of fingerd or the bare server, and of the programs that they run; the other
servers and the load generator take theirs of the same cores.
{missing}
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured."""

    rounds: int
    runs: Runs
    sources: Sequence[Source]
    missing: Sequence[str]


def main(rounds: int, share: float, write: bool) -> int:
    """Measure, print, and with ``write`` write the tables; 1 where an answer was lost."""
    measured = measure_sources(rounds, share)
    report = document(measured)
    print(report)
    if write:
        _, mark, by_hand = RESULTS.read_text().partition(BY_HAND) if RESULTS.exists() else ("", "", "\n")
        RESULTS.write_text(f"{report}\n{mark or BY_HAND}{by_hand}")
    return 1 if lost(measured.runs) else 0


def measure_sources(rounds: int, share: float) -> Measured:
    """All sources in turns, and each one's servers in turns."""
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    sources, missing = list(SOURCES), []
    for number in range(rounds):
        for source in tuple(sources):
            try:
                forget_closed_connections(4 * FAST)  # before the source is started, which has to be in the same network
                with source.ready() as ready:
                    _measure(source, ready, number, share, runs)
            except NotHereError as error:
                sources.remove(source)
                missing.append(f"{source.name} is left out: {error}")
                _say(missing[-1])
    return Measured(rounds, dict(runs), sources, missing)


def _measure(source: Source, ready: Ready, number: int, share: float, runs: dict[tuple[int, str], list[Run]]) -> None:
    kinds = _kinds(source, ready)
    first = number % len(kinds)
    for kind in (*kinds[first:], *kinds[:first]):
        run = measure(kind, CLIENTS, share)
        runs[CLIENTS, kind.name].append(run)
        what = f"{run.rate:,.0f} queries/s, p99 {run.p99:.1f} ms, {run.cpu:.0f} µs, {run.lost} lost"
        _say(f"round {number + 1}, {kind.name}: {what}")


def _kinds(source: Source, ready: Ready) -> list[Kind]:
    """What is measured of one source, in the order of SERVERS."""
    arguments = (source.library, str(THREADS), *ready.bare)
    bare = Kind("", lambda port: (sys.executable, "-m", "bench.bare", str(port), *arguments), {})
    slow, fast = {CLIENTS: source.queries}, {CLIENTS: FAST}
    in_ours = f"{{type: bare, arguments: {json.dumps(arguments)}}}"
    user = json.dumps(TEXT) if source.is_text else RECORD
    made = {
        ALONE: replace(_ours(source, ALONE, ready.backend), queries=slow, forks=source.forks),
        BARE: replace(bare, queries=slow, forks=source.forks),
        IN_OURS: replace(_ours(source, IN_OURS, in_ours, _bare_backend()), queries=slow, forks=source.forks),
        CACHED: replace(_ours(source, CACHED, f"{{type: cache, backend: {ready.backend}}}"), queries=fast),
        STATIC: replace(_ours(source, STATIC, f"{{type: static, users: {{{USER}: {user}}}}}"), queries=fast),
    }
    return [replace(made[how], name=_name(source, how), query=USER, expect=NAME) for how in SERVERS]


def _name(source: Source, how: str) -> str:
    return f"{source.name}, {how}"


def _ours(source: Source, how: str, backend: str, path: Path | None = None) -> Kind:
    return ours(_name(source, how), CONFIG, backend, path)


def _bare_backend() -> Path:
    """A folder in which fingerd finds the backend that only asks a library."""
    info = CACHE / "bare" / "fingerd_bare-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-bare\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fingerd.backends]\nbare = bench.bare.backend:Bare\n")
    return info.parent


def lost(runs: Runs) -> int:
    """Wrong and missing answers."""
    return sum(run.lost for some in runs.values() for run in some)


def targets(measured: Measured) -> list[Target]:
    """What backends have to reach."""

    def to(source: Source, how: str, base: str) -> float | None:
        return ratio(measured.runs, CLIENTS, rate, _name(source, how), _name(source, base))

    held = [source for source in SOURCES if source.name in HELD_TO_IT]
    bases = ((BARE, "the library's in the bare loop"), (IN_OURS, "the library's in our loop"))
    wanted = [
        Target(f"{source.name}: queries a second, to {what}", "≥", LEAST_ALONE, to(source, ALONE, base))
        for base, what in bases
        for source in held
    ]
    wanted += [
        Target(f"{source.name}, cached: queries a second, to static's", "≥", LEAST_CACHED, to(source, CACHED, STATIC))
        for source in SOURCES
    ]
    return [*wanted, Target("lost or wrong answers in all runs", "≤", 0, lost(measured.runs))]


def document(measured: Measured) -> str:
    """The whole report, up to the part that is written by hand."""
    head = HEAD.format(
        origin=origin(),
        version=peers.our_version(),
        clients=CLIENTS,
        people=f"{PEOPLE:,}",
        rounds=measured.rounds,
        threads=THREADS,
        missing="".join(f"\n{line}\n" for line in measured.missing),
    )
    rows = [_row(measured.runs, source, how) for source in measured.sources for how in SERVERS]
    bases = ("bare loop", "our loop", "static")
    columns = ("who is asked", "queries/s", *(f"to {base}" for base in bases), "p99 ms", "CPU µs/query", "lost")
    return f"{head}{table(columns, rows)}\n{targets_table(targets(measured))}"


def _row(runs: Runs, source: Source, how: str) -> Sequence[str]:
    name = _name(source, how)
    ratios = (ratio(runs, CLIENTS, rate, name, _name(source, base)) for base in (BARE, IN_OURS, STATIC))

    def median(figure: Figure) -> float:
        return statistics.median(map(figure, runs[CLIENTS, name]))

    return (
        name,
        f"{median(rate):,.0f}",
        *("" if each is None else f"{each:.2f}" for each in ratios),
        f"{median(p99):.1f}",
        f"{median(cpu):,.0f}",
        f"{sum(run.lost for run in runs[CLIENTS, name]):,}",
    )


def _say(line: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
