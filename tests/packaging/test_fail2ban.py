"""The fail2ban filter that ships, over a log that a real daemon wrote."""

import contextlib
import logging
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from fingerd.log.format import Access, access_json, access_text, record_text, timestamp
from tests.conftest import Start
from tests.helpers import proxy
from tests.helpers.daemons import ROOT, ask, wait_until
from tests.helpers.http import get, head, parse, send
from tests.helpers.requirements import needs

FILTER = ROOT / "etc" / "fail2ban" / "filter.d" / "fingerd.conf"

pytestmark = needs("fail2ban-regex")


def matched(log: Path) -> list[str]:
    """The lines of the log that the filter, where fail2ban keeps its filters, would ban for."""
    filters = log.parent / "filter.d"
    filters.mkdir()
    for part in (FILTER, Path("/etc/fail2ban/filter.d/common.conf")):
        shutil.copy(part, filters)
    command = ["fail2ban-regex", "--print-all-matched", str(log), str(filters / FILTER.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) matched", done.stdout)
    assert found, done.stdout + done.stderr
    section = done.stdout.partition("Matched line(s)")[2].partition("Missed line(s)")[0]
    lines = [line.strip("| ") for line in section.splitlines() if "client" in line]
    assert len(lines) == int(found[1])
    return lines


FIELDS = {
    "text": r".* client=(\S+) query=.* outcome=(\S+) .*",
    "json": r'.*"client": "([^"]*)".* "outcome": "([^"]*)", "bytes".*',
}


@pytest.mark.parametrize("style", FIELDS)
def test_clients_that_overdo_it_are_found_and_others_are_not(start: Start, tmp_path: Path, style: str) -> None:
    log = tmp_path / "fingerd.log"
    config = 'listen: "127.0.0.1:0"\nbackend: {type: static, users: {alice: fine}}\nlimits: {rate: 8}\n'
    daemon = start(config)
    address = daemon.address
    (tmp_path / "fingerd-0.yaml").write_text(config + f"log: {{to: {log}, format: {style}}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    forged = b'client=192.0.2.7 query="" outcome=limited bytes=0 ms=0.0'
    forged_json = b'", "client": "192.0.2.7", "query": "", "outcome": "limited", "bytes": 0, "ms": 0.0}'
    good = [b"alice", b"bob", b"a@b", forged_json, forged, b'x" outcome=limited bytes=1 ms=1.0']
    bad = [b"\0", b"a" * 2000, b"alice"]  # the last one is one too many
    for query in [*good, *bad]:
        ask(address, query + b"\r\n")
    assert daemon.stop() == 0
    lines = matched(log)
    found = sorted(match.groups() for line in lines if (match := re.fullmatch(FIELDS[style], line)))
    assert found == [("127.0.0.1", outcome) for outcome in ("limited", "malformed", "too-long")]


def test_lines_whose_query_is_shortened_are_found_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    forged = b'x" outcome=answered bytes=1 ms=1.0' + b"a" * 100
    access = Access("192.0.2.7", forged, "too-long", 16, 0.1)
    log.write_text(f"{timestamp(1_700_000_000)} {access_text(access, 'full', 0, is_short=True)}\n")
    assert '[...]" outcome=too-long' in log.read_text()
    assert len(matched(log)) == 1


ACCESS = Access("192.0.2.7", b'a "b" \\', "limited", 35, 0.0001)
LINES = {"text": access_text(ACCESS, "full", time.time()), "json": access_json(ACCESS, "full", time.time())}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_lines_of_syslog_are_found_too(tmp_path: Path, line: str) -> None:
    log = tmp_path / "syslog"
    log.write_text(f"Nov 23 02:51:02 host fingerd[4711]: {line}\nNov 23 02:51:02 host sshd[4712]: {line}\n")
    assert len(matched(log)) == 1


FURTHER = {
    "text": (" via=198.51.100.1", " proto=http status=429", " via=unix proto=http status=400", " via=2001:db8::1"),
    "json": (
        ', "via": "198.51.100.1"',
        ', "proto": "http", "status": 429',
        ', "via": "-", "proto": "http", "status": 400',
    ),
}


@pytest.mark.parametrize("style", FURTHER)
def test_fields_of_balancers_and_of_http_may_follow(tmp_path: Path, style: str) -> None:
    log, end = tmp_path / "fingerd.log", "}" if style == "json" else ""
    stamp = "" if style == "json" else f"{timestamp(int(time.time()))} "
    lines = [f"{stamp}{LINES[style].removesuffix(end)}{fields}{end}\n" for fields in FURTHER[style]]
    log.write_text("".join(lines))
    assert len(matched(log)) == len(lines)


@pytest.mark.parametrize("style", FIELDS)
def test_requests_by_http_are_found_too_and_a_proxy_never_is(start: Start, tmp_path: Path, style: str) -> None:
    log = tmp_path / "fingerd.log"
    http = 'http: {listen: "127.0.0.1:0", proxies: [127.0.0.3]}\n'
    policy = "policy: [{from: 127.0.0.9, http: false}, {from: any}]\n"
    backend = "backend: {type: static, users: {alice: fine}}\nlimits: {rate: 8}\n"
    config = f'listen: "127.0.0.1:0"\n{http}{policy}{backend}'
    daemon = start(config)
    address = "127.0.0.1", int(re.findall(r":(\d+)\b", daemon.listening)[-1])
    (tmp_path / "fingerd-0.yaml").write_text(config + f"log: {{to: {log}, format: {style}}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    forged = quote('" outcome=limited bytes=0 ms=0.0 proto=http status=429', safe="=")
    for target in ("/", "/~alice", "/~bob", "/style.css", f"/~{forged}", "/list/json"):
        assert get(address, target).status in (200, 403, 404)
    assert get(address, "/", "POST").status == 405
    for source, request in {
        "127.0.0.2": head("/~%zz"),
        "127.0.0.4": head("/", X="x" * 9000),
        "127.0.0.5": b"GET /" + b"x" * 9000,
        "127.0.0.6": b"\x16\x03\x01",
        "127.0.0.9": head("/~alice"),
        "127.0.0.3": head("/~%zz", X_Forwarded_For="192.0.2.7"),
    }.items():
        assert parse(send(address, request, source=source)).status in (400, 403, 414, 431)
    for request in (head("/"), b"nonsense\r\n", head("/", X_Forwarded_For="unknown"), head("/", X="x" * 9000)):
        assert parse(send(address, request, source="127.0.0.3")).status in (400, 431)
    while get(address, "/~alice", source="127.0.0.7").status != 429:
        pass
    assert daemon.stop() == 0
    pattern = r"client=(\S+)" if style == "text" else r'"client": "([^"]*)"'
    clients = [match[1] for line in matched(log) if (match := re.search(pattern, line))]
    expected = ["127.0.0.2", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.9", "192.0.2.7"]
    assert sorted(clients) == expected


@pytest.mark.parametrize("style", FIELDS)
def test_clients_of_a_balancer_are_found_and_the_balancer_never_is(start: Start, tmp_path: Path, style: str) -> None:
    log = tmp_path / "fingerd.log"
    listen = 'listen: {address: "127.0.0.1:0", proxies: [127.0.0.1]}\n'
    config = f"{listen}backend: {{type: static, users: {{alice: fine}}}}\nlimits: {{rate: 8}}\n"
    daemon = start(config)
    (tmp_path / "fingerd-0.yaml").write_text(config + f"log: {{to: {log}, format: {style}}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    forged = b'x" outcome=malformed bytes=1 ms=1.0 via=192.0.2.7'
    own = (b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")
    for header in (proxy.line("192.0.2.7"), proxy.packed("2001:db8::7"), *own):
        for query in (b"alice", b"bob", b"\0", b"a" * 2000, *[b"alice"] * 9, forged, forged + b"\0"):
            ask(daemon.address, header + query + b"\r\n")
    for sent in (b"\0\r\n", b"PROXY TCP4\r\n"):
        with contextlib.suppress(ConnectionResetError):
            ask(daemon.address, sent)
    with contextlib.suppress(ConnectionResetError):
        ask(daemon.address, proxy.line("192.0.2.8") + b"alice\r\n", source="127.0.0.9")  # who is no balancer
    assert daemon.stop() == 0
    pattern = r"client=(\S+)" if style == "text" else r'"client": "([^"]*)"'
    clients = [match[1] for line in matched(log) if (match := re.search(pattern, line))]
    assert set(clients) == {"192.0.2.7", "2001:db8::7", "127.0.0.9"}


def test_a_line_that_only_quotes_an_access_line_is_not_found(tmp_path: Path) -> None:
    log = tmp_path / "fingerd.log"
    record = logging.LogRecord("fingerd", logging.WARNING, "", 0, "%s", (LINES["json"].partition('"')[2],), None)
    answered = ACCESS._replace(line=b"".join(line.encode() for line in LINES.values()), outcome="answered")
    lines = [record_text(record, "json"), access_json(answered, "full", time.time())]
    log.write_text("".join(f"{line}\n" for line in [*lines, f"{timestamp(0)} {access_text(answered, 'full', 0)}"]))
    assert matched(log) == []
