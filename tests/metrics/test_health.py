"""``/healthz`` until the end of the drain; and who may ask for it: policy, limits, slow clients."""

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.helpers.daemons import TIMEOUT, ask, hear, wait_until
from tests.helpers.http import head, parse
from tests.helpers.metrics import MetricsDaemon
from tests.metrics.conftest import StartMetrics

ZOE = "backend: {type: static, users: {zoe: Reading}}\n"


def gated(gate: Path) -> str:
    """A backend that answers when the gate is opened."""
    os.mkfifo(gate)
    return f"backend: {{type: command, argv: [cat, {gate}], timeout: 20}}\n"


def test_a_draining_daemon_is_not_healthy_and_says_so_to_the_end(start_metrics: StartMetrics, tmp_path: Path) -> None:
    daemon = start_metrics(f"limits: {{drain_seconds: 20}}\n{gated(tmp_path / 'gate')}")
    assert (daemon.get("/healthz").status, daemon.get("/healthz").text) == (200, "ok\n")
    with daemon.connect() as client:
        client.sendall(b"zoe\r\n")
        daemon.tells(workers=1)
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: daemon.get("/healthz").status == 503)
        wait_until(lambda: is_closed(daemon))
        for _ in range(20):  # these do not keep it from ending, nor do the next two
            health = daemon.get("/healthz")
            assert (health.status, health.text, health.headers["retry-after"]) == (503, "draining\n", "10")
        assert daemon.value("workers") == 1
        assert daemon.get("/healthz", "HEAD").status == 503
        with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as deaf:
            silent.connect(daemon.metrics)
            deaf.connect(daemon.metrics)
            deaf.sendall(head("/metrics"))
            (tmp_path / "gate").write_text("open\n")
            assert hear(client) == b"open\r\n"
            client.close()
            assert daemon.process.wait(TIMEOUT / 3) == 0
    assert not os.path.exists(daemon.metrics)


def is_closed(daemon: MetricsDaemon) -> bool:
    with socket.socket() as client:
        return client.connect_ex(daemon.address) != 0


def test_a_daemon_without_clients_ends_at_once_although_it_is_asked_for_its_health(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(f"limits: {{drain_seconds: 60}}\n{ZOE}")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(daemon.metrics)
        daemon.get("/healthz")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(TIMEOUT / 3) == 0


@pytest.mark.parametrize("policy", ["[{from: any, deny: true}]", "[{from: any, deny: silently}]", "[]"])
def test_the_policy_does_not_concern_metrics(start_metrics: StartMetrics, policy: str) -> None:
    daemon = start_metrics(f"policy: {policy}\n{ZOE}")
    assert daemon.get("/healthz").status == 200
    assert daemon.get("/metrics").status == 200
    with contextlib.suppress(ConnectionResetError):  # it may be closed before its query is there
        daemon.ask(b"zoe\r\n")
    daemon.queries("denied", 1)


def test_the_limits_do(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(f"limits: {{read_seconds: 0.5, per_client: 6, rate: 1}}\n{ZOE}")
    for _ in range(3):  # the rate is for queries
        assert daemon.get("/healthz").status == 200
    clients = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for client in clients:
        client.settimeout(TIMEOUT)
        client.connect(daemon.metrics)
    clients[1].sendall(b"GET /met")
    assert [hear(client) for client in clients] == [b""] * 8  # two are too many, one is slow, the others are silent
    assert daemon.get("/healthz").status == 200
    for client in clients:
        client.close()


def test_a_client_with_all_its_connections_can_still_be_told_the_health(
    start_metrics: StartMetrics, tmp_path: Path
) -> None:
    path = str(tmp_path / "finger")
    daemon = start_metrics(f"listen: 'unix:{path}'\nlimits: {{per_client: 1}}\n{ZOE}")
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.connect(path)
        second.connect(path)
        second.settimeout(TIMEOUT)
        assert hear(second) == b""
        assert daemon.get("/healthz").status == 200
        first.sendall(b"zoe\r\n")
        assert hear(first) == b"Reading\r\n"
    assert ask(path, b"zoe\r\n") == b"Reading\r\n"


def test_a_request_in_parts_is_answered(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(ZOE)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(daemon.metrics)
        for part in (head("/healthz")[:20], head("/healthz")[20:]):
            client.sendall(part)
        assert parse(hear(client)).text == "ok\n"


def test_it_answers_while_all_workers_are_stuck(start_metrics: StartMetrics, tmp_path: Path) -> None:
    daemon = start_metrics(f"limits: {{threads: 1, drain_seconds: 0}}\n{gated(tmp_path / 'gate')}")
    with daemon.connect() as first, daemon.connect() as second:
        for client in (first, second):
            client.sendall(b"zoe\r\n")
        daemon.tells(workers=1)
        assert daemon.get("/healthz").status == 200


def test_a_condition_gets_the_whole_answer(start_metrics: StartMetrics) -> None:
    daemon = start_metrics(ZOE)
    for target in ("/healthz", "/metrics"):
        found = daemon.get(target, If_None_Match="*")
        assert (found.status, bool(found.text)) == (200, True)
        assert "etag" not in found.headers
