"""The tables of a measurement, as Markdown."""

import datetime
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import LIMIT, OURS, Contender
from bench.load import IdleRun, Run
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

Every server gets the same load, each time as a fresh process, in {rounds} rounds; the order of the servers changes from
round to round. The limit is a C program that accepts, reads, writes a fixed answer and closes. Ours is fingerd as
shipped, with its access log in a file and its limits on; the worker pool answers for backends that may block. The load
generator uses a core of its own.

Each figure is the median of all rounds; in brackets is its ratio to the limit's figure, then to ours. A ratio is
computed within each round, and the median of these is shown. Machines are noisy: trust ratios more than figures, and
ignore differences of 8 %.
{notes}"""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that was measured of the servers."""

    rounds: int
    contenders: Sequence[Contender]
    missing: Sequence[str]  # names of servers that are not available
    runs: Runs
    idle_runs: Sequence[IdleRun]


def document(measured: Measurement) -> str:
    """The report, without the part that is written by hand."""
    parts = [_head(measured)]
    parts += [_load_table(measured, clients) for clients in sorted({clients for clients, _ in measured.runs})]
    if measured.idle_runs:
        parts.append(_idle_table(measured.idle_runs))
    parts.append(targets_table(targets(measured.runs, measured.idle_runs)))
    return "\n".join(parts)


def merge_reports(new: str, new_people: str, old: str) -> str:
    """The new report. The old one provides what was not measured anew, and the part that is written by hand."""
    old, mark, by_hand = old.partition(BY_HAND)
    servers, _, people = (part.strip() for part in old.partition(PEOPLE))
    parts = (new.strip() or servers, PEOPLE, new_people.strip() or people, BY_HAND)
    return "\n\n".join(filter(None, parts)) + (by_hand if mark else "\n")


def write_above_hand_part(path: Path, report: str) -> None:
    """Replace the generated part of a page; the part that is written by hand stays."""
    _, mark, by_hand = (path.read_text() if path.exists() else "").partition(BY_HAND)
    path.write_text(f"{report}\n{BY_HAND}{by_hand if mark else chr(10)}")


def _head(measured: Measurement) -> str:
    notes = [f"{name} was not available for this run.\n" for name in measured.missing]
    if any(contender.forks for contender in measured.contenders):
        notes.append("The memory of Debian's fingerd is that of the process that starts one for each query.\n")
    return HEAD.format(
        origin=origin(),
        versions=", ".join(dict.fromkeys(contender.version for contender in measured.contenders if contender.version)),
        rounds=measured.rounds,
        notes="\n" + "".join(notes) if notes else "",
    )


def origin() -> str:
    """The date, and the machine."""
    kernel = re.match(r"[\d.]*\d", platform.release())
    machine = f"{os.cpu_count()} cores, Linux {kernel[0] if kernel else ''}, Python {platform.python_version()}"
    return f"{datetime.datetime.now(datetime.UTC).date()}: {machine}"


def _load_table(measured: Measurement, clients: int) -> str:
    rows = []
    for contender in measured.contenders:
        runs = measured.runs.get((clients, contender.name))
        if runs:
            cells = [
                cell(measured.runs, clients, contender.name, figure, form, (LIMIT, OURS)) for _, figure, form in COLUMNS
            ]
            rows.append((contender.name, *cells, f"{sum(run.lost for run in runs):,}"))
    title = f"## {clients:,} client{'s' if clients > 1 else ''} at a time\n\n"
    return title + table(("server", *(name for name, *_ in COLUMNS), "lost"), rows)


def cell(runs: Runs, clients: int, name: str, figure: Figure, form: str, bases: Sequence[str]) -> str:
    """The median of a figure, and its ratio to each of the bases."""
    value = statistics.median(figure(run) for run in runs[clients, name])
    ratios = (ratio(runs, clients, figure, name, base) for base in bases)
    return f"{value:{form}} ({', '.join('–' if each is None else f'{each:.2f}' for each in ratios)})"  # noqa: RUF001


def _idle_table(idle_runs: Iterable[IdleRun]) -> str:
    rows = [
        (
            f"{run.idle:,}",
            f"{run.dripping:,}",
            f"{run.memory:.1f}",
            f"{run.p99:.2f}",
            "" if run.cpu_share is None else f"{run.cpu_share:.3f}",
            f"{run.lost:,}",
        )
        for run in idle_runs
    ]
    title = (
        "## With idle clients\n\n"
        "fingerd as shipped, with a higher connection limit: its memory, the response times of one good client, and\n"
        "the share of a core that it uses without queries. Dripping clients send a byte every second.\n\n"
    )
    return title + table(("idle", "dripping", "MB", "good client's p99 ms", "idle CPU %", "lost"), rows)


def targets_table(rows: Iterable[Target]) -> str:
    cells = []
    for target in rows:
        value = "" if target.measured is None else f"{_short(target.measured)}{target.unit}"
        cells.append((target.what, f"{target.relation} {target.bound:g}{target.unit}", value, target.verdict))
    return "## Targets\n\n" + table(("what", "target", "measured", ""), cells)


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is aligned left, the others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def log_run(title: str, run: Run) -> None:
    """Log the figures of a run."""
    figures = f"{run.rate:,.0f} queries/s, p99 {run.p99:.2f} ms, {run.cpu:.1f} µs, {run.memory:.1f} MB"
    log_progress(f"{title}: {figures}, {run.lost} lost")


def log_progress(line: str) -> None:
    """Print a line with the time to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
