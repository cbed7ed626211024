"""What people cost as records: beside a text, in a folder, and in a list. ``python -m bench --people``."""

import json
import os
import shutil
import socket
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

from bench.hidden import BATCH, HIDDEN, THERE, Times, measure_hidden, names, times_table
from bench.kinds import SHIPPED, Kind, ours
from bench.load import forget_closed_connections
from bench.peers import CACHE
from bench.report import COLUMNS, cell, origin, table, targets_table
from bench.servers import running
from bench.targets import Runs, Target, rate, ratio

CLIENTS = 50
FEW, MANY, LISTED = 100, 100_000, 10_000
TEXT, RECORD = "static, a text", "static, a record"
SMALL, LARGE = f"files, {FEW} people", f"files, {MANY:,} people"
QUERIES = {TEXT: 12_000, RECORD: 12_000, SMALL: 5_000, LARGE: 5_000}
LISTS = 5
HIDDEN_QUERIES = 4_000  # for each sort of name

NAME = "Alice Example"
PLAN = "Happy and well.\n" + "Back in an hour, or two.\n" * 9
LINKS = 10_000  # names of one file; ext4 allows 65,000

LISTING = "policy: [{{from: any, list: true}}]\n"
ROOMY = SHIPPED.replace("per_client", "reply_bytes: 16MiB, per_client")

LOAD = f"""\
# People as records

Written by `make bench`, {{origin}}. {{rounds}} rounds, as above.

## One person's record, {CLIENTS} clients at a time

A person with a name and a plan of ten lines, in the configuration and in a folder of people, beside the one line of
text that the tables above are about. In brackets the ratio to that text, then to the folder of {FEW} people.

"""
LIST = f"""\
## A list of {LISTED:,} people

{{{{C}}}} with `reply_bytes` raised, from a folder in which each person is a folder with a name; one client,
{{lists}} answers.

"""
TIMES = f"""\
## Hidden or absent

One client asks a folder of {FEW} people for names of each sort in turns, {{queries:,}} times each, and takes the time
from its line to the end of the answer. "Slower" is how often, of all pairs, a query of this sort took longer than one
for an absent name: 50 % tells nothing, 0 or 100 % tells all. A patient client goes by medians of {BATCH} queries each.
What the absent people with other names differ by is chance.

"""


@dataclass(frozen=True, slots=True)
class Listing:
    """The answers to {C}: how long each took, its size, and the memory that the server needed."""

    seconds: tuple[float, ...]
    size: int
    memory: float  # MB at most
    lost: int


@dataclass(frozen=True, slots=True)
class People:
    """Everything that was measured."""

    rounds: int
    runs: Runs
    listing: Listing
    times: Times

    @property
    def lost(self) -> int:
        """Wrong and missing answers."""
        return sum(run.lost for runs in self.runs.values() for run in runs) + self.listing.lost + self.times.lost


def kinds() -> list[Kind]:
    """fingerd with one person's text, record, and folders of people."""
    record = f"{{type: static, users: {{alice: {{name: {NAME}, plan: {json.dumps(PLAN)}}}}}}}"
    made = [
        ours(TEXT, SHIPPED),
        ours(RECORD, SHIPPED, record),
        ours(SMALL, SHIPPED, _files(plans(FEW))),
        ours(LARGE, SHIPPED, _files(plans(MANY))),
    ]
    return [replace(kind, queries={CLIENTS: QUERIES[kind.name]}) for kind in made]


def _files(folder: Path) -> str:
    return f"{{type: files, folder: {json.dumps(str(folder))}}}"


def plans(count: int) -> Path:
    """A folder of so many people with a plan each, alice with a name too, and the hidden ones; made once."""
    folder = CACHE / f"people-{count}"
    if not folder.exists():
        new = _begun(folder)
        for number in range(count - 1 - len(names(THERE))):
            plan, first = new / f"p{number}.txt", new / f"p{number // LINKS * LINKS}.txt"
            if plan == first:
                plan.write_text(PLAN)
            else:
                os.link(first, plan)  # much faster than writing each, and looked up just the same
        for name in ("alice", *names(THERE), *names(HIDDEN)):
            _write(new / name, name=NAME, plan=PLAN)
        for name in names(HIDDEN):
            (new / name / "nofinger").touch()
        new.rename(folder)
    return folder


def named(count: int) -> Path:
    """A folder of so many people, each a folder with a name; made once."""
    folder = CACHE / f"people-named-{count}"
    if not folder.exists():
        new = _begun(folder)
        for number in range(count):
            _write(new / f"p{number}", name=f"Person Number {number}")
        new.rename(folder)
    return folder


def _begun(folder: Path) -> Path:
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new


def _write(folder: Path, **atoms: str) -> None:
    folder.mkdir()
    for atom, text in atoms.items():
        (folder / atom).write_text(text)


def measure_list(answers: int) -> Listing:
    """How long {C} takes."""
    more = ROOMY + LISTING
    kind = replace(ours("a long list", more, _files(named(LISTED))), query="p7", expect="Person Number 7")
    seconds, size, lost = [], 0, 0
    with running(kind) as server:
        for _ in range(answers):
            begun = time.monotonic()
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
                client.sendall(b"\r\n")
                answer = b"".join(iter(lambda: client.recv(1 << 20), b""))
            seconds.append(time.monotonic() - begun)
            size = len(answer)
            lost += answer.count(b"Person Number ") != LISTED
        return Listing(tuple(seconds), size, server.memory("VmHWM"), lost)


def measure_times(queries: int) -> Times:
    """How long hidden people take beside absent ones, so often for each sort."""
    forget_closed_connections(4 * queries)
    with running(ours("files with hidden people", SHIPPED, _files(plans(FEW)))) as server:
        return measure_hidden(server, queries)


def targets(people: People) -> list[Target]:
    """What people as records have to reach."""
    return [
        Target(
            f"queries a second for one of {MANY:,} people, to one of {FEW}",
            "≥",
            0.9,
            ratio(people.runs, CLIENTS, rate, LARGE, SMALL),
        ),
        Target("hidden or absent: right guesses by one query's time", "≤", 55, people.times.guessed * 100, " %"),
        Target("lost or wrong answers about people", "≤", 0, people.lost),
    ]


def document(people: People) -> str:
    """The part of the report that is about people."""
    parts = [
        LOAD.format(origin=origin(), rounds=people.rounds) + _load_table(people.runs),
        LIST.format(lists=len(people.listing.seconds)) + _list_table(people.listing),
        TIMES.format(queries=len(people.times.seen[HIDDEN])) + times_table(people.times),
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
    return table(("people", "median s", "least s", "most s", "bytes", "peak MB"), [row])
