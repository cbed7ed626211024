"""Backends that block all workers: clients are answered "busy", and everything else goes on.

tests/unit/server/test_dispatcher.py tests this within one process. Here it is
the real daemon, with web servers and programs that do not answer.
"""

import contextlib
import http.server
import json
import os
import select
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.daemon.test_attacks import ACCESS, BUSY, LISTEN, children, connect_from, processes_of
from tests.daemon.test_reload import reload
from tests.helpers.daemons import TIMEOUT, Daemon, descriptors, hear, status, wait_until

THREADS = 4  # of the worker pool; there are three others, which serve, log and reload
ALL_THREADS = [str(THREADS + 3)]
STATIC = LISTEN + "backend: {type: static, users: {alice: Here at once}}\n"
QUICK = b"Here at once\r\n"


class Stuck:
    """A daemon whose backend blocks in every query but ``quick``."""

    def __init__(self, daemon: Daemon, folder: Path, knows_quick: bool) -> None:
        self.daemon = daemon
        self.folder = folder  # by which its programs are found
        self.knows_quick = knows_quick
        self.pid = daemon.process.pid
        self.descriptors = descriptors(self.pid)

    def is_full(self) -> bool:
        """Whether the pool has all its threads: it starts more while all of them are blocked."""
        return status(self.pid, "Threads") == ALL_THREADS

    def accepted(self) -> int:
        """How many clients it has accepted: the kernel gives a connection an inode then."""
        port = self.daemon.address[1]
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(line[1].endswith(f":{port:04X}") and line[3] != "0A" and line[9] != "0" for line in lines)


class Pages(http.server.BaseHTTPRequestHandler):
    """Pages by user name: complete, none at all, or one byte after the other without end."""

    server: "Server"

    def do_GET(self) -> None:
        """Answer, or let the client wait."""
        name = self.path.rpartition("~")[2]
        if name == "quick":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nHere at once\n")
            return
        self.server.waiting.append(name)
        if name == "mute":
            self.server.over.wait()
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" if name == "headers" else b"HTTP/1.0 200 OK\r\n\r\n")
            while not self.server.over.wait(0.2):
                self.wfile.write(b"x")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A web server on loopback with these pages."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.waiting: list[str] = []
        self.over = threading.Event()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join(TIMEOUT)


@pytest.fixture
def crowded() -> Iterator[tuple[str, int]]:
    """An address that neither accepts nor refuses connections: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()


Make = Callable[[str, str], Stuck]
PROGRAM = """trap '' TERM INT HUP
[ "$1" = quick ] && echo Here at once && exit
sleep 600 & sleep 601
"""
STUBBORN = """
import time
from dataclasses import dataclass
from fingerd.backends import Backend

@dataclass(frozen=True)
class Stubborn(Backend):
    "Ignores the deadline."

    def find(self, ask):
        time.sleep(600)
"""
KINDS = {
    "a web server that never answers": "mute",
    "a web server that drips its page": "page",
    "a web server that drips its headers": "headers",
    "a web server that accepts no connection": "crowded",
    "a program that ignores SIGTERM": "command",
    "a backend that ignores the deadline": "stubborn",
}


@pytest.fixture
def make(start: Start, server: Server, crowded: tuple[str, int], tmp_path: Path) -> Make:
    """Starts a daemon with a backend of this kind and these limits."""

    def make(kind: str, limits: str) -> Stuck:
        host, port = crowded if kind == "crowded" else ("127.0.0.1", server.server_address[1])
        if kind == "command":
            argv = json.dumps(["sh", "-c", PROGRAM, "sh", "{user}"])
            backend = f"backend: {{type: command, argv: {argv}, timeout: 600}}\n"
        elif kind == "stubborn":
            install_stubborn(tmp_path)
            backend = "backend: {type: stubborn}\n"
        else:
            backend = f"backend: {{type: web, prefix: 'http://{host}:{port}/~', timeout: 600}}\n"
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        inside = ("env", f"PYTHONPATH={path}", f"TMPDIR={tmp_path}")
        daemon = start(LISTEN + f"limits: {{threads: {THREADS}, {limits}}}\n" + backend, inside=inside)
        # A backend that keeps to the deadline gives up at the same time as the daemon.
        return Stuck(daemon, tmp_path, kind not in ("crowded", "stubborn"))

    return make


def install_stubborn(folder: Path) -> None:
    """Put a package with a backend into the folder."""
    (folder / "stubborn.py").write_text(STUBBORN)
    info = folder / "fingerd_stubborn-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-stubborn\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fingerd.backends]\nstubborn = stubborn:Stubborn\n")


def ends(clients: Sequence[socket.socket], begun: float) -> dict[socket.socket, tuple[bytes, float]]:
    """What each client reads up to the end, and how many seconds after ``begun`` the end came."""
    heard = dict.fromkeys(clients, b"")
    found = {}
    while heard:
        ready = select.select(heard, [], [], TIMEOUT)[0]
        assert ready, f"{len(heard)} clients receive nothing"
        for client in ready:
            said = client.recv(65536)
            heard[client] += said
            if not said:
                found[client] = heard.pop(client), time.monotonic() - begun
    return found


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_clients_are_answered_busy_when_answer_seconds_are_over(make: Make, kind: str) -> None:
    stuck = make(kind, "answer_seconds: 1, read_seconds: 1.2, drain_seconds: 1")
    daemon = stuck.daemon
    with contextlib.ExitStack() as stack:
        asking = [connect_from(f"127.0.0.{2 + number % 6}", daemon, stack) for number in range(12)]
        begun = time.monotonic()
        silent = [connect_from("127.0.0.9", daemon, stack) for _ in range(4)]
        for client in asking:
            client.sendall(f"{kind}\r\n".encode())
        for client in silent[:2]:
            client.sendall(b"qui")
        wait_until(stuck.is_full)
        received = ends([*asking, *silent], begun)
        for client in asking:
            answer, seconds = received[client]
            assert answer == BUSY
            assert 1 <= seconds < 5
        for client in silent:
            answer, seconds = received[client]
            assert answer == b""
            assert 1.2 <= seconds < 6
    for _ in range(16):
        daemon.logged("client=")
    if kind == "stubborn":  # it blocks for good, and so do all later queries
        begun = time.monotonic()
        assert daemon.ask(b"later\r\n") == BUSY
        assert 1 <= time.monotonic() - begun < 5
        daemon.logged("outcome=busy")
    if stuck.knows_quick:
        assert daemon.ask(b"quick\r\n") == QUICK
        daemon.logged("outcome=answered")
    assert stuck.is_full()  # and not one more
    wait_until(lambda: descriptors(stuck.pid) == stuck.descriptors)
    wait_until(lambda: not children(stuck.pid))
    assert daemon.stop() == 0
    outcomes = Counter(found[3] for found in map(ACCESS.fullmatch, daemon.log) if found)
    assert outcomes.pop("timeout") == 4
    assert outcomes.pop("answered", 0) == stuck.knows_quick
    assert outcomes.total() == 12 + (kind == "stubborn")
    assert set(outcomes) == {"busy"}
    assert not [line for line in daemon.log if "Traceback" in line or "ERROR" in line]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_reload_to_another_backend_takes_effect_at_once(make: Make, kind: str) -> None:
    limits = "answer_seconds: 60, read_seconds: 30, drain_seconds: 0.5"
    stuck = make(kind, limits)
    with fill(stuck, kind) as clients:
        reload(stuck.daemon, STATIC + f"limits: {{threads: {THREADS}, {limits}}}\n")
        assert stuck.daemon.ask(b"alice\r\n") == QUICK
        assert not select.select(clients, [], [], 0)[0]  # earlier clients still wait
        stop(stuck, clients, 0.5)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_it_stops_within_drain_seconds_and_leaves_nothing(make: Make, kind: str) -> None:
    stuck = make(kind, "answer_seconds: 60, read_seconds: 30, drain_seconds: 0.6")
    with fill(stuck, kind) as clients:
        stop(stuck, clients, 0.6)


@contextlib.contextmanager
def fill(stuck: Stuck, query: str) -> Iterator[list[socket.socket]]:
    """All workers are blocked in queries, more queries wait, and one client is silent."""
    with contextlib.ExitStack() as stack:
        clients = [connect_from(f"127.0.0.{number}", stuck.daemon, stack) for number in range(2, 4 + THREADS)]
        for client in clients:
            client.sendall(f"{query}\r\n".encode())
        connect_from("127.0.0.9", stuck.daemon, stack)
        wait_until(stuck.is_full)
        wait_until(lambda: stuck.accepted() == len(clients) + 1)
        yield clients


def stop(stuck: Stuck, clients: list[socket.socket], seconds: float) -> None:
    """Stop it, which takes so many seconds: every client has an answer, and no program is left."""
    begun = time.monotonic()
    assert stuck.daemon.stop(signal.SIGTERM) == 0
    assert seconds <= time.monotonic() - begun < seconds + 4
    assert [hear(client) for client in clients] == [BUSY] * len(clients)
    wait_until(lambda: not processes_of(stuck.folder))
    outcomes = Counter(found[3] for found in map(ACCESS.fullmatch, stuck.daemon.log) if found)
    assert outcomes.pop("answered", 0) <= 1
    assert outcomes == {"busy": len(clients), "dropped": 1}
    assert not [line for line in stuck.daemon.log if "Traceback" in line or "ERROR" in line]


def test_one_address_cannot_occupy_all_workers(start: Start, server: Server) -> None:
    prefix = f"http://127.0.0.1:{server.server_address[1]}/~"
    limits = "limits: {threads: 8, answer_seconds: 60, drain_seconds: 0}\n"
    daemon = start(LISTEN + limits + f"backend: {{type: web, prefix: '{prefix}', timeout: 60}}\n")
    with contextlib.ExitStack() as stack:
        greedy = [connect_from("127.0.0.2", daemon, stack) for _ in range(30)]
        for client in greedy:
            client.sendall(b"mute\r\n")
        wait_until(lambda: len(server.waiting) == 2)
        for number in range(3, 13):
            other = connect_from(f"127.0.0.{number}", daemon, stack)
            other.sendall(b"quick\r\n")
            assert hear(other) == QUICK
        second = connect_from("127.0.0.13", daemon, stack)
        second.sendall(b"mute\r\n")
        wait_until(lambda: len(server.waiting) == 3)
        assert not select.select([*greedy, second], [], [], 0)[0]
        assert daemon.stop() == 0
        assert {hear(client) for client in [*greedy, second]} == {BUSY}
    assert len(server.waiting) == 3
