"""Behind HAProxy, as Debian has it: both versions of the protocol, by TCP and by a unix socket."""

import contextlib
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingerd.protocol.reply import SERVICE_DENIED, TOO_MANY_QUERIES
from tests.helpers.daemons import TIMEOUT, Daemon, ask, hear, wait_until
from tests.helpers.haproxy import haproxy
from tests.helpers.ports import free_port
from tests.proxied.conftest import PROXIED, Behind, fields, outcome_of

SENDS = {
    "version 1": "send-proxy",
    "version 2": "send-proxy-v2",
    "version 2 with TLVs": "send-proxy-v2 proxy-v2-options unique-id,crc32c",
}
POLICY = """
policy:
  - {from: 127.0.0.66, deny: silently}
  - {from: 127.0.0.67, deny: true}
  - {from: 127.0.0.0/24, show: minimal}
limits: {rate: 20, per_client: 3}
"""

ZOE = b"In real life: Zoe Quill\r\n"
OPTIONS = ("unique-id-format %ci:%cp",)


@pytest.fixture
def port() -> int:
    """A free port of 127.0.0.1."""
    return free_port()


@pytest.fixture(params=["by TCP", "by a unix socket"])
def served(request: pytest.FixtureRequest, behind: Behind, tmp_path: Path) -> tuple[Daemon, str]:
    """A daemon, and its address as HAProxy names it."""
    if request.param == "by TCP":
        daemon = behind(POLICY, PROXIED)
        return daemon, f"127.0.0.1:{daemon.address[1]}"
    path = tmp_path / "finger"
    return behind(POLICY, f'listen: {{unix: {path}, mode: "600", proxies: [unix]}}\n'), f"unix@{path}"


@pytest.fixture(params=list(SENDS.values()), ids=list(SENDS))
def daemon(request: pytest.FixtureRequest, served: tuple[Daemon, str], tmp_path: Path, port: int) -> Iterator[Daemon]:
    """That daemon with HAProxy in front, at ``port``."""
    with haproxy(tmp_path / "haproxy", port, [f"{served[1]} {request.param}"], *OPTIONS):
        yield served[0]


def test_the_addresses_are_the_clients(daemon: Daemon, port: int) -> None:
    via = "unix" if "unix:" in daemon.listening else "127.0.0.1"
    address = "127.0.0.1", port
    for number in range(2, 8):
        assert ask(address, b"zoe\r\n", source=f"127.0.0.{number}") == ZOE
        assert outcome_of(daemon) == (f"127.0.0.{number}", "answered", via)
    assert ask(address, b"zoe\r\n", source="127.0.0.67") == f"{SERVICE_DENIED}\r\n".encode()
    assert outcome_of(daemon) == ("127.0.0.67", "denied", via)
    with contextlib.suppress(ConnectionResetError):
        assert ask(address, b"zoe\r\n", source="127.0.0.66") == b""
    assert outcome_of(daemon) == ("127.0.0.66", "denied", via)
    # A header that the client sends itself is a query.
    assert ask(address, b"PROXY TCP4 127.0.0.9 127.0.0.1 1 79\r\n", source="127.0.0.7") == b"No such user\r\n"
    assert outcome_of(daemon) == ("127.0.0.7", "unknown", via)
    # Its connections and queries are counted, and no other client's.
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(address, TIMEOUT, ("127.0.0.7", 0)))
            for _ in range(4)  # one more than per_client
        ]
        # HAProxy's threads pass them on in any order.
        wait_until(lambda: select.select(silent, (), (), 0)[0])
        (closed,) = select.select(silent, (), (), 0)[0]
        with contextlib.suppress(ConnectionResetError):
            assert closed.recv(1) == b""
        assert ask(address, b"zoe\r\n", source="127.0.0.8") == ZOE
        for client in silent:
            if client is not closed:
                client.sendall(b"zoe\r\n")
                assert hear(client) == ZOE
    limited = f"{TOO_MANY_QUERIES}\r\n".encode()
    wait_until(lambda: ask(address, b"zoe\r\n", source="127.0.0.8") == limited)
    assert ask(address, b"zoe\r\n", source="127.0.0.9") == ZOE


def test_health_checks_are_the_balancer_s_own(behind: Behind, tmp_path: Path, port: int) -> None:
    daemon = behind("policy: [{from: 127.0.0.9}]\n")
    server = f"127.0.0.1:{daemon.address[1]}"
    with haproxy(tmp_path / "haproxy", port, [f"{server} send-proxy-v2 check inter 100ms"]):
        for _ in range(3):
            assert outcome_of(daemon) == ("127.0.0.1", "hung-up", "127.0.0.1")
        assert b"Zoe" in ask(("127.0.0.1", port), b"zoe\r\n", source="127.0.0.9")
        wait_until(lambda: fields(daemon.logged("client="))["outcome"] == "answered")


def test_without_send_proxy_nothing_is_served(behind: Behind, tmp_path: Path, port: int) -> None:
    daemon = behind()
    with haproxy(tmp_path / "haproxy", port, [f"127.0.0.1:{daemon.address[1]}"]):
        for query in (b"zoe\r\n", b"PROXY TCP4\r\n"):
            with contextlib.suppress(ConnectionResetError):
                assert ask(("127.0.0.1", port), query) == b""
            assert outcome_of(daemon) == ("127.0.0.1", "proxy-error", "")
