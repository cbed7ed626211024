"""What a query costs behind a balancer, with its PROXY header, beside one without: ``python -m bench --proxy``."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from bench.contenders import OURS, SHIPPED, STATIC, Contender, ours
from bench.load import TURNS, Run, measure_in_turns
from bench.peers import SOURCE
from bench.report import COLUMNS, cell, log_progress, log_run, origin, table, targets_table, write_above_hand_part
from bench.targets import Runs, Target, cpu, lost, ratio

RESULTS = SOURCE / "PROXY.md"
CLIENTS = (50, 1)
LINE, BINARY = "version 1", "version 2"
MAX_CPU = 1.08  # of a query without a header

# All addresses of loopback are balancers: the load comes from 200 of them.
LISTEN = '{{address: "127.0.0.1:{port}", proxies: [127.0.0.0/8]}}'
HEADER_LINE = "PROXY TCP4 192.0.2.%d 192.0.2.253 56324 79\r\n"
NAMED = 200  # clients in turn
HEADER_BINARY = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + bytes((192, 0, 2, 7, 192, 0, 2, 253))
    + (56324 << 16 | 79).to_bytes(4, "big")
)

DOCUMENT = """\
# What a PROXY header costs

Written by `make bench`, {origin}. {version}.

fingerd as shipped, with its access log in a file and its limits on, asked for one user in the configuration. Behind a
balancer, each connection begins with a PROXY header, in one packet with the query. The header of version 1 names
{named} clients in turn, that of version 2 one. The servers run at the same time and are asked in turns, {turns} times
in each of {rounds} rounds, by a load generator that never sleeps: waking it would cost a slower server more than
a header does. The figures are medians. A ratio, in brackets, is computed within each turn, and the median of these is
shown.

"""


def main(rounds: int, scale: float, write: bool) -> int:
    """Measure, print, and with ``write`` write the page; 1 if an answer was lost."""
    servers = contenders()
    runs = _measure(servers, rounds, scale)
    head = DOCUMENT.format(origin=origin(), version=servers[0].version, named=NAMED, rounds=rounds, turns=TURNS)
    tables = "\n".join(_table(servers, runs, clients) for clients in CLIENTS)
    report = f"{head}{tables}\n{targets_table(targets(runs))}"
    print(report)
    if write:
        write_above_hand_part(RESULTS, report)
    return 1 if lost(runs, ()) else 0


def contenders() -> list[Contender]:
    """Without a header, and with one of each version."""
    behind = {name: ours(name, SHIPPED, STATIC, listen=LISTEN) for name in (LINE, BINARY)}
    return [
        ours(OURS, SHIPPED),
        replace(behind[LINE], query=f"{HEADER_LINE}alice", names=NAMED),
        replace(behind[BINARY], query=os.fsdecode(HEADER_BINARY.replace(b"\0", b"\1") + b"alice")),
    ]


def _measure(servers: Sequence[Contender], rounds: int, scale: float) -> Runs:
    """The runs of every server, in turns."""
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for number in range(rounds):
        for clients in CLIENTS:
            for name, found in measure_in_turns(servers, clients, scale).items():
                runs[clients, name] += found
                log_run(f"round {number + 1} of {rounds}, {clients} at a time, {name}, the last run", found[-1])
    log_progress("done")
    return dict(runs)


def targets(runs: Runs) -> list[Target]:
    """The targets of PROXY headers."""
    return [
        *(
            Target(
                f"{name}: CPU per query at 50 clients, to that without", "≤", MAX_CPU, ratio(runs, 50, cpu, name, OURS)
            )
            for name in (LINE, BINARY)
        ),
        Target("lost or wrong answers in all runs", "≤", 0, lost(runs, ())),
    ]


def _table(servers: Sequence[Contender], runs: Runs, clients: int) -> str:
    rows = []
    for contender in servers:
        cells = [cell(runs, clients, contender.name, figure, form, (OURS,)) for _, figure, form in COLUMNS]
        rows.append((contender.name, *cells, f"{sum(run.lost for run in runs[clients, contender.name]):,}"))
    title = f"## {clients:,} client{'s' if clients > 1 else ''} at a time\n\n"
    return title + table(("header", *(name for name, *_ in COLUMNS), "lost"), rows)
