"""The tables of a measurement, as Markdown."""

import datetime
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.kinds import LIMIT, OURS, Kind
from bench.load import Beside
from bench.targets import Figure, Runs, Target, cpu, memory, p50, p99, rate, ratio, targets

PEOPLE, BY_HAND = "<!-- people below -->", "<!-- by hand below -->"

COLUMNS: tuple[tuple[str, Figure, str], ...] = (
    ("queries/s", rate, ",.0f"),
    ("p50 ms", p50, ".2f"),
    ("p99 ms", p99, ".2f"),
    ("CPU µs/query", cpu, ",.1f"),
    ("peak MB", memory, ".1f"),
)

HEAD = """\
# What fingerd costs

Written by `make bench`, {origin}. {versions}.

Every server has its turn on the same load, each time as a fresh process: {rounds} rounds, each beginning with another.
The limit is a C program that does nothing but accept, read, write a fixed answer and close. Ours is fingerd as shipped,
with its access log in a file and its limits on; the crew answers for backends that do not promise to do it at once.
The load generator takes a core of its own.

Each figure is the median of all rounds; in brackets its ratio to the limit's, then to ours. Ratios are taken within a
round, and these are their medians. Machines are noisy: ratios tell more than figures, and 8 % more or less is nothing.
{notes}"""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that was measured."""

    rounds: int
    kinds: Sequence[Kind]
    missing: Sequence[str]  # servers that could not be had
    runs: Runs
    besides: Sequence[Beside]


def document(measured: Measurement) -> str:
    """The whole report, up to the part that is written by hand."""
    parts = [_head(measured)]
    parts += [_load_table(measured, clients) for clients in sorted({clients for clients, _ in measured.runs})]
    if measured.besides:
        parts.append(_idle_table(measured.besides))
    parts.append(targets_table(targets(measured.runs, measured.besides)))
    return "\n".join(parts)


def merged(new: str, new_people: str, old: str) -> str:
    """The new report, the old one's part where there is no new one, and what somebody wrote by hand below it."""
    old, mark, by_hand = old.partition(BY_HAND)
    servers, _, people = (part.strip() for part in old.partition(PEOPLE))
    parts = (new.strip() or servers, PEOPLE, new_people.strip() or people, BY_HAND)
    return "\n\n".join(filter(None, parts)) + (by_hand if mark else "\n")


def _head(measured: Measurement) -> str:
    notes = [f"{name} could not be had for this run.\n" for name in measured.missing]
    if any(kind.forks for kind in measured.kinds):
        notes.append("The memory of Debian's fingerd is that of the process that starts one of it for each query.\n")
    return HEAD.format(
        origin=origin(),
        versions=", ".join(dict.fromkeys(kind.version for kind in measured.kinds if kind.version)),
        rounds=measured.rounds,
        notes="\n" + "".join(notes) if notes else "",
    )


def origin() -> str:
    """When and where this is measured."""
    kernel = re.match(r"[\d.]*\d", platform.release())
    machine = f"{os.cpu_count()} cores, Linux {kernel[0] if kernel else ''}, Python {platform.python_version()}"
    return f"{datetime.datetime.now(datetime.UTC).date()}: {machine}"


def _load_table(measured: Measurement, clients: int) -> str:
    rows = []
    for kind in measured.kinds:
        runs = measured.runs.get((clients, kind.name))
        if runs:
            cells = [
                cell(measured.runs, clients, kind.name, figure, form, (LIMIT, OURS)) for _, figure, form in COLUMNS
            ]
            rows.append((kind.name, *cells, f"{sum(run.lost for run in runs):,}"))
    title = f"## {clients:,} client{'s' if clients > 1 else ''} at a time\n\n"
    return title + table(("server", *(name for name, *_ in COLUMNS), "lost"), rows)


def cell(runs: Runs, clients: int, name: str, figure: Figure, form: str, bases: Sequence[str]) -> str:
    """The median of a figure, and its ratio to each of the bases."""
    value = statistics.median(figure(run) for run in runs[clients, name])
    ratios = (ratio(runs, clients, figure, name, base) for base in bases)
    return f"{value:{form}} ({', '.join('–' if each is None else f'{each:.2f}' for each in ratios)})"  # noqa: RUF001


def _idle_table(besides: Iterable[Beside]) -> str:
    rows = [
        (
            f"{beside.idle:,}",
            f"{beside.dripping:,}",
            f"{beside.memory:.1f}",
            f"{beside.p99:.2f}",
            "" if beside.cpu_share is None else f"{beside.cpu_share:.3f}",
            f"{beside.lost:,}",
        )
        for beside in besides
    ]
    title = (
        "## Beside idle clients\n\n"
        "fingerd as shipped, with room for that many connections: its memory, what one good client sees, and what it\n"
        "takes of a core while nobody asks. Dripping clients send a byte every second.\n\n"
    )
    return title + table(("idle", "dripping", "MB", "good client's p99 ms", "idle CPU %", "lost"), rows)


def targets_table(wanted: Iterable[Target]) -> str:
    rows = []
    for target in wanted:
        value = "" if target.measured is None else f"{_short(target.measured)}{target.unit}"
        rows.append((target.what, f"{target.relation} {target.bound:g}{target.unit}", value, target.verdict))
    return "## Targets\n\n" + table(("what", "target", "measured", ""), rows)


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column left, the others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
