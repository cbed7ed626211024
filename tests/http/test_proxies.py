"""fingerd behind a reverse proxy: the client that the proxy names counts for policy, limits and log."""

import contextlib
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, Daemon, ask, hear, wait_until
from tests.helpers.http import HttpDaemon, Response, get, head, parse, send
from tests.helpers.nginx import nginx
from tests.helpers.ports import free_port
from tests.http.conftest import StartHttp

STATIC = "backend: {type: static, users: {zoe: {name: Zoe Quill, plan: Reading}}}\n"
POLICY = """
policy:
  - {from: 192.0.2.66, deny: silently}
  - {from: 192.0.2.67, deny: true}
  - {from: 192.0.2.68, http: false}
  - {from: [192.0.2.0/24, "2001:db8::/32"], show: minimal}
  - {from: local, list: true}
"""
PROXY = "proxies: [127.0.0.1, 10.0.0.0/8]"
OTHERS = "127.0.0.9"  # none of PROXY


def ask_as(daemon: HttpDaemon, client: str, target: str = "/~zoe/json", **headers: str) -> Response:
    """The response to a request that the proxy passes on for this client."""
    return daemon.get(target, X_Forwarded_For=client, **headers)


def reload(daemon: Daemon, old: str, new: str) -> None:
    """Replace a part of the configuration, and have it take effect."""
    text = daemon.config.read_text()
    assert old in text
    daemon.config.write_text(text.replace(old, new))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")


def test_the_client_that_a_proxy_names_counts_for_policy_and_log(start_http: StartHttp) -> None:
    daemon = start_http(STATIC + POLICY, PROXY)
    for field, client, status in (
        ("192.0.2.7", "192.0.2.7", 200),
        ("203.0.113.1, 192.0.2.7, 10.0.0.1", "192.0.2.7", 200),
        ("::ffff:192.0.2.7", "192.0.2.7", 200),
        ("[2001:db8::7]:4711", "2001:db8::7", 200),
        ("192.0.2.67", "192.0.2.67", 403),
        ("192.0.2.68", "192.0.2.68", 403),
        ("203.0.113.1", "203.0.113.1", 403),  # no rule
        ("127.0.0.2", "127.0.0.2", 200),
    ):
        response = ask_as(daemon, field)
        assert response.status == status
        if status == 200:
            expected = ["login", "name", "plan"] if client == "127.0.0.2" else ["name"]
            assert sorted(set(response.json["people"][0]) - {"plan_changed"}) == expected
        outcome = "answered" if status == 200 else "denied"
        line = daemon.logged("proto=http")
        assert f"client={client} " in line
        assert f"outcome={outcome} " in line
    assert ask_as(daemon, "192.0.2.7", "/list/json").status == 403
    assert ask_as(daemon, "127.0.0.2", "/list/json").status == 200


def test_a_client_that_is_denied_silently_gets_no_response_behind_a_proxy_either(start_http: StartHttp) -> None:
    daemon = start_http(STATIC + POLICY, PROXY)
    for target in ("/~zoe", "/", "/x", "/style.css", "/~%zz"):
        with contextlib.suppress(ConnectionResetError):
            assert send(daemon.http, head(target, X_Forwarded_For="192.0.2.66")) == b""
        assert "client=192.0.2.66 " in daemon.logged("outcome=denied")
    for target in ("/~zoe", "/~%zz"):
        assert ask_as(daemon, "192.0.2.67", target).status == 403
    assert ask_as(daemon, "192.0.2.7", "/~%zz").status == 400


def test_a_proxy_that_names_nobody_gets_400(start_http: StartHttp) -> None:
    daemon = start_http(STATIC + POLICY, PROXY)
    for field in ("", "unknown", "unix:", "192.0.2.7, ", "127.0.0.1, 10.0.0.1", "192.0.2.7\x01", None):
        response = daemon.get("/~zoe/json") if field is None else ask_as(daemon, field)
        assert (response.status, response.json) == (400, {"error": "X-Forwarded-For names no client"})
        assert "client=127.0.0.1 " in daemon.logged("outcome=proxy-error")


def test_what_a_client_sends_through_a_proxy_does_not_count_against_the_proxy(start_http: StartHttp) -> None:
    """fail2ban bans for these outcomes, and the client is not known: its request cannot be read."""
    daemon = start_http(STATIC + POLICY, PROXY)
    long = head("/", X_Forwarded_For="192.0.2.7", X="x" * 9000)
    for request, status in ((b"\x16\x03\x01", 400), (long, 431), (b"GET /" + b"x" * 9000, 414), (b"GET / X\n\n", 400)):
        assert parse(send(daemon.http, request)).status == status
        assert "client=127.0.0.1 " in daemon.logged("outcome=proxy-error")


def test_a_spoofed_field_changes_nothing_and_is_one_warning(start_http: StartHttp) -> None:
    daemon = start_http(STATIC + POLICY, PROXY)
    for field in ("192.0.2.66", "nonsense", "127.0.0.1"):
        assert daemon.get("/~zoe/json", source=OTHERS, X_Forwarded_For=field).json["people"][0]["login"] == "zoe"
    assert daemon.stop() == 0
    assert sum("X-Forwarded-For" in line for line in daemon.log) == 1
    assert sum(f"client={OTHERS} " in line for line in daemon.log) == 3


def test_without_proxies_nobody_names_a_client(start_http: StartHttp) -> None:
    daemon = start_http(STATIC + POLICY)
    assert ask_as(daemon, "192.0.2.67").status == 200
    daemon.logged("X-Forwarded-For from a client that http.proxies does not name is ignored")


def test_per_client_counts_whom_a_proxy_names_together_with_finger(start_http: StartHttp, tmp_path: Path) -> None:
    begun, over = tmp_path / "begun", tmp_path / "over"
    program = f'echo "$1" >> {begun}; until [ "$1" = quick ] || [ -e {over} ]; do sleep 0.05; done; echo fine'
    backend = {"type": "command", "argv": ["sh", "-c", program, "sh", "{user}"]}
    daemon = start_http(f"backend: {json.dumps(backend)}\nlimits: {{per_client: 2}}\n", PROXY)
    silent = [socket.create_connection(daemon.http, TIMEOUT) for _ in range(5)]  # not counted until they ask
    try:
        for client in silent[:2]:
            client.sendall(head("/~slow/text", X_Forwarded_For=OTHERS))
        wait_until(lambda: begun.exists() and begun.read_text() == "slow\nslow\n")
        assert ask_as(daemon, OTHERS, "/~quick/text").status == 429
        assert ask_as(daemon, "127.0.0.8", "/~quick/text").status == 200
        over.touch()
        for client in silent[:2]:
            assert parse(hear(client)).status == 200
    finally:
        for client in silent:
            client.close()
    wait_until(lambda: ask_as(daemon, OTHERS, "/~quick/text").status == 200)
    # The other way round: connections by Finger leave no place for requests.
    held = [socket.create_connection(daemon.address, TIMEOUT, (OTHERS, 0)) for _ in range(2)]
    try:
        limited = ask_as(daemon, OTHERS)
        assert (limited.status, limited.json) == (429, {"error": "Too many connections, try again later"})
        assert int(limited.headers["retry-after"]) > 0
        assert "outcome=limited" in daemon.logged(f"client={OTHERS} ")
    finally:
        for client in held:
            client.close()
    wait_until(lambda: ask_as(daemon, OTHERS).status == 200)


def test_the_rate_is_that_of_whom_a_proxy_names(start_http: StartHttp) -> None:
    daemon = start_http(f"{STATIC}limits: {{rate: 2}}\n", PROXY)
    assert [ask_as(daemon, "192.0.2.7").status for _ in range(3)] == [200, 200, 429]
    assert ask_as(daemon, "192.0.2.8").status == 200
    # One bucket for an IPv6 /64.
    assert [ask_as(daemon, f"2001:db8::{number}").status for number in range(3)] == [200, 200, 429]
    assert "client=2001:db8::2 " in daemon.logged("client=2001:db8::2")


def test_an_address_that_becomes_a_proxy_names_the_client_of_a_request_that_was_begun(start_http: StartHttp) -> None:
    daemon = start_http(f"{STATIC}{POLICY}limits: {{per_client: 1}}\n", "proxies: []")
    with socket.create_connection(daemon.http, TIMEOUT) as client:
        client.sendall(b"GET /~zoe/json HTTP/1.1\r\nHost: a\r\n")
        wait_until(lambda: _is_full(daemon))
        reload(daemon, "proxies: []", PROXY)
        client.sendall(b"X-Forwarded-For: 192.0.2.7\r\n\r\n")
        assert parse(hear(client)).json == {"people": [{"name": "Zoe Quill"}]}
        # It does not count as one of the proxy's own any more.
        assert b"Zoe" in daemon.ask(b"zoe\r\n")
    assert "status=200" in daemon.logged("client=192.0.2.7 ")
    wait_until(lambda: ask_as(daemon, "192.0.2.7").status == 200)


def _is_full(daemon: HttpDaemon) -> bool:
    """Whether the one connection that 127.0.0.1 may have is counted."""
    try:
        return ask(daemon.address, b"zoe\r\n") == b""
    except ConnectionResetError:
        return True


def test_an_address_that_is_no_proxy_any_more_is_a_client(start_http: StartHttp) -> None:
    daemon = start_http(f"{STATIC}{POLICY}limits: {{per_client: 2}}\n", PROXY)
    clients = [socket.create_connection(daemon.http, TIMEOUT) for _ in range(3)]
    try:
        for client in clients:
            client.sendall(b"GET /~zoe/json HTTP/1.1\r\nHost: a\r\n")
        reload(daemon, PROXY, "proxies: [10.0.0.1]")
        held = socket.create_connection(daemon.address, TIMEOUT)
        clients[0].sendall(b"X-Forwarded-For: 192.0.2.66\r\n\r\n")
        assert parse(hear(clients[0])).json["people"][0]["login"] == "zoe"  # as a local one
        assert "outcome=answered" in daemon.logged("client=127.0.0.1 ")
        also_held = socket.create_connection(daemon.address, TIMEOUT)
        clients[1].sendall(b"\r\n")
        assert parse(hear(clients[1])).status == 429
        held.close()
        also_held.close()
        daemon.logged("outcome=hung-up")
        daemon.logged("outcome=hung-up")
        clients[2].sendall(b"\r\n")
        assert parse(hear(clients[2])).status == 200
    finally:
        for client in clients:
            client.close()


@pytest.fixture
def port() -> int:
    """A free port of 127.0.0.1."""
    return free_port()


@pytest.fixture(params=["TCP", "a unix socket"])
def behind_nginx(request: pytest.FixtureRequest, start: Start, tmp_path: Path, port: int) -> Iterator[Daemon]:
    """A daemon with nginx in front at ``port``."""
    is_unix = request.param == "a unix socket"
    path = tmp_path / "http"
    listen = f"unix:{path}" if is_unix else "127.0.0.1:0"
    proxies = "unix" if is_unix else "127.0.0.1"
    policy = "policy: [{from: 127.0.0.5, list: true}, {from: 127.0.0.6, deny: silently}, {from: any, show: minimal}]\n"
    http = f'http: {{listen: "{listen}", proxies: ["{proxies}"]}}\n'
    daemon = start(f'listen: "127.0.0.1:0"\n{http}{STATIC}{policy}limits: {{rate: 20}}\n')
    address = f"unix:{path}" if is_unix else "127.0.0.1:" + re.findall(r":(\d+)\b", daemon.listening)[-1]
    with nginx(tmp_path / "nginx", port, f"http://{address}"):
        yield daemon
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line]


def test_nginx_in_front(behind_nginx: Daemon, port: int, tmp_path: Path) -> None:
    server = "127.0.0.1", port
    assert get(server, "/list/json", source="127.0.0.5").status == 200
    assert "client=127.0.0.5 " in behind_nginx.logged("proto=http status=200")
    assert get(server, "/~zoe/json", source="127.0.0.7").json == {"people": [{"name": "Zoe Quill"}]}
    assert "client=127.0.0.7 " in behind_nginx.logged("proto=http status=200")
    # What the client itself writes into the field stands to the left, and is not looked at.
    for spoofed in ("127.0.0.5", "127.0.0.1", "127.0.0.6", "nonsense", ""):
        response = get(server, "/list/json", source="127.0.0.7", X_Forwarded_For=spoofed)
        assert response.status == 403
        assert "client=127.0.0.7 " in behind_nginx.logged("proto=http status=403")
    assert get(server, "/~zoe/json", source="127.0.0.6").status == 502  # closed without a response
    assert "client=127.0.0.6 " in behind_nginx.logged("outcome=denied")
    # A client of nginx's unix socket has no address: nginx writes "unix:".
    assert get(str(tmp_path / "nginx" / "nginx.socket"), "/~zoe/json").status == 400
    behind_nginx.logged("outcome=proxy-error")
    # The host of the proxy itself, where that is the address of the proxy.
    expected = 200 if "unix:" in behind_nginx.listening else 400
    assert get(server, "/~zoe/json").status == expected
    # What nginx passes on of odd requests.
    for request in (b"/~zoe%2Fjson", b"/~a%2F..%2Fb", b"/~..", b"/%2e%2e/x", b"/~zoe%00", b"/~%zz", b"//~zoe"):
        response = parse(send(server, b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % request))
        assert response.status in (400, 404)
    statuses = [get(server, "/~zoe/json", source="127.0.0.8").status for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert get(server, "/~zoe/json", source="127.0.0.7").status == 200
