"""Whether somebody who is hidden can be told from somebody who is not there by the time that the answer takes."""

import random
import socket
import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report import table
from bench.servers import Server

HIDDEN, ABSENT, OTHERS, THERE = "hidden", "absent", "absent, other names", "there"
STEMS = {HIDDEN: "hidden", ABSENT: "absent", OTHERS: "nobody", THERE: "people"}  # of logins, all of one length
NAMES = 50  # of each sort
BATCH = 100  # queries whose median is one look of a patient client
UNKNOWN = b"No such user\r\n"


def names(sort: str) -> tuple[str, ...]:
    """The logins of a sort."""
    return tuple(f"{STEMS[sort]}{number:03}" for number in range(NAMES))


@dataclass(frozen=True, slots=True)
class Times:
    """What one client saw, in µs from its line to the end of the answer, in the order of its queries."""

    seen: Mapping[str, Sequence[float]]  # by sort
    lost: int

    def quartiles(self, sort: str) -> tuple[float, float, float]:
        """The times below which a quarter, half, and three quarters of the answers came."""
        lower, middle, upper = statistics.quantiles(self.seen[sort], n=4)
        return lower, middle, upper

    def slower(self, sort: str) -> float:
        """How often one query for this sort takes longer than one for an absent name; 0.5 is what a guess gets."""
        return _longer(self.seen[sort], self.seen[ABSENT])

    @property
    def guessed(self) -> float:
        """The share of right guesses whether somebody is hidden or absent, by the time of one query each."""
        slower = self.slower(HIDDEN)
        return max(slower, 1 - slower)

    def slower_in_batches(self, sort: str) -> float | None:
        """The same for the medians of ``BATCH`` queries each; None where there were too few."""
        ours, absent = _medians(self.seen[sort]), _medians(self.seen[ABSENT])
        return _longer(ours, absent) if len(ours) > 1 else None


def _longer(times: Sequence[float], others: Sequence[float]) -> float:
    """The share of all pairs in which the first is longer, a tie counted half: the area under the ROC curve."""
    others = sorted(others)
    won = sum(bisect_left(others, each) + bisect_right(others, each) for each in times)
    return won / 2 / len(times) / len(others)


def _medians(times: Sequence[float]) -> list[float]:
    whole = len(times) - len(times) % BATCH
    return [statistics.median(times[begin : begin + BATCH]) for begin in range(0, whole, BATCH)]


def measure_hidden(server: Server, queries: int) -> Times:
    """Ask so often for each sort, in turns whose order is drawn anew each time."""
    drawn = random.Random(1288)
    known = {sort: names(sort) for sort in STEMS}
    seen: dict[str, list[float]] = {sort: [] for sort in STEMS}
    lost = 0
    for number in range(-NAMES, queries):
        for sort in drawn.sample(list(STEMS), len(STEMS)):
            took, answer = _asked(server.port, known[sort][number % NAMES])
            lost += server.kind.expect.encode() not in answer if sort == THERE else answer != UNKNOWN
            if number >= 0:  # the first ones only warm up
                seen[sort].append(took)
    return Times(seen, lost)


def _asked(port: int, name: str) -> tuple[float, bytes]:
    """How many µs the answer takes, once the connection is there, and the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        line = f"{name}\r\n".encode()
        begun = time.perf_counter_ns()
        client.sendall(line)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        return (time.perf_counter_ns() - begun) / 1_000, answer


def times_table(times: Times) -> str:
    """A row for each sort of name."""
    rows = []
    for sort in times.seen:
        batches = times.slower_in_batches(sort)
        quartiles = (f"{figure:.0f}" for figure in times.quartiles(sort))
        rows.append((sort, *quartiles, _share(times.slower(sort)), "" if batches is None else _share(batches)))
    return table(("asked for", "1st quartile µs", "median µs", "3rd quartile µs", "slower", f"by {BATCH}"), rows)


def _share(share: float) -> str:
    return f"{share * 100:.1f} %"
