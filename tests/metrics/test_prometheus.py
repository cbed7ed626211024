"""Debian's Prometheus scrapes a daemon under load; promtool finds no fault with metrics, rules and configuration."""

import contextlib
import json
import random
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers.daemons import EXAMPLES, FINGERD, TIMEOUT, ask, hear, wait_until
from tests.helpers.http import head, send
from tests.helpers.ports import free_port
from tests.helpers.requirements import find, need, needs
from tests.metrics.conftest import StartMetrics

FLEET = EXAMPLES / "fleet"
LOAD_SECONDS = 60.0
CLIENTS = 8

Address = tuple[str, int]


def promtool(*arguments: str, page: bytes = b"", folder: Path | None = None) -> str:
    """What promtool says; AssertionError if it finds a fault."""
    command = [find("promtool") or "", *arguments]
    done = subprocess.run(command, input=page, capture_output=True, timeout=TIMEOUT, check=False, cwd=folder)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@needs("promtool")
def test_promtool_says_nothing_of_the_metrics(start_metrics: StartMetrics, tmp_path: Path) -> None:
    pages = f"http: {{listen: 'unix:{tmp_path}/pages'}}\n"
    daemon = start_metrics(f"{pages}backend: {{type: cache, backend: {{type: command, argv: [cat, /nowhere]}}}}\n")
    assert promtool("check", "metrics", page=daemon.get("/metrics").body) == ""
    daemon.ask(b"zoe\r\n")
    daemon.queries("error", 1)
    assert promtool("check", "metrics", page=daemon.get("/metrics").body) == ""


@needs("promtool")
def test_promtool_accepts_the_examples() -> None:
    assert "SUCCESS: 10 rules found" in promtool("check", "rules", str(FLEET / "alerts.yml"))
    assert "SUCCESS" in promtool("check", "config", str(FLEET / "prometheus.yml"))


# What makes each alert fire: the series, and their values, which are normal for the first five minutes of thirty.
FIRING = {
    "FingerdDown": [('up{job="fingerd"}', "1x5 0x25")],
    "FingerdReloadFailed": [("fingerd_last_reload_successful", "1x5 0x25")],
    "FingerdBackendFailing": [
        ('fingerd_backend_lookups_total{backend="ldap",result="error"}', "0x5 0+60x25"),
        ('fingerd_backend_lookups_total{backend="ldap",result="found"}', "0+60x30"),
    ],
    "FingerdServesStaleAnswers": [('fingerd_cache_lookups_total{result="stale"}', "0x5 0+60x25")],
    "FingerdBusy": [('fingerd_queries_total{outcome="busy",proto="finger"}', "0x5 0+60x25")],
    "FingerdQueriesWait": [("fingerd_workers_waiting", "0x5 7x25")],
    "FingerdSlow": [
        ('fingerd_answer_seconds_bucket{le="1.0"}', "0+60x5 300x25"),
        ('fingerd_answer_seconds_bucket{le="2.5"}', "0+60x30"),
        ('fingerd_answer_seconds_bucket{le="+Inf"}', "0+60x30"),
    ],
    "FingerdLoopSlow": [("fingerd_slow_loop_turns_total", "0x5 0+60x25")],
    "FingerdNearlyFull": [
        ("fingerd_connections_open", "10x5 81x25"),
        ('fingerd_limit{name="connections"}', "100x30"),
        ('fingerd_limit{name="threads"}', "32x30"),
    ],
    "FingerdLosesLogLines": [("fingerd_log_lines_dropped_total", "0x5 0+1x25")],
}


def alerts() -> list[str]:
    return re.findall(r"^ +- alert: (\w+)$", (FLEET / "alerts.yml").read_text(), re.MULTILINE)


@needs("promtool")
def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    assert set(alerts()) == set(FIRING)
    tests = []
    for name, series in FIRING.items():
        inputs = [{"series": sample, "values": values} for sample, values in series]
        checks = [{"eval_time": "4m", "alertname": name, "exp_alerts": []}]
        # promtool compares all labels and texts; that the alert is there at all is what its count says.
        counted = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
        expected = [{"labels": "{}", "value": 1}]
        expression = [{"expr": counted, "eval_time": "30m", "exp_samples": expected}]
        tests.append(
            {"interval": "1m", "input_series": inputs, "alert_rule_test": checks, "promql_expr_test": expression}
        )
    document = {"rule_files": [str(FLEET / "alerts.yml")], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yml").write_text(json.dumps(document))  # which is YAML
    assert "SUCCESS" in promtool("test", "rules", "tests.yml", folder=tmp_path)


class Prometheus:
    """Debian's Prometheus with the configuration of the example, which scrapes one daemon every two seconds."""

    def __init__(self, folder: Path, target: str) -> None:
        need("prometheus")
        self.address = "127.0.0.1", free_port()
        config = (FLEET / "prometheus.yml").read_text()
        config = config.replace("127.0.0.1:9079", target).replace("15s", "2s")
        (folder / "prometheus.yml").write_text(config)
        (folder / "alerts.yml").write_text((FLEET / "alerts.yml").read_text())
        command = [find("prometheus") or "", f"--config.file={folder}/prometheus.yml", "--log.level=warn"]
        command += [f"--web.listen-address=127.0.0.1:{self.address[1]}", f"--storage.tsdb.path={folder}/data"]
        with open(folder / "prometheus.log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        answer = self.api(f"/api/v1/query?query={quote(expression)}")
        assert answer["status"] == "success"
        return list(answer["data"]["result"])

    def api(self, target: str) -> Any:
        """An answer of its API."""
        raw = ask(self.address, f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return json.loads(raw.partition(b"\r\n\r\n")[2])

    def is_ready(self) -> bool:
        """Whether it has scraped the daemon."""
        with contextlib.suppress(OSError, ValueError):
            return [sample["value"][1] for sample in self.query("up")] == ["1"]
        return False

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(TIMEOUT)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Starts Prometheus, and stops it after the test."""
    started: list[Prometheus] = []

    def start(target: str) -> Prometheus:
        started.append(Prometheus(tmp_path, target))
        return started[-1]

    yield start
    for each in started:
        each.stop()


CONFIG = """\
listen: "127.0.0.1:0"
http: {listen: "127.0.0.1:0"}
metrics: {listen: "127.0.0.1:0"}
log: {to: FOLDER/fingerd.log}
limits: {read_seconds: 0.5, per_client: 3, query_bytes: 100}
policy:
  - {from: 127.0.0.3, deny: true}
  - {from: 127.0.0.4, deny: silently}
  - {from: any, list: true}
backend:
  type: chain
  backends:
    - {type: static, users: {zoe: Reading, bob: {name: Bob, plan: Fine}}}
    - {type: command, argv: [FOLDER/answer, '{user}']}
"""
ANSWER = """\
#!/bin/sh
case $1 in slow*) sleep 0.2; echo late;; fails*) exit 1;; esac
"""
QUERIES = (
    *(b"zoe\r\n", b"/W bob\r\n", b"nobody\r\n", b"\r\n", b"zoe@elsewhere.example\r\n", b"a\x00b\r\n"),
    *(b"fails\r\n", b"slow\r\n", b"y" * 200 + b"\r\n", b""),
)


def load(finger: Address, pages: Address, end: float, seed: int) -> None:
    """Ask all kinds of things until the end; some clients send nothing, some leave before their answer."""
    chance = random.Random(seed)
    while time.monotonic() < end:
        source = f"127.0.0.{chance.choice((1, 2, 3, 4, 5, 6, 7, 8))}"
        with contextlib.suppress(OSError):
            if chance.random() < 0.2:
                target = chance.choice(("/~zoe", "/~nobody", "/list/json", "/~fails/text", "/nowhere"))
                send(pages, head(target), source=source)
                continue
            with socket.create_connection(finger, TIMEOUT, source_address=(source, 0)) as client:
                query = chance.choice(QUERIES)
                client.sendall(query)
                if query or chance.random() < 0.1:
                    hear(client)


def outcomes_in(log: Path) -> Counter[tuple[str, str]]:
    """The access lines of a log by outcome and protocol."""
    found = re.findall(r" outcome=([a-z-]+) bytes=\d+ ms=[0-9.]+( proto=http)?", log.read_text())
    return Counter((outcome, "http" if proto else "finger") for outcome, proto in found)


@needs("prometheus", "promtool")
def test_the_counters_in_prometheus_add_up_to_the_lines_of_the_log(
    tmp_path: Path, prometheus: Callable[[str], Prometheus]
) -> None:
    (tmp_path / "answer").write_text(ANSWER)
    (tmp_path / "answer").chmod(0o755)
    (tmp_path / "fingerd.yaml").write_text(CONFIG.replace("FOLDER", str(tmp_path)))
    log = tmp_path / "fingerd.log"
    with logging_daemon(tmp_path / "fingerd.yaml", log) as (finger, pages, metrics):
        engine = prometheus(f"127.0.0.1:{metrics[1]}")
        wait_until(engine.is_ready)
        end = time.monotonic() + LOAD_SECONDS
        clients = [threading.Thread(target=load, args=(finger, pages, end, seed)) for seed in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        wait_until(lambda: [sample["value"][1] for sample in engine.query("fingerd_connections_open")] == ["0"])
        wait_until(lambda: outcomes_in(log) == counted(engine))
        told = counted(engine)
        assert len(told) > 12
        assert sum(told.values()) > 1_000
        (total,) = (float(sample["value"][1]) for sample in engine.query("fingerd_connections_total"))
        assert total == sum(told.values())
        (sent,) = (float(sample["value"][1]) for sample in engine.query("fingerd_sent_bytes_total"))
        assert sent == sum(map(int, re.findall(r" bytes=(\d+) ms=", log.read_text())))
        # Each scrape was answered, and no rule of the examples fails.
        assert [float(sample["value"][1]) for sample in engine.query("min_over_time(up[1m])")] == [1]
        groups = engine.api("/api/v1/rules")["data"]["groups"]
        assert {rule["name"]: rule["health"] for group in groups for rule in group["rules"]} == dict.fromkeys(
            alerts(), "ok"
        )
        lookups = {sample["metric"]["result"]: sample for sample in engine.query("fingerd_backend_lookups_total")}
        assert all(float(sample["value"][1]) > 0 for sample in lookups.values())


def counted(engine: Prometheus) -> Counter[tuple[str, str]]:
    """The queries of which Prometheus knows."""
    samples = engine.query("fingerd_queries_total")
    labels = ((sample["metric"], int(float(sample["value"][1]))) for sample in samples)
    return Counter({(names["outcome"], names["proto"]): count for names, count in labels if count})


@contextlib.contextmanager
def logging_daemon(config: Path, log: Path) -> Iterator[tuple[Address, Address, Address]]:
    """A daemon that logs to a file: where it answers by Finger and by HTTP, and where it has its metrics."""
    command = [*FINGERD, "-n", "-c", str(config)]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: log.exists() and "listening on" in log.read_text())
            (line,) = re.findall(r"listening on (.*)", log.read_text())
            finger, pages, metrics = (("127.0.0.1", int(port)) for port in re.findall(r":(\d+)\b", line))
            yield finger, pages, metrics
        finally:
            process.terminate()
        assert process.wait(TIMEOUT) == 0
