"""Limits at their edges, by every kind of client, and each with every other one at its lowest value."""

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fingerd import FingerServer
from fingerd.backends import Backend, Lookup
from fingerd.people import Person
from fingerd.protocol.reply import QUERY_TOO_LONG, TOO_MANY_QUERIES
from fingerd.ruip.policy import Rule
from fingerd.server.listeners import TcpAddress, UnixAddress
from tests.helpers.daemons import TIMEOUT, hear, running, wait_until
from tests.unit.server.support import BUSY, Config

LONG = 100_000  # bytes of the answer to `long`


class People(Backend):
    """``long`` has a long text, ``slow`` takes a moment, everybody else is there at once."""

    repeatable_seconds = 0.0

    def __init__(self, blocking: bool) -> None:
        self._blocking = blocking

    @property
    def blocking(self) -> bool:
        """Whether workers have to ask."""
        return self._blocking

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The text of a person."""
        if lookup.username == "slow":
            time.sleep(0.05)
        return (Person(lookup.username, ("x" * 78 + "\n") * (LONG // 80) if lookup.username == "long" else "here\n"),)


Connect = Callable[[], socket.socket]


class Clients:
    """Clients of one kind: of an IPv4 address, an IPv6 address, or a unix socket."""

    def __init__(self, kind: str, path: Path, stack: contextlib.ExitStack) -> None:
        self.kind = kind
        self.address: Any = str(path) if kind == "unix" else ("::1" if kind == "ipv6" else "127.0.0.1", 0)
        self.listen = UnixAddress(str(path)) if kind == "unix" else TcpAddress(self.address[0], 0)
        self._stack = stack

    def connect(self) -> socket.socket:
        """One more connection of the same client."""
        family = {"unix": socket.AF_UNIX, "ipv6": socket.AF_INET6, "ipv4": socket.AF_INET}[self.kind]
        client = self._stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        client.settimeout(TIMEOUT)
        client.connect(self.address)
        return client

    def ask(self, query: bytes) -> bytes:
        """The answer; empty where the connection is reset."""
        with contextlib.suppress(ConnectionError), self.connect() as client:
            client.sendall(query)
            return hear(client)
        return b""


@pytest.fixture(params=["ipv4", "ipv6", "unix"])
def clients(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clients]:
    """Clients of each kind."""
    with contextlib.ExitStack() as stack:
        yield Clients(request.param, tmp_path / "socket", stack)


@contextlib.contextmanager
def served(clients: Clients, blocking: bool = False, **limits: Any) -> Iterator[FingerServer]:
    """A server with these limits, at the address of these clients."""
    config = Config(People(blocking), **limits)
    config.listen = (clients.listen,)
    with running(FingerServer(config)) as server:
        if clients.kind != "unix":
            clients.address = server.socket.getsockname()[:2]
        yield server


def test_a_query_of_query_bytes_is_read_and_one_byte_more_is_too_long(clients: Clients) -> None:
    too_long = f"{QUERY_TOO_LONG}\r\n".encode()
    with served(clients, query_bytes=10):
        for end in (b"\r\n", b"\n"):
            assert clients.ask(b"x" * 10 + end) == b"here\r\n"
            assert clients.ask(b"x" * 11 + end) == too_long
        assert clients.ask(b"x" * 12) == too_long  # without an end, as soon as there is no room for one
        assert clients.ask(b"x" * 5000 + b"\r\n") == too_long


@pytest.mark.parametrize("limit", [64, LONG // 80 * 80 - 1, LONG // 80 * 80])
def test_an_answer_of_reply_bytes_is_whole_and_a_longer_one_is_cut_to_them(clients: Clients, limit: int) -> None:
    with served(clients, reply_bytes=limit):
        answer = clients.ask(b"long\r\n")
    assert len(answer) <= limit
    assert answer.endswith(b"[answer cut]\r\n") == (limit < LONG // 80 * 80)


def test_the_last_connection_of_per_client_is_served_and_one_more_is_closed(clients: Clients) -> None:
    with served(clients, per_client=3) as server:
        held = [clients.connect() for _ in range(3)]
        wait_until(lambda: server.connected == 3)
        assert clients.ask(b"alice\r\n") == b""
        for client in held:
            client.sendall(b"alice\r\n")
            assert hear(client) == b"here\r\n"
            client.close()
        wait_until(lambda: server.connected == 0)
        assert clients.ask(b"alice\r\n") == b"here\r\n"


def test_beyond_connections_the_longest_silent_is_closed_and_no_other(clients: Clients) -> None:
    with served(clients, connections=3, per_client=100) as server:
        first, second, third = (clients.connect() for _ in range(3))
        wait_until(lambda: server.connected == 3)
        first.sendall(b"ali")  # so that the second is the longest silent one
        wait_until(lambda: next(iter(server._delivery.queues.by_last_read)).received == b"")
        assert clients.ask(b"alice\r\n") == b"here\r\n"
        with contextlib.suppress(ConnectionResetError):
            assert second.recv(1) == b""
        first.sendall(b"ce\r\n")
        third.sendall(b"alice\r\n")
        assert [hear(first), hear(third)] == [b"here\r\n"] * 2


def test_the_last_query_of_rate_is_answered_and_one_more_is_not(clients: Clients) -> None:
    with served(clients, rate=3):
        answers = [clients.ask(b"alice\r\n") for _ in range(5)]
    assert answers == [b"here\r\n"] * 3 + [f"{TOO_MANY_QUERIES}\r\n".encode()] * 2


def test_a_client_has_a_quarter_of_the_threads(clients: Clients) -> None:
    with served(clients, blocking=True, threads=8) as server:
        busy = [clients.connect() for _ in range(6)]
        for client in busy:
            client.sendall(b"slow\r\n")
        wait_until(lambda: server._dispatcher.waiting._in_progress)
        assert max(server._dispatcher.waiting._in_progress.values()) <= 2
        assert [hear(client) for client in busy] == [b"here\r\n"] * 6


LOWEST: dict[str, Any] = {
    "query_bytes": 1,
    "reply_bytes": 64,
    "read_seconds": 0.1,
    "write_seconds": 0.1,
    "answer_seconds": 0.1,
    "connections": 1,
    "per_client": 1,
    "rate": 1,
    "unsent_bytes": 4096,
    "threads": 1,
    "drain_seconds": 0,
}
# What the good client may read: the limits may refuse it, but not with anything else.
ANSWERS = {b"here\r\n", b"", BUSY, f"{TOO_MANY_QUERIES}\r\n".encode()}


def attack(server: FingerServer, seconds: float) -> None:
    """A mix of hostile clients, of several addresses."""
    address = server.socket.getsockname()
    end = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        for number in itertools.count():
            if time.monotonic() > end:
                return
            client = stack.enter_context(socket.socket())
            client.settimeout(TIMEOUT)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.bind((f"127.0.1.{number % 5 + 1}", 0))
            with contextlib.suppress(OSError):
                client.connect(address)
                client.sendall(
                    (b"", b"long\r\n", b"y" * 3000, b"slow\r\n", b"z\r\n", b"ab", b"@\r\n", b"\xff\xf6\0")[number % 8]
                )
                if number % 3 == 0:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
            time.sleep(0.002)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(LOWEST, 2)))
def test_two_limits_at_their_lowest_leave_a_server_that_serves(
    first: str, second: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"read_seconds": 1, "write_seconds": 1, "drain_seconds": 1, first: LOWEST[first], second: LOWEST[second]}
    config = Config(People(True), **limits)
    config.policy = (Rule(from_=("any",), list=True),)
    server = FingerServer(config)
    with running(server):
        attackers = [threading.Thread(target=attack, args=(server, 0.3)) for _ in range(2)]
        for attacker in attackers:
            attacker.start()
        for attacker in attackers:
            attacker.join()
        answers: set[bytes] = set()
        deadline = time.monotonic() + TIMEOUT
        while b"here\r\n" not in answers:  # within a while: places become free, a bucket holds one query
            assert time.monotonic() < deadline, (answers, server.connected)
            client = socket.socket()
            client.settimeout(TIMEOUT)
            client.bind((f"127.0.2.{len(answers) + 1}", 0))
            with client, contextlib.suppress(ConnectionError):
                client.connect(server.socket.getsockname())
                client.sendall(b"a\r\n")
                answers.add(hear(client))
        assert answers <= ANSWERS
        wait_until(lambda: server.connected == 0)
    delivery, dispatcher = server._delivery, server._dispatcher
    assert not delivery.queues
    assert not delivery.watched
    assert delivery.answering == delivery._unsent.total == 0
    assert not dispatcher._in_flight
    wait_until(lambda: not dispatcher.waiting._in_progress)
    assert not server.active.flights
    assert "Traceback" not in caplog.text
