"""Measures whether response times reveal hidden people: whether a client can tell hidden from absent by the time."""

import random
import socket
import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.report import table
from bench.servers import Server

HIDDEN, ABSENT, OTHERS, PRESENT = "hidden", "absent", "absent, other names", "present"
STEMS = {HIDDEN: "hidden", ABSENT: "absent", OTHERS: "nobody", PRESENT: "people"}  # of logins of equal length
NAMES = 50  # of each kind
BATCH = 100  # queries whose median a patient client compares
UNKNOWN = b"No such user\r\n"


def names(kind: str) -> tuple[str, ...]:
    """The logins of a kind."""
    return tuple(f"{STEMS[kind]}{number:03}" for number in range(NAMES))


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    """The response times that one client measured, in µs, in the order of its queries."""

    by_kind: Mapping[str, Sequence[float]]
    lost: int

    def quartiles(self, kind: str) -> tuple[float, float, float]:
        """The first quartile, the median and the third quartile."""
        lower, middle, upper = statistics.quantiles(self.by_kind[kind], n=4)
        return lower, middle, upper

    def slower(self, kind: str) -> float:
        """The probability that a query of this kind takes longer than one for an absent name; 0.5 reveals nothing."""
        return _longer(self.by_kind[kind], self.by_kind[ABSENT])

    @property
    def guessed(self) -> float:
        """The share of right guesses, hidden or absent, from the time of one query each."""
        slower = self.slower(HIDDEN)
        return max(slower, 1 - slower)

    def slower_in_batches(self, kind: str) -> float | None:
        """As ``slower``, for medians of ``BATCH`` queries; None if there are too few."""
        medians, absent = _medians(self.by_kind[kind]), _medians(self.by_kind[ABSENT])
        return _longer(medians, absent) if len(medians) > 1 else None


def _longer(times: Sequence[float], others: Sequence[float]) -> float:
    """The share of all pairs in which the first is longer; a tie counts half. It is the area under the ROC curve."""
    others = sorted(others)
    won = sum(bisect_left(others, each) + bisect_right(others, each) for each in times)
    return won / 2 / len(times) / len(others)


def _medians(times: Sequence[float]) -> list[float]:
    whole = len(times) - len(times) % BATCH
    return [statistics.median(times[begin : begin + BATCH]) for begin in range(0, whole, BATCH)]


def measure_timing(server: Server, queries: int) -> ResponseTimes:
    """Send so many queries of each kind, in turns of random order."""
    generator = random.Random(1288)
    logins = {kind: names(kind) for kind in STEMS}
    by_kind: dict[str, list[float]] = {kind: [] for kind in STEMS}
    lost = 0
    for number in range(-NAMES, queries):
        for kind in generator.sample(list(STEMS), len(STEMS)):
            elapsed, answer = _timed_query(server.port, logins[kind][number % NAMES])
            lost += server.contender.expect.encode() not in answer if kind == PRESENT else not answer.endswith(UNKNOWN)
            if number >= 0:  # the first ones only warm up
                by_kind[kind].append(elapsed)
    return ResponseTimes(by_kind, lost)


def _timed_query(port: int, name: str) -> tuple[float, bytes]:
    """The µs from sending the query to the end of the answer, and the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        line = f"{name}\r\n".encode()
        start = time.perf_counter_ns()
        client.sendall(line)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        return (time.perf_counter_ns() - start) / 1_000, answer


def times_table(times: ResponseTimes) -> str:
    """A row for each kind of name."""
    rows = []
    for kind in times.by_kind:
        batches = times.slower_in_batches(kind)
        quartiles = (f"{figure:.0f}" for figure in times.quartiles(kind))
        rows.append((kind, *quartiles, _per_cent(times.slower(kind)), "" if batches is None else _per_cent(batches)))
    return table(("asked for", "1st quartile µs", "median µs", "3rd quartile µs", "slower", f"by {BATCH}"), rows)


def _per_cent(share: float) -> str:
    return f"{share * 100:.1f} %"
