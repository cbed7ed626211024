"""The counters and the collector: what is counted becomes metrics, with their zeros, sums and buckets."""

import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fingerd.figures import FIGURES
from fingerd.log.format import Access
from fingerd.metrics.collector import Collector, Sources
from fingerd.metrics.counters import BOUNDS, FIGURES_MAX, MONITORING, OUTCOMES, Counters, Histogram
from fingerd.server.dispatcher import Load
from fingerd.server.limits import Limits
from tests.helpers.metrics import Values, values_of

LOAD = Load(3, unsent_bytes=70, memory_hits=5, memory_misses=4, busy_workers=2, waiting=1, slow_turns=6)


@pytest.fixture
def figures() -> Iterator[None]:
    """What is noted here is kept, and nothing of it later."""
    FIGURES.are_counted = True
    yield
    FIGURES.are_counted = False
    FIGURES.noted.clear()


def values(counters: Counters, backend: str = "static") -> Values:
    """The metrics of these counters."""
    registry = CollectorRegistry()
    registry.register(
        Collector(counters, Sources(lambda: LOAD, Limits, lambda: backend, lambda: 9, lambda: (True, 8.5)))
    )
    return values_of(generate_latest(registry).decode())


def access(outcome: str, seconds: float = 0.5, proto: str = "") -> Access:
    return Access("192.0.2.7", b"zoe\r\n", outcome, 10, seconds, proto)


def test_each_connection_is_counted_and_logged_once() -> None:
    counters, logged = Counters(("", "http")), list[Access]()
    count = counters.counting(logged.append)
    lines = [access("answered"), access("answered", proto="http"), access("hung-up", 0.0), access("answered")]
    for line in lines:
        count(line)
    assert logged == lines
    found = values(counters)
    assert found['queries_total{outcome="answered",proto="finger"}'] == 2
    assert found['queries_total{outcome="answered",proto="http"}'] == 1
    assert found['queries_total{outcome="hung-up",proto="finger"}'] == 1
    assert found["sent_bytes_total"] == 40
    assert found["connections_open"] == 3
    assert found["connections_total"] == 7
    assert (found["answer_seconds_count"], found["answer_seconds_sum"]) == (3, 1.5)


def test_those_that_monitor_are_neither_counted_nor_logged() -> None:
    counters, logged = Counters(("",)), list[Access]()
    before = values(counters)
    counters.counting(logged.append)(access("answered", proto=MONITORING))
    assert not logged
    assert values(counters) == before


def test_what_did_not_happen_yet_is_zero() -> None:
    found = values(Counters(("", "http")))
    for proto in ("finger", "http"):
        for outcome in OUTCOMES:
            assert found[f'queries_total{{outcome="{outcome}",proto="{proto}"}}'] == 0
    for result in ("found", "unknown", "error"):
        assert found[f'backend_lookups_total{{backend="static",result="{result}"}}'] == 0
    for result in ("hit", "miss", "stale", "error"):
        assert found[f'cache_lookups_total{{result="{result}"}}'] == 0
    assert found['backend_lookup_seconds_count{backend="static"}'] == 0
    assert not any('proto="http"' in name for name in values(Counters(("",))))


def test_what_the_server_tells() -> None:
    found = values(Counters(("",)))
    told: dict[str, float] = {"unsent_bytes": 70, "workers": 2, "workers_waiting": 1, "slow_loop_turns_total": 6}
    told |= {"log_lines_dropped_total": 9, "last_reload_successful": 1, "last_reload_timestamp_seconds": 8.5}
    told |= {'answer_memory_total{result="hit"}': 5, 'answer_memory_total{result="miss"}': 4}
    told |= {'limit{name="drain_seconds"}': 10, 'limit{name="unsent_bytes"}': 64 << 20}
    assert told.items() <= found.items()


def test_figures_are_counted_by_a_scrape(figures: None) -> None:
    counters = Counters(("",))
    FIGURES.note("lookup", "found", "ldap", 0.25)
    FIGURES.note("lookup", "found", "sql", 0.25)
    FIGURES.note("cache", "stale")
    counters.counting(lambda _: None)(access("answered"))
    FIGURES.note("forward", "busy")
    FIGURES.note("lookup", "error", "ldap", 30.0)
    found = values(counters, "ldap")
    assert not FIGURES.noted
    assert found['backend_lookups_total{backend="ldap",result="found"}'] == 1
    assert found['backend_lookups_total{backend="ldap",result="error"}'] == 1
    assert found['backend_lookups_total{backend="sql",result="found"}'] == 1
    assert found['backend_lookup_seconds_sum{backend="ldap"}'] == 30.25
    assert found['backend_lookup_seconds_bucket{backend="ldap",le="20.0"}'] == 1
    assert found['backend_lookup_seconds_bucket{backend="ldap",le="+Inf"}'] == 2
    assert found['cache_lookups_total{result="stale"}'] == 1
    assert found['forwards_total{outcome="busy"}'] == 1


def test_figures_that_nobody_scrapes_are_counted_when_a_connection_is_closed(figures: None) -> None:
    counters = Counters(("",))
    count = counters.counting(lambda _: None)
    for _ in range(FIGURES_MAX - 1):
        FIGURES.note("lookup", "found", "ldap", 0.25)
    count(access("answered"))
    assert len(FIGURES.noted) == FIGURES_MAX - 1
    FIGURES.note("lookup", "found", "ldap", 0.25)
    count(access("answered"))
    assert not FIGURES.noted
    assert counters.lookups["ldap", "found"] == FIGURES_MAX


def test_nothing_is_noted_in_a_process_that_does_not_count() -> None:
    FIGURES.note("cache", "hit")
    assert not FIGURES.noted


def test_no_figure_is_lost_or_counted_twice_by_many_threads(figures: None) -> None:
    counters = Counters(("",))
    count = counters.counting(lambda _: None)

    def note() -> None:
        for _ in range(2_000):
            FIGURES.note("lookup", "found", "sql", 0.1)

    threads = [threading.Thread(target=note) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        count(access("answered"))
    counters.take_figures()
    assert counters.lookups["sql", "found"] == sum(counters.lookup_seconds["sql"].counts) == 16_000


@pytest.mark.parametrize("seconds", [0.0, 1e-6, *BOUNDS, 0.3, 21.0, 1e6])
def test_a_time_is_in_the_first_bucket_whose_bound_it_does_not_exceed(seconds: float) -> None:
    histogram = Histogram()
    histogram.add([seconds])
    (place,) = [number for number, count in enumerate(histogram.counts) if count]
    assert place == len(BOUNDS) or seconds <= BOUNDS[place]
    assert place == 0 or seconds > BOUNDS[place - 1]
