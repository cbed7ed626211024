"""Policy, limits, memory and signals hold for requests as they do for queries, and for both together."""

import contextlib
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, ask, hear, wait_until
from tests.helpers.http import HttpDaemon, get, head, parse, send
from tests.helpers.requirements import needs
from tests.http.conftest import StartHttp

STATIC = "backend: {type: static, users: {zoe: {name: Zoe Quill, office: B 12, plan: Reading}, bob: Fine}}\n"
OTHER = "127.0.0.9"
HALF = b"GET /~zoe/json HTTP/1.1\r\nHost: a\r\n"


def reload(daemon: HttpDaemon, old: str, new: str) -> None:
    """Replace a part of the configuration, and have it take effect."""
    text = daemon.config.read_text()
    assert old in text
    daemon.config.write_text(text.replace(old, new))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")


def is_closed(address: tuple[str, int], request: bytes, source: str) -> bool:
    """Whether a client is closed without a response."""
    try:
        return send(address, request, source=source) == b""
    except ConnectionError:
        return True


def test_a_silent_denial_closes_by_both_doors(start_http: StartHttp) -> None:
    daemon = start_http(STATIC + f"policy: [{{from: {OTHER}, deny: silently}}, {{from: any}}]\n")
    for request in (head("/~zoe"), b"nonsense\r\n", b"\x16\x03\x01", b""):
        assert is_closed(daemon.http, request, OTHER)
        assert f"client={OTHER} " in daemon.logged("outcome=denied bytes=0")
    assert is_closed(daemon.address, b"zoe\r\n", OTHER)
    assert daemon.get("/~zoe").status == 200


@pytest.mark.parametrize("rule", ["deny: true", "http: false"])
def test_who_is_denied_learns_nothing_of_the_own_request(start_http: StartHttp, rule: str) -> None:
    """What is malformed, too long, or no method of ours gets the same answer as all else."""
    daemon = start_http(f"{STATIC}policy: [{{from: {OTHER}, {rule}}}, {{from: any}}]\nlimits: {{rate: 1}}\n")
    for request in (head("/~zoe"), head("/~%zz"), head("/", "POST"), b"x\r\n", b"GET /" + b"x" * 9000, head("/feed")):
        response = parse(send(daemon.http, request, source=OTHER))
        assert response.status == 403
        assert "Finger service denied" in response.text
        assert "outcome=denied" in daemon.logged(f"client={OTHER} ")


def test_connections_of_both_doors_are_counted_together(start_http: StartHttp) -> None:
    daemon = start_http(f"{STATIC}limits: {{per_client: 3}}\n")
    with contextlib.ExitStack() as stack:
        for address in (daemon.address, daemon.http, daemon.http):
            client = stack.enter_context(socket.create_connection(address, TIMEOUT, (OTHER, 0)))
            client.sendall(b"G")
        wait_until(lambda: is_closed(daemon.http, head("/~zoe"), OTHER))
        assert "outcome=limited" in daemon.logged("proto=http status=0")
        assert is_closed(daemon.address, b"zoe\r\n", OTHER)
        assert daemon.get("/~zoe").status == 200
        client.sendall(HALF[1:] + b"\r\n")
        assert parse(hear(client)).status == 200
    wait_until(lambda: not is_closed(daemon.http, head("/~zoe"), OTHER))


def test_the_rate_counts_requests_for_people_and_queries(start_http: StartHttp) -> None:
    daemon = start_http(f"{STATIC}limits: {{rate: 3}}\n", 'base_url: "https://a.example", domains: [a.example]')
    free = ("/style.css", "/robots.txt", "/", "/list/json", "/list/text", "/feed", "/?q=zoe", "/x", "/~%00", "/~")
    for target in free * 2:
        assert daemon.get(target).status != 429
    assert daemon.get("/", "POST").status == 405
    assert daemon.get("/~zoe").status == 200
    assert daemon.ask(b"zoe\r\n") == ask(daemon.address, b"zoe\r\n")  # two of the three are left
    for target in ("/~zoe", "/~nobody/text", "/~zoe/feed", "/.well-known/webfinger?resource=acct:zoe@a.example"):
        limited = daemon.get(target)
        assert limited.status == 429
        assert int(limited.headers["retry-after"]) > 0
    assert "outcome=limited" in daemon.logged("status=429")
    for target in free:
        assert daemon.get(target).status != 429
    assert daemon.get("/~zoe", source=OTHER).status == 200


def test_remembered_answers_of_forms_rules_and_doors_are_apart(start_http: StartHttp) -> None:
    policy = f"policy: [{{from: {OTHER}, show: minimal}}, {{from: any, list: true}}]\n"
    daemon = start_http(STATIC + policy, 'base_url: "https://a.example"')
    for _ in range(3):
        assert b"Reading" in daemon.ask(b"zoe\r\n")
        assert b"Reading" not in daemon.ask(b"zoe\r\n", source=OTHER)
        assert daemon.get("/~zoe/text").body == daemon.ask(b"zoe\r\n")
        assert daemon.get("/~zoe/text", source=OTHER).body == daemon.ask(b"zoe\r\n", source=OTHER)
        assert set(daemon.get("/~zoe/json").json["people"][0]) >= {"login", "name", "office", "plan"}
        assert daemon.get("/~zoe/json", source=OTHER).json == {"people": [{"name": "Zoe Quill"}]}
        assert "Reading" in daemon.get("/~zoe").text
        assert "Reading" not in daemon.get("/~zoe", source=OTHER).text
        assert b"Reading" in daemon.get("/~zoe/feed").body
        assert b"Reading" not in daemon.get("/~zoe/feed", source=OTHER).body
        assert daemon.get("/~zoe", Accept="text/plain").body == daemon.ask(b"zoe\r\n")
        for target in ("/~zoe", "/~zoe/json", "/~zoe/text", "/~zoe/feed"):
            full, only_head = daemon.get(target), daemon.get(target, "HEAD")
            assert only_head.headers["etag"] == full.headers["etag"]
            assert only_head.headers["content-length"] == str(len(full.body))
            assert daemon.get(target, If_None_Match=full.headers["etag"]).status == 304
    assert daemon.get("/list/json").status == 200
    assert daemon.get("/list/json", source=OTHER).status == 403
    assert daemon.ask(b"\r\n", source=OTHER) == b"Finger online user list denied\r\n"


def test_a_reload_holds_for_clients_that_have_not_asked_yet(start_http: StartHttp) -> None:
    daemon = start_http(f"{STATIC}policy: [{{from: any, list: true}}]\n", "title: Old")
    clients = [socket.create_connection(daemon.http, TIMEOUT) for _ in range(4)]
    old = daemon.get("/").text
    assert "Old" in old
    try:
        for client, sent in zip(clients, (b"", b"GET ", HALF, HALF), strict=True):
            client.sendall(sent)
        reload(daemon, "title: Old", "title: New")
        assert daemon.get("/").text == old.replace("Old", "New")
        clients[0].sendall(head("/"))
        assert "New" in parse(hear(clients[0])).text
        reload(daemon, "list: true", "http: false")
        clients[1].sendall(b"/~zoe HTTP/1.0\r\n\r\n")
        assert parse(hear(clients[1])).status == 403
        reload(daemon, "http: false", "deny: silently")
        clients[2].sendall(b"\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert hear(clients[2]) == b""
        reload(daemon, "deny: silently", "show: minimal")
        clients[3].sendall(b"\r\n")
        assert parse(hear(clients[3])).json == {"people": [{"name": "Zoe Quill"}]}
    finally:
        for client in clients:
            client.close()
    assert daemon.get("/list/json").status == 403


def test_a_bad_reload_changes_nothing(start_http: StartHttp) -> None:
    daemon = start_http(STATIC, "title: Old")
    for new in ("title: Old, base_url: /", "domains: [a.example]"):
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace("title: Old", new))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged("not reloaded: ")
        daemon.config.write_text(text)
    assert "Old" in daemon.get("/").text


def test_sigterm_lets_running_answers_end_and_closes_others(start_http: StartHttp) -> None:
    backend = "backend: {type: command, argv: [sh, -c, 'sleep 1; echo done']}\n"
    daemon = start_http(f"{backend}limits: {{drain_seconds: 9}}\n")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(daemon.http, TIMEOUT)) for _ in range(4)]
        silent, running = clients[:2], clients[2:]
        silent[1].sendall(HALF)
        for client in running:
            client.sendall(head("/~zoe/text"))
        daemon.get("/style.css")  # after it, the others are being answered
        daemon.process.send_signal(signal.SIGTERM)
        for client in silent:
            assert hear(client) == b""
        for client in running:
            response = parse(hear(client))
            assert (response.status, response.text) == (200, "done\r\n")
    with pytest.raises(ConnectionRefusedError):
        daemon.get("/~zoe")
    assert daemon.stop() == 0
    assert sum("outcome=dropped" in line and "proto=http" in line for line in daemon.log) == 2
    assert sum("status=200" in line for line in daemon.log) == 3


def test_an_answer_that_is_late_at_sigterm_is_503(start_http: StartHttp) -> None:
    backend = "backend: {type: command, argv: [sh, -c, 'sleep 9'], timeout: 9}\n"
    daemon = start_http(f"{backend}limits: {{drain_seconds: 0.2}}\n")
    with socket.create_connection(daemon.http, TIMEOUT) as client:
        client.sendall(head("/~zoe/json"))
        daemon.get("/style.css")
        daemon.process.send_signal(signal.SIGTERM)
        busy = parse(hear(client))
        assert (busy.status, busy.json) == (503, {"error": "Finger service is busy, try again later"})


def test_a_full_server_closes_the_longest_silent_for_a_new_one(start_http: StartHttp) -> None:
    daemon = start_http(f"{STATIC}limits: {{connections: 10}}\n")
    clients = [socket.create_connection(daemon.http, TIMEOUT) for _ in range(20)]
    try:
        assert daemon.get("/~zoe").status == 200
        assert b"Zoe" in daemon.ask(b"zoe\r\n")
        assert "outcome=dropped" in daemon.logged("proto=http status=0")
    finally:
        for client in clients:
            client.close()


@needs("strace")
def test_a_hidden_person_costs_the_same_system_calls_as_an_absent_one(start: Start, tmp_path: Path) -> None:
    people, trace = tmp_path / "people", tmp_path / "trace"
    for login in ("zoe", "hid"):
        (people / login).mkdir(parents=True)
        (people / login / "plan").write_text("Reading\n")
    (people / "hid" / "nofinger").write_text("")
    path = tmp_path / "http"
    config = f"""
        listen: []
        http: {{listen: "unix:{path}", base_url: "https://a.example", domains: [a.example]}}
        backend: {{type: files, folder: {people}}}
        reply: {{header: "{{time}}"}}
    """
    start(config, inside=("strace", "-D", "-f", "-qq", "-e", "trace=%file,fstat,getdents64", "-o", str(trace)))

    def calls(target: str) -> list[str]:
        """The names of the calls of one request, and what they return."""
        before = len(trace.read_text())
        assert get(str(path), target).status == 404
        lines = trace.read_text()[before:].splitlines()
        assert lines
        return [re.sub(r"^\d+ +|\(.*\)| = (?=\d)\d+", "", line) for line in lines]

    webfinger = "/.well-known/webfinger?resource=acct:%s@a.example"
    for target in ("/~%s", "/~%s/json", "/~%s/text", "/~%s/feed", webfinger):
        for name in ("hid", "not"):  # what is done at the first time only
            calls(target % name)
        assert sorted(calls(target % "hid")) == sorted(calls(target % "not"))  # their order takes no time
