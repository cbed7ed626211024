"""What backends with external sources cost: ``python -m bench --backends``.

Each is measured alone and behind ``cache``, beside two baselines with the same
library and as many threads: a minimal server, and fingerd with a backend that
only calls the library.
"""

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench import peers
from bench.baselines import THREADS
from bench.contenders import Contender, install_backend, ours
from bench.load import Run, forget_closed_connections, measure
from bench.peers import SOURCE, UnavailableError
from bench.people import NAME
from bench.report import log_progress, log_run, origin, table, targets_table, write_above_hand_part
from bench.sources import PEOPLE, RECORD, SOURCES, TEXT, USER, Access, Source
from bench.targets import Figure, Runs, Target, cpu, p99, rate, ratio

RESULTS = SOURCE / "BACKENDS.md"
CLIENTS = 50
STATIC, CACHED, ALONE = "static", "cached", "alone"
IN_OURS, BARE = "library, our loop", "library, bare loop"
SERVERS = (ALONE, BARE, IN_OURS, CACHED, STATIC)
FAST = 24_000  # queries of a run with all answers in memory
CONFIG = f"limits: {{{{per_client: 2000, threads: {THREADS}}}}}\nlog: {{{{to: '{{log}}'}}}}\n"

MIN_ALONE, MIN_CACHED = 0.7, 0.9
WITH_TARGET = ("SQLite", "PostgreSQL", "LDAP", "web")  # command has none: the program costs more than all else

HEAD = """\
# What backends with external sources cost

Written by `make bench`, {origin}. {version}.

{clients} clients at a time ask for one of {people} people, who has a name and a plan of ten lines. The figures are
medians of {rounds} rounds; in each round the servers take turns in another order, each as a fresh process. A ratio is
computed within each round, and the median of these is shown.

- alone: fingerd as shipped, with this backend and at most {threads} threads. It has its log, limits and policy.
- cached: the same behind `cache`, which has the answer after the first query. static: the same in the configuration.
- library, bare loop: {threads} threads that accept, read the line, call the library, write the text and close. There is
  no policy, limit, log or deadline. The library is SQLAlchemy's engine with pooled connections, without transactions;
  ldap3 with a connection for each thread; requests with a session for each thread; `subprocess.run`.
- library, our loop: fingerd with a backend that only calls the library in the same way. The difference between this and
  "alone" is the cost of fingerd's backend; the difference between the bare loop and this is the cost of the rest.

The databases and the LDAP directory are queried over TCP on this machine. The web server is a C program with one page
for all users; the program is echo. CPU is that of fingerd or the baseline, with the programs that they run; the other
servers and the load generator share the cores.
{missing}
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured."""

    rounds: int
    runs: Runs
    sources: Sequence[Source]
    missing: Sequence[str]


def main(rounds: int, scale: float, write: bool) -> int:
    """Measure, print, and with ``write`` write the page; 1 if an answer was lost."""
    measured = measure_sources(rounds, scale)
    report = document(measured)
    print(report)
    if write:
        write_above_hand_part(RESULTS, report)
    return 1 if lost(measured.runs) else 0


def measure_sources(rounds: int, scale: float) -> Measured:
    """All sources in turns, and the servers of each in turns."""
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    sources, missing = list(SOURCES), []
    for number in range(rounds):
        for source in tuple(sources):
            try:
                forget_closed_connections(4 * FAST)  # before the source starts: it has to be in the same network
                with source.start() as access:
                    _measure(source, access, number, scale, runs)
            except UnavailableError as error:
                sources.remove(source)
                missing.append(f"{source.name} is left out: {error}")
                log_progress(missing[-1])
    return Measured(rounds, dict(runs), sources, missing)


def _measure(source: Source, access: Access, number: int, scale: float, runs: dict[tuple[int, str], list[Run]]) -> None:
    contenders = _contenders(source, access)
    first = number % len(contenders)
    for contender in (*contenders[first:], *contenders[:first]):
        run = measure(contender, CLIENTS, scale)
        runs[CLIENTS, contender.name].append(run)
        log_run(f"round {number + 1}, {contender.name}", run)


def _contenders(source: Source, access: Access) -> list[Contender]:
    """The servers of one source, in the order of SERVERS."""
    arguments = (source.library, str(THREADS), *access.arguments)
    bare = Contender("", lambda port: (sys.executable, "-m", "bench.baselines", str(port), *arguments), {})
    slow, fast = {CLIENTS: source.queries}, {CLIENTS: FAST}
    baseline = install_backend("baseline", "bench.baselines.backend:Baseline")
    in_ours = f"{{type: baseline, arguments: {json.dumps(arguments)}}}"
    user = json.dumps(TEXT) if source.is_text else RECORD
    made = {
        ALONE: replace(ours("", CONFIG, access.backend), queries=slow, forks=source.forks),
        BARE: replace(bare, queries=slow, forks=source.forks),
        IN_OURS: replace(ours("", CONFIG, in_ours, baseline), queries=slow, forks=source.forks),
        CACHED: replace(ours("", CONFIG, f"{{type: cache, backend: {access.backend}}}"), queries=fast),
        STATIC: replace(ours("", CONFIG, f"{{type: static, users: {{{USER}: {user}}}}}"), queries=fast),
    }
    return [replace(made[how], name=_name(source, how), query=USER, expect=NAME) for how in SERVERS]


def _name(source: Source, how: str) -> str:
    return f"{source.name}, {how}"


def lost(runs: Runs) -> int:
    """The number of wrong and missing answers."""
    return sum(run.lost for some in runs.values() for run in some)


def targets(measured: Measured) -> list[Target]:
    """The targets of backends."""

    def to(source: Source, how: str, base: str) -> float | None:
        return ratio(measured.runs, CLIENTS, rate, _name(source, how), _name(source, base))

    with_target = [source for source in SOURCES if source.name in WITH_TARGET]
    bases = ((BARE, "the library's in the bare loop"), (IN_OURS, "the library's in our loop"))
    rows = [
        Target(f"{source.name}: queries a second, to {what}", "≥", MIN_ALONE, to(source, ALONE, base))
        for base, what in bases
        for source in with_target
    ]
    rows += [
        Target(f"{source.name}, cached: queries a second, to static's", "≥", MIN_CACHED, to(source, CACHED, STATIC))
        for source in SOURCES
    ]
    return [*rows, Target("lost or wrong answers in all runs", "≤", 0, lost(measured.runs))]


def document(measured: Measured) -> str:
    """The report, without the part that is written by hand."""
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
    columns = ("source, server", "queries/s", *(f"to {base}" for base in bases), "p99 ms", "CPU µs/query", "lost")
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
