"""The counters: plain numbers, which the event loop's thread alone adds to, when a connection is closed.

What a worker finds out waits in :mod:`fingerd.figures` until there is enough of it, or a scrape. No counter is kept for
a client or a user, so their number is bounded.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import TypeVar

from fingerd.figures import FIGURES
from fingerd.log.format import Access

# Seconds: from an answer that is remembered to the default of answer_seconds.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)

# The log's words for how a connection ended.
OUTCOMES = (
    *("answered", "unknown", "refused", "malformed", "too-long", "limited", "busy", "error", "denied"),
    *("dropped", "timeout", "hung-up", "proxy-error"),
)
FORWARD_OUTCOMES = ("answered", "unknown", "refused", "busy", "error")
CACHE_RESULTS = ("hit", "miss", "stale", "error")

FIGURES_MAX = 64  # that wait to be counted, which takes some 0.01 ms

MONITORING = "metrics"  # the protocol of connections that are neither counted nor logged

AccessLog = Callable[[Access], None]
Key = TypeVar("Key")


class Histogram:
    """How many times something took how long."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)  # up to each bound, from the one before; the last is of what took longer
        self.seconds = 0.0  # of all together

    def add(self, all_seconds: Collection[float]) -> None:
        """Count some that took so long each."""
        counts = self.counts
        for seconds in all_seconds:
            counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += sum(all_seconds)


class Counters:
    """What is counted of one server, which answers by these protocols, by the log's words: Finger's is empty."""

    def __init__(self, protos: Collection[str]) -> None:
        self.queries: dict[str, dict[str, int]] = {proto: _zeros(OUTCOMES) for proto in protos}  # by protocol, outcome
        self.answers = Histogram()
        self.sent_bytes = 0
        self.lookups: dict[tuple[str, ...], int] = _zeros(())  # by the type of the backend, and the result
        self.lookup_seconds: dict[str, Histogram] = defaultdict(Histogram)  # by the type of the backend
        self.cache = _zeros(CACHE_RESULTS)
        self.forwards = _zeros(FORWARD_OUTCOMES)

    @property
    def closed(self) -> int:
        """The connections that were counted."""
        return sum(sum(outcomes.values()) for outcomes in self.queries.values())

    def counting(self, access_log: AccessLog) -> AccessLog:
        """Counts each connection, and then has it logged; those by other protocols, as MONITORING, are neither."""

        queries, answers, counts, noted = self.queries, self.answers, self.answers.counts, FIGURES.noted

        def log_and_count(access: Access) -> None:
            _, _, outcome, sent, seconds, proto, _, _ = access
            if (outcomes := queries.get(proto)) is None:  # monitoring
                return
            outcomes[outcome] += 1
            self.sent_bytes += sent
            if seconds:  # else there was no whole request
                counts[bisect_left(BOUNDS, seconds)] += 1  # as ``answers.add`` does, in less time
                answers.seconds += seconds
            if len(noted) >= FIGURES_MAX:
                self.take_figures()
            access_log(access)

        return log_and_count

    def take_figures(self) -> None:
        """Count what workers have found out so far."""
        take = FIGURES.noted.popleft
        lookups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for _ in range(len(FIGURES.noted)):
            kind, result, source, seconds = take()
            if kind == "lookup":
                lookups[source, result].append(seconds)
            elif kind == "cache":
                self.cache[result] += 1
            else:
                self.forwards[result] += 1
        for (source, result), all_seconds in lookups.items():
            self.lookups[source, result] += len(all_seconds)
            self.lookup_seconds[source].add(all_seconds)


def _zeros(keys: Collection[Key]) -> dict[Key, int]:
    return defaultdict(int, dict.fromkeys(keys, 0))
