"""The collector: makes metrics of the counters and of the server's load, in the terms of ``prometheus_client``."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from fingerd import __version__
from fingerd.metrics.counters import BOUNDS, Counters, Histogram
from fingerd.ruip.measured import LOOKUP_RESULTS
from fingerd.server.dispatcher import Load
from fingerd.server.limits import Limits

_LABELS_OF_BOUNDS = (*map(floatToGoString, BOUNDS), "+Inf")

Values = Mapping[tuple[str, ...], float]  # by the values of the labels


class Sources(NamedTuple):
    """Where the values come from that are not counted here."""

    load: Callable[[], Load]  # of the server, without the request for it
    limits: Callable[[], Limits]
    backend: Callable[[], str]  # its type
    dropped_lines: Callable[[], int]  # that should have been logged, since the start
    last_reload: Callable[[], tuple[bool, float]]  # whether it succeeded, and when it ended (``time.time()``)


class Collector:
    """Gives the metrics that docs/metrics.md has, each time with their values at that moment. On the loop's thread."""

    def __init__(self, counters: Counters, sources: Sources) -> None:
        self._counters = counters
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """All metrics; those with labels have zeros for whatever did not happen yet."""
        self._counters.take_figures()
        yield _gauge("build_info", "The version of fingerd that runs.", 1, version=__version__)
        yield from self._of_connections(self._sources.load())
        yield from self._of_lookups()
        yield from self._of_daemon()

    def _of_connections(self, load: Load) -> Iterator[Metric]:
        counters = self._counters
        open_now, closed = load.connections, counters.closed
        yield _gauge("connections_open", "Connections of clients that are open.", open_now)
        yield _counter("connections", "Connections that were accepted.", closed + open_now)
        queries: Values = {
            (outcome, proto or "finger"): count
            for proto, outcomes in counters.queries.items()
            for outcome, count in outcomes.items()
        }
        help_text = "Connections that are closed, by the access log's word for how they went."
        yield _counters("queries", help_text, ("outcome", "proto"), queries)
        answers = HistogramMetricFamily("fingerd_answer_seconds", "From a whole request to its answer.")
        _add_to(answers, (), counters.answers)
        yield answers
        yield _counter("sent_bytes", "Bytes of answers that were sent.", counters.sent_bytes)
        yield _gauge("unsent_bytes", "Bytes of answers that clients have not taken yet.", load.unsent_bytes)
        memory: Values = {("hit",): load.memory_hits, ("miss",): load.memory_misses}
        yield _counters("answer_memory", "Queries whose answer may be remembered.", ("result",), memory)
        yield _gauge("workers", "Workers that work out an answer.", load.busy_workers)
        yield _gauge("workers_waiting", "Queries that wait for a free worker.", load.waiting)
        yield _counter("slow_loop_turns", "Turns of the event loop of more than 20 ms.", load.slow_turns)

    def _of_lookups(self) -> Iterator[Metric]:
        counters, backend = self._counters, self._sources.backend()
        zeros: dict[tuple[str, ...], int] = {(backend, result): 0 for result in LOOKUP_RESULTS}
        yield _counters("backend_lookups", "Look-ups in the backend.", ("backend", "result"), zeros | counters.lookups)
        seconds = HistogramMetricFamily(
            "fingerd_backend_lookup_seconds", "What look-ups in the backend took.", labels=("backend",)
        )
        for name, histogram in ({backend: Histogram()} | counters.lookup_seconds).items():
            _add_to(seconds, (name,), histogram)
        yield seconds
        cache: Values = {(result,): count for result, count in counters.cache.items()}
        yield _counters("cache_lookups", "Look-ups in caches.", ("result",), cache)
        forwards: Values = {(outcome,): count for outcome, count in counters.forwards.items()}
        yield _counters("forwards", "Queries for other hosts.", ("outcome",), forwards)

    def _of_daemon(self) -> Iterator[Metric]:
        sources = self._sources
        yield _counter("log_lines_dropped", "Lines that could not be logged.", sources.dropped_lines())
        succeeded, ended = sources.last_reload()
        yield _gauge("last_reload_successful", "Whether the last reload succeeded.", float(succeeded))
        yield _gauge("last_reload_timestamp_seconds", "When the last reload ended.", ended)
        limits = GaugeMetricFamily("fingerd_limit", "The limits of the configuration.", labels=("name",))
        for name, value in dataclasses.asdict(sources.limits()).items():
            limits.add_metric((name,), value)
        yield limits


def _gauge(name: str, help_text: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(f"fingerd_{name}", help_text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


def _counter(name: str, help_text: str, value: float) -> Metric:
    return _counters(name, help_text, (), {(): value})


def _counters(name: str, help_text: str, labels: tuple[str, ...], values: Values) -> CounterMetricFamily:
    family = CounterMetricFamily(f"fingerd_{name}", help_text, labels=labels)
    for of_labels, value in values.items():
        family.add_metric(of_labels, value)
    return family


def _add_to(family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram) -> None:
    cumulative = accumulate(histogram.counts)
    family.add_metric(labels, list(zip(_LABELS_OF_BOUNDS, cumulative, strict=True)), histogram.seconds)
