"""Each metric changes as it should: real daemons, asked by Finger and by HTTP."""

import contextlib
import os
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingerd import __version__
from tests.helpers.daemons import TIMEOUT, Daemon, ask, hear, wait_until
from tests.helpers.http import get, head
from tests.helpers.metrics import MetricsDaemon, Values, values_of
from tests.metrics.conftest import StartMetrics

ZOE = "backend: {type: static, users: {zoe: Reading, bob: Fine}}\n"
LIST = "policy: [{from: any, list: true}]\n"
STARTED = time.time()


def test_outcomes_are_counted_by_the_log_s_words(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(
        "policy: [{from: 127.0.0.2, deny: true}, {from: 127.0.0.3, deny: silently}, {from: any}]\n"
        f"limits: {{read_seconds: 0.3, query_bytes: 100, per_client: 3}}\n{ZOE}"
    )
    for query, count, outcome in (
        (b"zoe\r\n", 3, "answered"),
        (b"nobody\r\n", 2, "unknown"),
        (b"\r\n", 1, "refused"),
        (b"zoe@other.example\r\n", 1, "refused"),
        (b"a\x00b\r\n", 2, "malformed"),
        (b"y" * 200 + b"\r\n", 1, "too-long"),
    ):
        for _ in range(count):
            assert daemon.ask(query)
        if query[:3] != b"zoe" or count == 3:
            daemon.queries(outcome, count)
    daemon.queries("refused", 2)
    assert daemon.ask(b"zoe\r\n", source="127.0.0.2") == b"Finger service denied\r\n"
    assert daemon.ask(b"", source="127.0.0.3") == b""
    daemon.queries("denied", 2)
    with daemon.connect() as client:
        client.shutdown(socket.SHUT_WR)
        assert hear(client) == b""
    daemon.queries("hung-up", 1)
    with daemon.connect() as silent:
        assert hear(silent) == b""
    daemon.queries("timeout", 1)
    values = daemon.values()
    assert values["connections_total"] == 14
    assert values["connections_open"] == 0
    assert sum(value for name, value in values.items() if name.startswith("queries_total")) == 14
    # What had no whole request has no time.
    assert values["answer_seconds_count"] == 11
    assert 0 < values["answer_seconds_sum"] < 11 * TIMEOUT


def test_limits_are_counted(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(f"limits: {{per_client: 5, rate: 2}}\n{ZOE}")
    with contextlib.ExitStack() as stack:
        first, *_, last = [stack.enter_context(daemon.connect()) for _ in range(6)]
        assert hear(last) == b""
        daemon.queries("limited", 1)
        daemon.counted("connections_open", 5)
        first.sendall(b"zoe\r\n")
        assert hear(first) == b"Reading\r\n"
    assert daemon.ask(b"zoe\r\n") == b"Reading\r\n"
    assert daemon.ask(b"zoe\r\n") == b"Too many queries, try again later\r\n"
    daemon.queries("limited", 2)
    daemon.queries("answered", 2)


def test_open_connections_and_bytes(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(ZOE)
    assert daemon.value("connections_open") == 0
    with daemon.connect(), daemon.connect(), socket.socket(socket.AF_UNIX) as monitoring:
        monitoring.connect(daemon.metrics)  # which is no client
        daemon.tells(connections_open=2, connections_total=2)
    daemon.tells(connections_open=0, connections_total=2)
    for _ in range(5):
        daemon.ask(b"zoe\r\n")
    daemon.tells(sent_bytes_total=5 * len(b"Reading\r\n"), connections_total=7)


def test_bytes_that_a_client_does_not_take(start_metrics: StartMetrics) -> None:
    plan = "x" * 8_000_000
    daemon = start_metrics(
        f"limits: {{reply_bytes: 16MiB, unsent_bytes: 64MiB}}\nbackend: {{type: static, users: {{zoe: {plan}}}}}\n"
    )
    with daemon.connect() as client:
        client.sendall(b"zoe\r\n")
        wait_until(lambda: daemon.value("unsent_bytes") > 1_000_000)
        assert len(hear(client)) == len(plan) + 2
    daemon.tells(unsent_bytes=0, sent_bytes_total=len(plan) + 2)


def test_the_answer_memory(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(ZOE)
    for _ in range(3):
        daemon.ask(b"zoe\r\n")
    daemon.ask(b"/W zoe\r\n")
    daemon.ask(b"\r\n")  # refused without a look at anything
    daemon.queries("answered", 4)
    values = daemon.values()
    assert values['answer_memory_total{result="hit"}'] == 2
    assert values['answer_memory_total{result="miss"}'] >= 2
    assert values['backend_lookups_total{backend="static",result="found"}'] == 2
    before = values['answer_memory_total{result="hit"}']
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    daemon.ask(b"zoe\r\n")
    daemon.counted('backend_lookups_total{backend="static",result="found"}', 3)  # the memory is a new one
    assert daemon.value('answer_memory_total{result="hit"}') == before  # and its counters go on


def test_look_ups_of_a_list(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(LIST + ZOE)
    assert b"zoe" in daemon.ask(b"\r\n")
    daemon.counted('backend_lookups_total{backend="static",result="found"}', 1)
    daemon = start_metrics(LIST + "backend: {type: command, argv: ['true']}\n")
    assert daemon.ask(b"\r\n") == b"Finger online user list denied\r\n"
    daemon.counted('backend_lookups_total{backend="command",result="unknown"}', 1)


def test_look_ups_of_a_backend_that_works_and_fails(start_metrics: StartMetrics, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text("Reading\n")
    daemon = start_metrics(f"backend: {{type: command, argv: [cat, {answer}]}}\n")
    assert daemon.ask(b"zoe\r\n") == b"Reading\r\n"
    answer.write_text("")
    assert daemon.ask(b"zoe\r\n") == b"No such user\r\n"
    answer.unlink()
    for _ in range(2):
        assert daemon.ask(b"zoe\r\n") == b"Internal error in server\r\n"
    daemon.queries("error", 2)
    values = daemon.values()
    assert {result: values[f'backend_lookups_total{{backend="command",result="{result}"}}'] for result in RESULTS} == {
        "found": 1,
        "unknown": 1,
        "error": 2,
    }
    assert values['backend_lookup_seconds_count{backend="command"}'] == 4
    assert 0 < values['backend_lookup_seconds_sum{backend="command"}'] < 4 * TIMEOUT
    assert values['backend_lookup_seconds_bucket{backend="command",le="+Inf"}'] == 4


RESULTS = ("found", "unknown", "error")


def test_a_cache(start_metrics: StartMetrics, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text("Reading\n")
    # A header with the client keeps the answer memory out of it.
    inner = f"{{type: command, argv: [cat, {answer}]}}"
    cache = f"backend: {{type: cache, seconds: 0.3, stale_seconds: 1h, backend: {inner}}}\n"
    daemon = start_metrics("reply: {header: '{client}'}\n" + cache)
    for _ in range(3):
        assert daemon.ask(b"zoe\r\n").endswith(b"Reading\r\n")
    wait_until(lambda: daemon.value('cache_lookups_total{result="miss"}') >= 1)
    values = daemon.values()
    assert values['cache_lookups_total{result="hit"}'] + values['cache_lookups_total{result="miss"}'] == 3
    answer.unlink()
    wait_until(lambda: daemon.ask(b"zoe\r\n") and daemon.value('cache_lookups_total{result="stale"}') >= 1)
    assert daemon.ask(b"zoe\r\n").endswith(b"Reading\r\n")
    assert daemon.ask(b"bob\r\n").endswith(b"Internal error in server\r\n")
    daemon.counted('cache_lookups_total{result="error"}', 1)
    # The backend of the configuration is the cache: that it answers is what counts.
    values = daemon.values()
    assert values['backend_lookups_total{backend="cache",result="error"}'] == 1
    found = values['backend_lookups_total{backend="cache",result="found"}']
    assert found == sum(values[f'cache_lookups_total{{result="{result}"}}'] for result in ("hit", "miss", "stale"))
    assert 'backend_lookups_total{backend="command",result="found"}' not in values


@pytest.mark.root
def test_forwards(start_metrics: StartMetrics) -> None:
    rules = "policy: [{from: 127.0.0.2}, {from: any, forward: [127.0.0.1, '*.invalid'], forward_hosts: 2}]\n"
    daemon = start_metrics(rules + ZOE)
    for query in (b"zoe@127.0.0.1\r\n", b"zoe@127.0.0.9\r\n", b"a@b@c@d\r\n"):
        daemon.ask(query)
    assert daemon.ask(b"zoe@127.0.0.1\r\n", source="127.0.0.2") == b"Finger forwarding service denied\r\n"
    daemon.ask(b"zoe@nobody.invalid\r\n")
    wait_until(lambda: sum(forwards(daemon.values()).values()) == 5)
    assert forwards(daemon.values())["refused"] >= 3
    assert daemon.ask(b"zoe\r\n") == b"Reading\r\n"
    assert sum(forwards(daemon.values()).values()) == 5


def forwards(values: Values) -> dict[str, float]:
    return {
        name.partition('"')[2].partition('"')[0]: value
        for name, value in values.items()
        if name.startswith("forwards_total")
    }


def test_workers(start_metrics: StartMetrics, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    daemon = start_metrics(
        f"limits: {{threads: 4, drain_seconds: 0}}\nbackend: {{type: command, argv: [cat, {gate}], timeout: 20}}\n"
    )
    daemon.tells(workers=0, workers_waiting=0)
    sources = [f"127.0.0.{number}" for number in range(2, 9)]
    clients = [connect(daemon, source) for source in sources]
    for client in clients:
        client.sendall(b"zoe\r\n")
    daemon.tells(workers=4, workers_waiting=3)
    for client in clients:
        client.close()
    daemon.process.send_signal(signal.SIGTERM)


def connect(daemon: Daemon, source: str) -> socket.socket:
    return socket.create_connection(daemon.address, TIMEOUT, source_address=(source, 0))


def test_a_query_that_is_told_busy_and_the_workers_afterwards(start_metrics: StartMetrics, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    daemon = start_metrics(
        f"limits: {{answer_seconds: 0.5}}\nbackend: {{type: command, argv: [cat, {gate}], timeout: 20}}\n"
    )
    assert daemon.ask(b"zoe\r\n") == b"Finger service is busy, try again later\r\n"
    daemon.queries("busy", 1)
    daemon.tells(workers=0, workers_waiting=0)
    assert daemon.value('answer_seconds_bucket{le="0.25"}') == 0
    assert daemon.value("answer_seconds_count") == 1


def test_pages_by_http_are_queries_of_their_own(start_metrics: StartMetrics, tmp_path: Path) -> None:
    pages = str(tmp_path / "pages")
    daemon = start_metrics(f"http: {{listen: 'unix:{pages}'}}\n{ZOE}")
    assert get(pages, "/~zoe").status == 200
    assert get(pages, "/~nobody").status == 404
    assert daemon.ask(b"zoe\r\n") == b"Reading\r\n"
    for proto, outcome in (("http", "answered"), ("http", "unknown"), ("finger", "answered")):
        daemon.queries(outcome, 1, proto)
    daemon.tells(connections_total=3)


def test_scrapes_are_neither_counted_nor_logged(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(ZOE)
    assert not any(name.startswith("queries_total") and 'proto="http"' in name for name in daemon.values())
    for _ in range(10):
        daemon.get("/metrics")
        daemon.get("/healthz")
        daemon.get("/other")
        ask(daemon.metrics, b"nonsense\r\n\r\n")
    values = daemon.values()
    assert values["connections_total"] == values["sent_bytes_total"] == values["answer_seconds_count"] == 0
    daemon.stop()
    assert not [line for line in daemon.log if "client=" in line]


def test_reloads(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(ZOE)
    values = daemon.values()
    assert values["last_reload_successful"] == 1
    assert STARTED <= values["last_reload_timestamp_seconds"] <= time.time()
    good = daemon.config.read_text()
    for text, said, successful in (
        ("nonsense", "not reloaded", 0),
        (good, "configuration reloaded", 1),
        (good.replace("ZOE", "type"), "configuration reloaded", 1),
        ("listen: no\n", "not reloaded", 0),
    ):
        before = time.time()
        daemon.config.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged(said)
        wait_until(lambda: daemon.value("last_reload_timestamp_seconds") >= before)
        assert daemon.value("last_reload_successful") == successful


def test_limits_and_the_version(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(f"limits: {{threads: 7, unsent_bytes: 1MiB, read_seconds: 2.5}}\n{ZOE}")
    values = daemon.values()
    assert values[f'build_info{{version="{__version__}"}}'] == 1
    assert values['limit{name="threads"}'] == 7
    assert values['limit{name="unsent_bytes"}'] == 1 << 20
    assert values['limit{name="read_seconds"}'] == 2.5
    assert values['limit{name="connections"}'] == 10_000
    daemon.config.write_text(daemon.config.read_text().replace("threads: 7", "threads: 9"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    daemon.counted('limit{name="threads"}', 9)


def test_another_backend_after_a_reload_has_counters_of_its_own(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(ZOE)
    daemon.ask(b"zoe\r\n")
    daemon.config.write_text(daemon.config.read_text().replace(ZOE, "backend: {type: empty}\n"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    assert daemon.value('backend_lookups_total{backend="empty",result="unknown"}') == 0
    daemon.ask(b"zoe\r\n")
    daemon.counted('backend_lookups_total{backend="empty",result="unknown"}', 1)
    assert daemon.value('backend_lookups_total{backend="static",result="found"}') == 1


def test_lines_that_the_log_loses(start_metrics: StartMetrics, tmp_path: Path) -> None:
    """A file that may not grow: no line can be written to it any more."""
    log = tmp_path / "fingerd.log"
    daemon = start_metrics(f"log: {{format: json}}\n{ZOE}")
    daemon.tells(log_lines_dropped_total=0)
    daemon.config.write_text(f"log: {{to: {log}}}\n" + daemon.config.read_text().replace("log: {format: json}\n", ""))
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    wait_until(lambda: log.stat().st_size)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
    for _ in range(3):
        daemon.ask(b"zoe\r\n")
    daemon.counted("log_lines_dropped_total", 3)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    daemon.ask(b"zoe\r\n")
    wait_until(lambda: "3 lines could not be logged" in log.read_text())
    assert daemon.value("log_lines_dropped_total") == 3


@pytest.mark.parametrize("kind", ["hold", "discard", "drop", "empty"])
def test_backends_without_people_have_metrics_too(start_metrics: StartMetrics, kind: str) -> None:
    daemon = start_metrics(f"limits: {{read_seconds: 0.3}}\nbackend: {{type: {kind}}}\n")
    assert daemon.get("/healthz").status == 200
    daemon.ask(b"zoe\r\n")
    daemon.queries("unknown" if kind == "empty" else "dropped", 1)


SLOW_PLUGIN = """\
import time
from fingerd.backends.static import Static


class Slow(Static):
    def find(self, lookup):
        time.sleep(0.1)
        return super().find(lookup)
"""


def test_slow_turns(start_metrics: StartMetrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that says that it never waits, and waits."""
    (tmp_path / "slow_plugin.py").write_text(SLOW_PLUGIN)
    metadata = tmp_path / "slow_plugin-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-plugin\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[fingerd.backends]\ntardy = slow_plugin:Slow\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    daemon = start_metrics("backend: {type: tardy, users: {zoe: Reading}}\n")
    before = daemon.value("slow_loop_turns_total")
    assert daemon.ask(b"zoe\r\n") == b"Reading\r\n"
    wait_until(lambda: daemon.value("slow_loop_turns_total") > before)
    # A backend of another package has the name that it has in the configuration.
    daemon.counted('backend_lookups_total{backend="tardy",result="found"}', 1)
    assert daemon.value('backend_lookup_seconds_bucket{backend="tardy",le="0.05"}') == 0
    assert daemon.value('backend_lookup_seconds_sum{backend="tardy"}') >= 0.1


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricsDaemon]:
    """One for all tests that only ask for pages."""
    daemon = MetricsDaemon(tmp_path_factory.mktemp("metrics"), ZOE)
    yield daemon
    assert daemon.stop() == 0


def test_a_head_request_has_the_same_header(daemon: MetricsDaemon) -> None:
    page, header = daemon.get("/metrics"), daemon.get("/metrics", "HEAD")
    assert header.status == 200
    assert header.headers["content-type"] == page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert values_of(page.text)


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/", "GET", 404),
        ("/metrics/", "GET", 404),
        ("/~zoe", "GET", 404),
        ("/healthz/x", "HEAD", 404),
        ("/metrics?name[]=fingerd_limit", "GET", 200),
        ("/metrics", "POST", 405),
        ("/healthz", "PUT", 405),
        ("/other", "DELETE", 405),
        ("/metrics", "OPTIONS", 405),
    ],
)
def test_nothing_else_is_served(daemon: MetricsDaemon, target: str, method: str, status: int) -> None:
    response = daemon.get(target, method)
    assert response.status == status
    if status == 405:
        assert response.headers["allow"] == "GET, HEAD"


MALFORMED = {
    "a body": head("/metrics", Content_Length="5") + b"hello",
    "no version": b"GET /metrics\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a long head": head("/metrics", X="y" * 9000),
    "a long target": head(f"/{'y' * 9000}"),
    "two lengths": b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_are_refused(daemon: MetricsDaemon, request_: bytes) -> None:
    answer = ask(daemon.metrics, request_)
    assert re.match(rb"HTTP/1\.1 (400|414|431|505) ", answer)
    assert daemon.get("/healthz").text == "ok\n"
