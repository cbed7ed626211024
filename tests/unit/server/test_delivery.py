"""Delivery: what clients cost that do not take their answers, or do not close their side."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fingerd import FingerServer
from fingerd.backends import Backend, Lookup
from fingerd.log.format import Access
from fingerd.people import Person
from fingerd.protocol.reply import TOO_MANY_QUERIES
from fingerd.server.connection import State
from fingerd.server.listeners import UnixAddress
from fingerd.server.unsent import TRACKED_BYTES
from tests.helpers.daemons import TIMEOUT, ask, hear, let_everybody_in, running, wait_until
from tests.helpers.requirements import need
from tests.unit.server.support import Config, connect_from


class Texts(Backend):
    """Everybody has a text of as many bytes as the name says."""

    blocking = False

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The text, in lines."""
        size = int(lookup.username)
        return (Person(lookup.username, ("x" * 77 + "\n") * (size // 79) + "y" * (size % 79 - 2)),)


class Observed(FingerServer):
    """Keeps what it would log."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.entries: list[Access] = []
        self.access_log = self.entries.append

    @property
    def unsent(self) -> int:
        """Bytes that clients have not taken."""
        return self._delivery._unsent.total

    def in_state(self, state: State) -> int:
        """How many connections are in this state."""
        return len(self._delivery.queues.of[state])


def unread(server: FingerServer, clients: contextlib.ExitStack, size: int, source: str = "127.0.0.2") -> socket.socket:
    """A client that has asked for so many bytes, and reads none; its kernel takes a few thousand of them."""
    client = clients.enter_context(socket.socket())
    client.settimeout(TIMEOUT)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.bind((source, 0))
    client.connect(server.socket.getsockname())
    client.sendall(f"{size}\r\n".encode())
    return client


def sockets_of(port: int) -> list[str]:
    """The states of the kernel's sockets at this local port that are of clients, TIME-WAIT not counted."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return [
        state for _, local, _, state, *_ in fields if int(local.split(":")[1], 16) == port and state not in ("0A", "06")
    ]


SIZES = [30_000, 250_000]  # which the kernel takes at once, and may not


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("close", ["stays", "shuts down", "closes"])
def test_an_answer_that_is_not_taken_is_forgotten_after_write_seconds(size: int, close: str) -> None:
    config = Config(Texts(), write_seconds=0.5)
    with running(Observed(config)) as server, contextlib.ExitStack() as clients:
        assert isinstance(server, Observed)
        port = server.server_address[1]
        client = unread(server, clients, size)
        wait_until(lambda: server.unsent > size / 2)
        if close == "shuts down":
            client.shutdown(socket.SHUT_WR)
        elif close == "closes":
            client.close()  # with bytes unread: a reset
        wait_until(lambda: server.connected == 0)
        assert server.unsent == 0
        wait_until(lambda: not sockets_of(port), 5)
        (entry,) = server.entries
        if close != "closes":
            assert entry.outcome == "timeout"
            assert entry.sent < size


def test_who_reads_slowly_but_in_time_gets_the_whole_answer() -> None:
    with running(Observed(Config(Texts()))) as server, contextlib.ExitStack() as clients:
        assert isinstance(server, Observed)
        client = unread(server, clients, 60_000)
        wait_until(lambda: server.in_state(State.FLUSHING) or server.in_state(State.WRITING))
        heard = 0
        while data := client.recv(4000):
            heard += len(data)
            time.sleep(0.01)
        assert heard == 60_000
        client.close()
        wait_until(lambda: server.connected == 0)
        assert [(entry.outcome, entry.sent) for entry in server.entries] == [("answered", 60_000)]


@pytest.mark.parametrize("size", [TRACKED_BYTES - 1, TRACKED_BYTES, 60_000])
def test_a_client_counts_until_it_has_its_answer_and_has_closed_its_side(size: int) -> None:
    with running(Observed(Config(Texts(), per_client=1))) as server, contextlib.ExitStack() as clients:
        first = unread(server, clients, size)
        wait_until(lambda: server.connected == 1)
        time.sleep(0.05)  # it has had its answer for a while, as far as the kernel is concerned
        second = connect_from("127.0.0.2", server, clients)
        with contextlib.suppress(ConnectionResetError):
            assert second.recv(1) == b""
        assert connect_from("127.0.0.3", server, clients).send(b"10\r\n")
        assert len(hear(first)) == size
        first.close()
        deadline = time.monotonic() + TIMEOUT
        while not ask_as("127.0.0.2", server):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def ask_as(source: str, server: FingerServer, query: bytes = b"10\r\n") -> bytes:
    """The answer to a client with this address; empty where it is reset."""
    with contextlib.suppress(ConnectionError):
        return ask(server.socket.getsockname(), query, source=source)
    return b""


def test_a_client_that_asks_again_as_soon_as_it_has_its_answer_is_not_refused() -> None:
    with running(FingerServer(Config(Texts(), per_client=1))) as server:
        for _ in range(200):
            assert len(ask(server.socket.getsockname(), b"5000\r\n")) == 5000


def test_beyond_unsent_bytes_the_client_is_closed_that_took_something_longest_ago() -> None:
    config = Config(Texts(), unsent_bytes=200_000, write_seconds=30)
    with running(Observed(config)) as server, contextlib.ExitStack() as clients:
        assert isinstance(server, Observed)
        slow = unread(server, clients, 90_000)
        wait_until(lambda: server.unsent > 50_000)
        slower = unread(server, clients, 90_000, "127.0.0.3")
        wait_until(lambda: server.unsent > 120_000)
        begin = server.unsent
        got = 0
        while server.unsent > begin - 20_000:  # the first one takes something, so the second is the slowest
            got += len(slow.recv(4000))
        wait_until(lambda: server.unsent <= begin - 20_000)
        third = unread(server, clients, 120_000, "127.0.0.4")
        wait_until(lambda: [entry.client for entry in server.entries] == ["127.0.0.3"])
        assert server.entries[0].outcome == "timeout"
        assert server.unsent <= 200_000
        assert len(hear(slow)) + got == 90_000
        assert len(hear(third)) == 120_000
        with pytest.raises(ConnectionResetError):
            hear(slower)


def test_many_that_never_read_leave_room_for_one_that_does() -> None:
    config = Config(Texts(), unsent_bytes=1 << 20, per_client=1000, write_seconds=30)
    with running(Observed(config)) as server, contextlib.ExitStack() as clients:
        assert isinstance(server, Observed)
        for _ in range(60):
            unread(server, clients, 200_000)
            assert server.unsent <= (1 << 20) + 200_000
        assert len(ask(server.socket.getsockname(), b"200000\r\n")) == 200_000
        assert server.unsent <= 1 << 20
        assert {entry.outcome for entry in server.entries} <= {"timeout", "answered"}


def at_unix_socket(path: Path, **limits: Any) -> Observed:
    """A server that everybody on this machine may ask."""
    config = Config(Texts(), **limits)
    config.listen = (UnixAddress(str(path)),)
    return Observed(config)


def test_an_answer_that_is_not_taken_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(at_unix_socket(path, write_seconds=0.5)) as server, socket.socket(socket.AF_UNIX) as client:
        assert isinstance(server, Observed)
        client.connect(str(path))
        client.sendall(b"100000\r\n")
        wait_until(lambda: server.unsent > 50_000)
        wait_until(lambda: server.connected == 0)
        assert server.unsent == 0
        assert [entry.outcome for entry in server.entries] == ["timeout"]
        assert len(ask(str(path), b"100000\r\n")) == 100_000


def test_lingering_clients_are_closed_before_those_that_are_asking() -> None:
    config = Config(Texts(), connections=4)
    with running(Observed(config)) as server, contextlib.ExitStack() as clients:
        assert isinstance(server, Observed)
        asking = connect_from("127.0.0.9", server, clients)
        asking.sendall(b"1")
        wait_until(lambda: server.in_state(State.READING) == 1)
        for number in range(20):  # they have their answer, and stay
            client = connect_from(f"127.0.0.{number + 10}", server, clients)
            client.sendall(b"100\r\n")
            assert len(hear(client)) == 100
        assert server.connected <= 4
        asking.sendall(b"00\r\n")
        assert len(hear(asking)) == 100
        assert all(entry.outcome == "answered" for entry in server.entries)


def test_nobody_is_closed_who_is_being_answered() -> None:
    config = Config(Texts(), connections=2)
    with running(Observed(config)) as server, contextlib.ExitStack() as clients:
        assert isinstance(server, Observed)
        readers = [unread(server, clients, 60_000, f"127.0.0.{number}") for number in (2, 3)]
        wait_until(lambda: server.unsent > 60_000)
        late = connect_from("127.0.0.4", server, clients)
        late.sendall(b"100\r\n")
        late.settimeout(0.5)
        with pytest.raises(TimeoutError):
            late.recv(1)
        assert [len(hear(reader)) for reader in readers] == [60_000, 60_000]
        late.settimeout(TIMEOUT)
        assert len(hear(late)) == 100


def test_a_client_that_had_asked_is_answered_after_a_stall() -> None:
    """The process is stopped for longer than read_seconds, as by SIGSTOP or a suspended machine."""
    config = Config(Texts(), read_seconds=0.5)
    with running(Observed(config)) as server, contextlib.ExitStack() as clients:
        begun = [connect_from(f"127.0.0.{number}", server, clients) for number in range(2, 22)]
        for client in begun[:10]:
            client.sendall(b"10")
        wait_until(lambda: server.connected == 20)
        server.loop.call_soon_threadsafe(time.sleep, 1.0)
        time.sleep(0.1)
        for client in begun[:10]:
            client.sendall(b"0\r\n")
        for client in begun[10:]:
            client.sendall(b"100\r\n")
        assert [len(hear(client)) for client in begun] == [100] * 20


ASK_AS = """
import os, socket, sys
os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(b"100\\r\\n")
print(len(client.makefile("rb").read()))
"""


def test_clients_of_a_unix_socket_are_counted_by_their_user() -> None:
    need("root")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as clients:
        let_everybody_in(Path(folder))
        path = Path(folder, "socket")
        server = clients.enter_context(running(at_unix_socket(path, per_client=3, rate=4)))

        def ask_as_user(uid: int) -> str:
            command = [sys.executable, "-c", ASK_AS, str(path), str(uid)]
            return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout.strip()

        held = [clients.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]  # root has all its places
        for client in held:
            client.settimeout(TIMEOUT)
            client.connect(str(path))
        wait_until(lambda: server.connected == 3)
        assert ask_as_user(0) == ""
        assert [ask_as_user(65534) for _ in range(4)] == ["100"] * 4
        assert ask_as_user(65534) == str(len(f"{TOO_MANY_QUERIES}\r\n"))
        assert ask_as_user(65533) == "100"
        for client in held:
            client.sendall(b"100\r\n")
            assert len(hear(client)) == 100
