"""What records cost: beside a text, in a directory of people, and in a list. ``python -m bench --people``."""

import json
import os
import shutil
import socket
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

from bench.contenders import NOT_REMEMBERED, SHIPPED, Contender, ours
from bench.load import forget_closed_connections
from bench.peers import CACHE
from bench.report import COLUMNS, cell, origin, table, targets_table
from bench.servers import running
from bench.targets import Runs, Target, rate, ratio
from bench.timing import BATCH, HIDDEN, PRESENT, ResponseTimes, measure_timing, names, times_table

CLIENTS = 50
FEW, MANY, LISTED = 100, 100_000, 10_000
TEXT, RECORD = "static, a text", "static, a record"
SMALL, LARGE = f"files, {FEW} people", f"files, {MANY:,} people"
SMALL_SHIPPED, LARGE_SHIPPED = f"{SMALL}, as shipped", f"{LARGE}, as shipped"
QUERIES = {
    TEXT: 12_000,
    RECORD: 12_000,
    SMALL_SHIPPED: 12_000,
    LARGE_SHIPPED: 12_000,
    SMALL: 5_000,
    LARGE: 5_000,
}
LISTS = 5
HIDDEN_QUERIES = 4_000  # for each kind of name

NAME = "Alice Example"
PLAN = "Happy and well.\n" + "Back in an hour, or two.\n" * 9
LINKS = 10_000  # hard links to one file; ext4 allows 65,000

LIST_ALLOWED = "policy: [{{from: any, list: true}}]\n"
LONG_REPLIES = SHIPPED.replace("per_client", "reply_bytes: 16MiB, per_client")

LOAD = f"""\
# People as records

Written by `make bench`, {{origin}}. {{rounds}} rounds, as above.

## One person's record, {CLIENTS} clients at a time

A person with a name and a plan of ten lines, in the configuration and in a directory of people, beside the one line of
text of the tables above. As shipped, the answers of `files` are remembered for one second. In the last two rows a
header with the client's address keeps them from being remembered, so that each query reads the directory. In brackets
is the ratio to that text, then to the directory of {FEW} people.

"""
LIST = f"""\
## A list of {LISTED:,} people

The query {{{{C}}}} (an empty line) with a higher `reply_bytes`, from a directory with a subdirectory and a name for
each person; one client, {{lists}} answers.

"""
TIMES = f"""\
## Hidden or absent

One client asks for names of each kind in turns, {{queries:,}} times each, and measures the time from its line to the
end of the answer. The directory has {FEW} people. "Slower" is the probability that a query of this kind takes longer
than one for an absent name: 50 % reveals nothing, 0 or 100 % all. A patient client compares medians of {BATCH}
queries each. Absent people with other names differ by chance only.

"""


@dataclass(frozen=True, slots=True)
class Listing:
    """The answers to {C}: the seconds of each, the size of one, and the server's memory."""

    seconds: tuple[float, ...]
    size: int
    memory: float  # MB at the peak
    lost: int


@dataclass(frozen=True, slots=True)
class People:
    """Everything that was measured."""

    rounds: int
    runs: Runs
    listing: Listing
    times: ResponseTimes

    @property
    def lost(self) -> int:
        """The number of wrong and missing answers."""
        return sum(run.lost for runs in self.runs.values() for run in runs) + self.listing.lost + self.times.lost


def contenders() -> list[Contender]:
    """fingerd with one person's text, one person's record, and directories of people."""
    record = f"{{type: static, users: {{alice: {{name: {NAME}, plan: {json.dumps(PLAN)}}}}}}}"
    made = [
        ours(TEXT, SHIPPED),
        ours(RECORD, SHIPPED, record),
        ours(SMALL_SHIPPED, SHIPPED, files_backend(plans(FEW))),
        ours(LARGE_SHIPPED, SHIPPED, files_backend(plans(MANY))),
        ours(SMALL, SHIPPED + NOT_REMEMBERED, files_backend(plans(FEW))),
        ours(LARGE, SHIPPED + NOT_REMEMBERED, files_backend(plans(MANY))),
    ]
    return [replace(contender, queries={CLIENTS: QUERIES[contender.name]}) for contender in made]


def files_backend(directory: Path) -> str:
    return f"{{type: files, folder: {json.dumps(str(directory))}}}"


def plans(count: int) -> Path:
    """A directory of so many people with plans, among them alice with a name, and of hidden people; made once."""
    directory = CACHE / f"people-{count}"
    if not directory.exists():
        new = _new_directory(directory)
        for number in range(count - 1 - len(names(PRESENT))):
            plan, first = new / f"p{number}.txt", new / f"p{number // LINKS * LINKS}.txt"
            if plan == first:
                plan.write_text(PLAN)
            else:
                os.link(first, plan)  # much faster than writing each; a look-up costs the same
        for name in ("alice", *names(PRESENT), *names(HIDDEN)):
            _write(new / name, name=NAME, plan=PLAN)
        for name in names(HIDDEN):
            (new / name / "nofinger").touch()
        new.rename(directory)
    return directory


def named(count: int) -> Path:
    """A directory of so many people, each a subdirectory with a name; made once."""
    directory = CACHE / f"people-named-{count}"
    if not directory.exists():
        new = _new_directory(directory)
        for number in range(count):
            _write(new / f"p{number}", name=f"Person Number {number}")
        new.rename(directory)
    return directory


def _new_directory(directory: Path) -> Path:
    new = directory.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new


def _write(directory: Path, **atoms: str) -> None:
    directory.mkdir()
    for atom, text in atoms.items():
        (directory / atom).write_text(text)


def measure_list(answers: int) -> Listing:
    """The time that {C} takes."""
    more = LONG_REPLIES + LIST_ALLOWED
    contender = replace(ours("a long list", more, files_backend(named(LISTED))), query="p7", expect="Person Number 7")
    seconds, size, lost = [], 0, 0
    with running(contender) as server:
        for _ in range(answers):
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
                client.sendall(b"\r\n")
                answer = b"".join(iter(lambda: client.recv(1 << 20), b""))
            seconds.append(time.monotonic() - start)
            size = len(answer)
            lost += answer.count(b"Person Number ") != LISTED
        return Listing(tuple(seconds), size, server.memory("VmHWM"), lost)


def measure_times(queries: int) -> ResponseTimes:
    """The response times for hidden and absent people, with so many queries of each kind."""
    forget_closed_connections(4 * queries)
    with running(ours("files with hidden people", SHIPPED + NOT_REMEMBERED, files_backend(plans(FEW)))) as server:
        return measure_timing(server, queries)


def targets(people: People) -> list[Target]:
    """The targets of records."""
    return [
        Target(
            f"queries a second for one of {MANY:,} people, to one of {FEW}",
            "≥",
            0.9,
            ratio(people.runs, CLIENTS, rate, LARGE, SMALL),
        ),
        *(
            Target(f"queries a second for {name}, to static", "≥", 0.8, ratio(people.runs, CLIENTS, rate, name, RECORD))
            for name in (SMALL_SHIPPED, LARGE_SHIPPED)
        ),
        Target("hidden or absent: right guesses by one query's time", "≤", 55, people.times.guessed * 100, " %"),
        Target("lost or wrong answers about people", "≤", 0, people.lost),
    ]


def document(people: People) -> str:
    """The part of the report about people."""
    parts = [
        LOAD.format(origin=origin(), rounds=people.rounds) + _load_table(people.runs),
        LIST.format(lists=len(people.listing.seconds)) + _list_table(people.listing),
        TIMES.format(queries=len(people.times.by_kind[HIDDEN])) + times_table(people.times),
        targets_table(targets(people)),
    ]
    return "\n".join(parts)


def _load_table(runs: Runs) -> str:
    rows = []
    for name in QUERIES:
        cells = [cell(runs, CLIENTS, name, figure, form, (TEXT, SMALL)) for _, figure, form in COLUMNS]
        rows.append((name, *cells, f"{sum(run.lost for run in runs[CLIENTS, name]):,}"))
    return table(("server", *(name for name, *_ in COLUMNS), "lost"), rows)


def _list_table(listing: Listing) -> str:
    figures = (statistics.median(listing.seconds), min(listing.seconds), max(listing.seconds))
    row = (f"{LISTED:,}", *(f"{figure:.2f}" for figure in figures), f"{listing.size:,}", f"{listing.memory:.1f}")
    return table(("people", "median s", "min s", "max s", "bytes", "peak MB"), [row])
