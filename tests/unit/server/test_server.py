"""The server as a library: socketserver's hooks, its listeners, the crew, and how it ends."""

import contextlib
import errno
import logging
import os
import socket
import socketserver
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fingerd import FingerServer, load_config
from fingerd.backends import Backend, Lookup
from fingerd.errors import BackendError, StartError
from fingerd.people import Person
from fingerd.protocol.reply import SERVICE_BUSY
from fingerd.ruip.policy import DEFAULT_RULE
from fingerd.ruip.ruip import Answer, ReplyOptions
from fingerd.server.connection import Connection
from fingerd.server.handler import FingerHandler
from fingerd.server.limits import Limits
from fingerd.server.listeners import TcpAddress, UnixAddress, close_listener, describe_listener, open_listeners
from fingerd.server.workers import WorkerPool
from tests.helpers.daemons import TIMEOUT, ask, hear, running, serving, wait_until

STATIC = "backend: {type: static, users: {alice: Happy and well}}\n"
BUSY = f"{SERVICE_BUSY}\r\n".encode()


class Gate(Backend):
    """Answers when it is opened; counts who waits."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = 0

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Wait, but for those who are quick."""
        if lookup.username != "quick":
            self.waiting += 1
            self.open.wait(TIMEOUT)
        return (Person(lookup.username, "at last"),)


class Config:
    """Settings made by hand."""

    def __init__(self, backend: Backend, **limits: Any) -> None:
        self.listen = (TcpAddress("127.0.0.1", 0),)
        self.backend = backend
        self.policy = (DEFAULT_RULE,)
        self.limits = Limits(**limits)
        self.reply = ReplyOptions()


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f'listen: "127.0.0.1:0"\n{STATIC}')
    return load_config(str(path))


def test_it_serves_as_the_standard_library_s_server_does(settings: Any) -> None:
    server = FingerServer(settings)
    assert isinstance(server, socketserver.ThreadingTCPServer)
    host, port = server.server_address[:2]
    assert host == "127.0.0.1"
    with running(server):
        assert ask(("127.0.0.1", port), b"alice\r\n") == b"Happy and well\r\n"
    with pytest.raises(ConnectionRefusedError):
        ask(("127.0.0.1", port), b"alice\r\n")


def test_it_may_be_shut_down_and_serve_again(settings: Any) -> None:
    with FingerServer(settings) as server:
        for _ in range(2):
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            assert ask(server.socket.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
            server.shutdown()
            thread.join(TIMEOUT)


def test_it_can_be_made_without_binding(settings: Any) -> None:
    with FingerServer(settings, bind_and_activate=False) as server:
        assert server.listeners == []


def test_it_gives_every_descriptor_back(settings: Any) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with running(FingerServer(settings)) as server:
        assert ask(server.socket.getsockname(), b"alice\r\n")
        assert server.fileno() == server.socket.fileno()
    assert sorted(os.listdir("/proc/self/fd")) == before
    server.server_close()  # a second time does no harm


def test_every_hook_is_called_in_the_order_of_socketserver(settings: Any) -> None:
    calls: list[str] = []

    class Hooked(FingerServer):
        def get_request(self) -> Any:
            request, address = super().get_request()
            assert isinstance(request, Connection)
            assert address[0] == "127.0.0.1"
            assert address[1] > 0
            calls.append("get_request")
            return request, address

        def verify_request(self, request: Any, client_address: Any) -> bool:
            calls.append("verify_request")
            return super().verify_request(request, client_address)

        def process_request(self, request: Any, client_address: Any) -> None:
            calls.append("process_request")
            super().process_request(request, client_address)

        def finish_request(self, request: Any, client_address: Any) -> None:
            calls.append("finish_request")
            super().finish_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            calls.append("shutdown_request")
            super().shutdown_request(request)

        def close_request(self, request: Any) -> None:
            calls.append("close_request")
            super().close_request(request)

        def handle_error(self, request: Any, client_address: Any) -> None:
            calls.append("handle_error")
            super().handle_error(request, client_address)

    with running(Hooked(settings)) as server, socket.create_connection(server.socket.getsockname()) as client:
        wait_until(lambda: calls == ["get_request", "verify_request"])  # nothing is processed before there is a line
        client.sendall(b"alice\r\n")
        assert hear(client) == b"Happy and well\r\n"
        client.close()
        wait_until(lambda: calls[-1] == "close_request")
    assert calls == [
        "get_request",
        "verify_request",
        "process_request",
        "finish_request",
        "shutdown_request",
        "close_request",
    ]


def test_verify_request_may_refuse_a_client(settings: Any) -> None:
    class Closed(FingerServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            return False

    with running(Closed(settings)) as server:
        assert ask(server.socket.getsockname(), b"") == b""


def test_a_handler_of_one_s_own_answers(settings: Any) -> None:
    class Shouting(FingerHandler):
        def answer(self, line: bytes) -> Answer:
            return Answer("answered", line.strip().upper() + b"\r\n")

    class Plain(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"you said ")
            self.wfile.write(self.rfile.readline())

    with running(FingerServer(settings, Shouting)) as server:
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"ALICE\r\n"
    with running(FingerServer(settings, Plain)) as server:
        assert ask(server.socket.getsockname(), b"alice\r\nbob") == b"you said alice\r\n"


def test_a_bug_in_a_handler_is_logged_once_and_told_as_any_failure(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FingerHandler):
        def handle(self) -> None:
            raise LookupError("a secret")

    with running(FingerServer(settings, Broken)) as server:
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Internal error in server\r\n"
    assert caplog.text.count("Traceback") == 1
    assert "LookupError: a secret" in caplog.text


@pytest.mark.parametrize("blocking", [True, False])
def test_a_bug_in_a_backend_leaves_exactly_one_traceback(blocking: bool, caplog: pytest.LogCaptureFixture) -> None:
    may_wait = blocking

    class Buggy(Backend):
        blocking = may_wait

        def find(self, lookup: Lookup) -> Sequence[Person]:
            raise ZeroDivisionError("a secret")

    with running(FingerServer(Config(Buggy()))) as server:
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Internal error in server\r\n"
    assert caplog.text.count("Traceback") == 1
    assert "b'alice\\r\\n'" in caplog.text


def test_a_failure_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Backend):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            raise BackendError("sql: connection refused")

    with running(FingerServer(Config(Failing()))) as server:
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Internal error in server\r\n"
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "backend failed: sql: connection refused"
    ]


def test_a_backend_ends_no_thread() -> None:
    class Leaving(Backend):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            if lookup.username == "leave":
                raise SystemExit
            return (Person(lookup.username, "still here"),)

    with running(FingerServer(Config(Leaving()))) as server:
        for _ in range(4):
            assert ask(server.socket.getsockname(), b"leave\r\n") == b"Internal error in server\r\n"
        assert ask(server.socket.getsockname(), b"stay\r\n") == b"still here\r\n"


def test_the_log_of_an_embedding_program_gets_a_line_for_each_connection(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "fingerd.access"), running(FingerServer(settings)) as server:
        ask(server.socket.getsockname(), b"alice\r\n")
        wait_until(lambda: caplog.messages)
    assert caplog.messages[0].startswith('client=127.0.0.1 query="alice" outcome=answered bytes=16 ms=')
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fingerd.access"), running(FingerServer(settings)) as server:
        ask(server.socket.getsockname(), b"alice\r\n")
    assert not caplog.messages


def test_one_client_has_a_quarter_of_the_crew_and_others_the_rest() -> None:
    gate = Gate()
    with running(FingerServer(Config(gate, threads=8))) as server, contextlib.ExitStack() as clients:
        greedy = [connect_from("127.0.0.2", server, clients) for _ in range(6)]
        for client in greedy:
            client.sendall(b"slow\r\n")
        wait_until(lambda: gate.waiting == 2)
        other = connect_from("127.0.0.3", server, clients)
        other.sendall(b"quick\r\n")
        assert hear(other) == b"at last\r\n"
        assert gate.waiting == 2
        gate.open.set()
        assert [hear(client) for client in greedy] == [b"at last\r\n"] * 6


def connect_from(address: str, server: FingerServer, clients: contextlib.ExitStack) -> socket.socket:
    """A client with an address of its own."""
    return clients.enter_context(
        socket.create_connection(server.socket.getsockname(), TIMEOUT, source_address=(address, 0))
    )


def test_stuck_answers_get_words_and_late_ones_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    with running(FingerServer(Config(gate, threads=4, answer_seconds=0.4, drain_seconds=5))) as server:
        begun = time.monotonic()
        with contextlib.ExitStack() as clients:
            stuck = [connect_from(f"127.0.0.{number}", server, clients) for number in range(2, 9)]
            for client in stuck:
                client.sendall(b"slow\r\n")
            assert [hear(client) for client in stuck] == [BUSY] * 7
        assert time.monotonic() - begun < 2
        assert gate.waiting == 4  # the crew was full, and the others were never begun
        gate.open.set()
        assert ask(server.socket.getsockname(), b"quick\r\n") == b"at last\r\n"
        assert gate.waiting == 4
    assert "Traceback" not in caplog.text


def test_a_silent_client_times_out_while_the_crew_is_stuck() -> None:
    gate = Gate()
    config = Config(gate, threads=1, read_seconds=0.3, answer_seconds=5, drain_seconds=0)
    with running(FingerServer(config)) as server, socket.create_connection(server.socket.getsockname()) as stuck:
        stuck.sendall(b"slow\r\n")
        wait_until(lambda: gate.waiting == 1)
        assert ask(server.socket.getsockname(), b"ali") == b""
        server.shutdown()
        assert hear(stuck) == BUSY  # at the end it is told so
        gate.open.set()


def test_running_answers_are_given_drain_seconds_and_who_has_not_asked_is_closed() -> None:
    gate = Gate()
    outcomes = []
    server = FingerServer(Config(gate, drain_seconds=5))
    server.access_log = lambda seen: outcomes.append((seen.line, seen.outcome))
    address = server.socket.getsockname()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with socket.create_connection(address, TIMEOUT) as asked, socket.create_connection(address, TIMEOUT) as silent:
        asked.sendall(b"slow\r\n")
        silent.sendall(b"al")
        wait_until(lambda: gate.waiting == 1 and server.connected == 2)
        server.stop()
        assert hear(silent) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        gate.open.set()
        assert hear(asked) == b"at last\r\n"
    thread.join(TIMEOUT)
    server.server_close()
    assert [outcome for _, outcome in outcomes] == ["dropped", "answered"]


def test_who_does_not_read_is_closed_at_the_end() -> None:
    class Long(Backend):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            return (Person("alice", "x" * 20_000_000),)

    outcomes = []
    server = FingerServer(Config(Long(), reply_bytes=30_000_000, drain_seconds=0.3))
    server.access_log = lambda seen: outcomes.append(seen.outcome)
    with running(server), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.socket.getsockname())
        client.sendall(b"alice\r\n")
        assert client.recv(1) == b"x"
        server.shutdown()
    assert outcomes == ["timeout"]


def test_a_crew_grows_when_it_is_stuck_and_no_further() -> None:
    open_ = threading.Event()

    def wait() -> None:
        open_.wait(TIMEOUT)

    pool = WorkerPool(8)
    pool.start()
    for client in "abcdefgh":
        pool.submit(client, wait)
    for _ in range(3):
        pool.adjust()
    wait_until(lambda: pool.waiting == 0)
    before = threading.active_count()
    for client in "ijkl":
        pool.submit(client, wait)
    pool.adjust()
    pool.adjust()
    assert threading.active_count() == before
    assert pool.waiting == 4
    open_.set()
    wait_until(lambda: pool.waiting == 0)
    pool.stop()


def test_a_thread_that_a_job_ends_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", print)

    def leave() -> None:
        raise SystemExit

    pool = WorkerPool(4)
    pool.start()
    for _ in range(6):
        pool.submit("a", leave)
    done = threading.Event()
    pool.submit("b", done.set)

    def is_done() -> bool:
        pool.adjust()
        return done.is_set()

    wait_until(is_done)
    wait_until(lambda: pool.waiting == 0)
    pool.stop()
    wait_until(lambda: "worker" not in {thread.name for thread in threading.enumerate()})


def test_threads_that_the_system_does_not_give_are_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = WorkerPool(4)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        pool.start()
    assert "can't start new thread: going on with 0 threads" in caplog.text
    done = threading.Event()
    pool.submit("a", done.set)
    pool.adjust()
    assert done.wait(TIMEOUT)
    pool.stop()


def test_no_more_descriptors_are_survived_without_spinning(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Poor(FingerServer):
        failures: list[int] = [errno.ECONNABORTED, errno.EMFILE, errno.EMFILE]  # noqa: RUF012 - used up once
        tries = 0

        def get_request(self) -> Any:
            self.tries += 1
            if self.failures:
                number = self.failures.pop(0)
                raise OSError(number, os.strerror(number))
            return super().get_request()

    server = Poor(settings)
    with running(server):
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
        assert server.tries < 10
    assert caplog.text.count("accept failed, pausing: Too many open files") == 1
    assert caplog.text.count("accepting again") == 1


def test_when_all_connections_are_being_answered_newcomers_wait_for_one() -> None:
    gate = Gate()
    with running(FingerServer(Config(gate, connections=1))) as server:
        address = server.socket.getsockname()
        with contextlib.ExitStack() as clients:
            first = clients.enter_context(socket.create_connection(address, TIMEOUT))
            first.sendall(b"slow\r\n")
            wait_until(lambda: gate.waiting == 1)
            next_ = clients.enter_context(socket.create_connection(address, TIMEOUT))
            next_.sendall(b"quick\r\n")
            next_.settimeout(0.5)
            with pytest.raises(TimeoutError):
                next_.recv(1)
            gate.open.set()
            assert hear(first) == b"at last\r\n"
            first.close()
            next_.settimeout(TIMEOUT)
            assert hear(next_) == b"at last\r\n"


def test_who_has_an_answer_already_makes_room_at_once(settings: Any) -> None:
    config = Config(settings.backend, connections=1)
    with running(FingerServer(config)) as server:
        address = server.socket.getsockname()
        with socket.create_connection(address, TIMEOUT) as first:
            first.sendall(b"alice\r\n")
            assert hear(first) == b"Happy and well\r\n"  # and stays
            begun = time.monotonic()
            assert ask(address, b"alice\r\n") == b"Happy and well\r\n"
            assert time.monotonic() - begun < 1


def test_ring_and_come_back_may_be_called_any_number_of_times(settings: Any) -> None:
    with FingerServer(settings) as server:
        for _ in range(100_000):
            server.loop.wake()


LISTEN = {
    "IPv4": ("127.0.0.1:0", socket.AF_INET, ["127.0.0.1"]),
    "IPv6": ("[::1]:0", socket.AF_INET6, ["::1"]),
    "IPv6 alone": ("[::]:0", socket.AF_INET6, ["::1"]),
    "all": (":0", socket.AF_INET6, ["::1", "127.0.0.1"]),
}


@pytest.mark.parametrize(("listen", "family", "hosts"), LISTEN.values(), ids=LISTEN)
def test_addresses_of_each_kind(listen: str, family: int, hosts: list[str]) -> None:
    seen = []
    with serving(f'listen: "{listen}"\n{STATIC}', access_log=lambda entry: seen.append(entry.client)) as server:
        assert server.socket.family == family
        port = server.socket.getsockname()[1]
        for host in hosts:
            assert ask((host, port), b"alice\r\n") == b"Happy and well\r\n"
        if family == socket.AF_INET6:
            alone = server.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            assert bool(alone) == ("127.0.0.1" not in hosts)
        wait_until(lambda: seen == hosts)  # IPv4 clients are IPv4, whatever socket they came in by


def test_several_addresses_and_a_name_with_several() -> None:
    with serving(f'listen: ["127.0.0.1:0", "[::1]:0", "localhost:0"]\n{STATIC}') as server:
        assert len(server.listeners) >= 3
        for listener in server.listeners:
            assert ask(listener.getsockname()[:2], b"alice\r\n") == b"Happy and well\r\n"


def test_a_unix_socket_with_a_mode_and_clients_that_are_local(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    config = f'listen: {{unix: {path}, mode: "600", user: {os.getuid()}, group: {os.getgid()}}}\n{STATIC}'
    config += "policy: [{from: local}]\nlimits: {per_client: 1, rate: 1}\n"
    seen = []
    with serving(config, access_log=lambda entry: seen.append(entry.client)) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert describe_listener(server.socket) == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as idle:
            idle.connect(str(path))
            for _ in range(3):  # neither per_client nor rate are about unix sockets
                assert ask(str(path), b"alice\r\n") == b"Happy and well\r\n"
    assert set(seen) == {"unix"}
    assert not path.exists()


@pytest.mark.parametrize("name", ["{folder}/client", f"\0fingerd-{os.getpid()}", "\0\xff", "127.0.0.1", ""])
def test_a_client_of_a_unix_socket_may_have_a_name_of_its_own(name: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serving(f"listen: unix:{path}\n{STATIC}") as server, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.bind(name.format(folder=tmp_path) if name != "127.0.0.1" else str(tmp_path / name))
        client.connect(str(path))
        client.sendall(b"alice\r\n")
        assert hear(client) == b"Happy and well\r\n"
        assert ask(str(path), b"alice\r\n") == b"Happy and well\r\n"  # it goes on
        wait_until(lambda: server.connected == 0)


def test_an_abandoned_unix_socket_is_taken_over_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    abandoned = socket.socket(socket.AF_UNIX)
    abandoned.bind(str(path))
    abandoned.close()
    (listener,) = open_listeners([UnixAddress(str(path))])
    listener.listen()
    with pytest.raises(StartError, match="Address already in use") as caught:  # it is in use now
        open_listeners([UnixAddress(str(path))])
    assert caught.value.exit_code == 69
    close_listener(listener)
    path.write_text("precious")
    with pytest.raises(StartError, match="Address already in use"):
        open_listeners([UnixAddress(str(path))])
    assert path.read_text() == "precious"
    with pytest.raises(StartError, match="No such file or directory"):
        open_listeners([UnixAddress(str(tmp_path / "missing" / "socket"))])


def test_one_address_that_cannot_be_bound_leaves_none_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        open_listeners([TcpAddress("127.0.0.1", 0), TcpAddress("192.0.2.1", 0)])
    for host in ("no-such-host.invalid", "a..b", "a" * 64 + ".example"):
        with pytest.raises(StartError, match="cannot listen on"):
            open_listeners([TcpAddress(host, 0)])
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_dual_stack_all_addresses_are_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    listeners = open_listeners([TcpAddress("", 0)])
    assert socket.AF_INET in {listener.family for listener in listeners}
    for listener in listeners:
        listener.close()


def test_a_second_address_of_a_name_that_is_taken_closes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        with pytest.raises(StartError, match="Address already in use"):
            open_listeners([TcpAddress("localhost", port)])
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_address_that_listen_finds_taken_is_69_too() -> None:
    (first,) = open_listeners([TcpAddress("127.0.0.1", 0)])
    with first, pytest.raises(StartError, match="Address already in use") as caught:
        open_listeners([TcpAddress("0.0.0.0", first.getsockname()[1])])
    assert caught.value.exit_code == 69


def test_a_crew_grows_for_a_backend_that_waits_for_milliseconds() -> None:
    class Brief(Backend):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            time.sleep(0.002)
            return (Person(lookup.username, "soon"),)

    with running(FingerServer(Config(Brief(), threads=16, per_client=1000))) as server:
        done = threading.Event()

        def work(number: int) -> None:
            while not done.is_set():
                with socket.create_connection(
                    server.socket.getsockname(), TIMEOUT, source_address=(f"127.0.0.{number}", 0)
                ) as client:
                    client.sendall(b"alice\r\n")
                    assert hear(client) == b"soon\r\n"

        clients = [threading.Thread(target=work, args=(number,)) for number in range(2, 26)]
        for client in clients:
            client.start()
        try:
            wait_until(lambda: [thread.name for thread in threading.enumerate()].count("worker") > 4)
        finally:
            done.set()
            for client in clients:
                client.join()


def test_a_bug_in_a_hook_is_handled_as_in_socketserver(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FingerServer):
        def process_request(self, request: Any, client_address: Any) -> None:
            if request.received.startswith(b"break"):
                raise LookupError("a bug in a hook")
            super().process_request(request, client_address)

    with running(Broken(settings)) as server:
        address = server.socket.getsockname()
        assert ask(address, b"break\r\n") == b"Internal error in server\r\n"
        assert ask(address, b"alice\r\n") == b"Happy and well\r\n"
    assert caplog.text.count("Traceback") == 1


def test_a_handler_that_answers_nothing_is_logged_and_waited_for_by_nobody() -> None:
    class Mute(FingerHandler):
        def handle(self) -> None:
            self.rfile.readline()

    seen = []
    server = FingerServer(Config(Gate()), Mute)
    server.access_log = lambda entry: seen.append(entry.outcome)
    with running(server):
        assert ask(server.socket.getsockname(), b"alice\r\n") == b""
        wait_until(lambda: seen == ["answered"])
        begun = time.monotonic()
    assert time.monotonic() - begun < 1


def test_shutdown_after_the_end_returns_and_ringing_does_no_harm(settings: Any) -> None:
    server = FingerServer(settings)
    with running(server):
        pass
    server.shutdown()
    reader, writer = os.pipe()  # perhaps with the numbers that the bell had
    server.loop.wake()
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)


def test_an_answer_that_is_there_when_the_server_stops_is_told() -> None:
    class Slow(FingerHandler):
        def finish(self) -> None:
            time.sleep(0.3)  # between the answer and the way back

    outcomes = []
    gate = Gate()
    gate.open.set()
    server = FingerServer(Config(gate, drain_seconds=0), Slow)
    server.access_log = lambda entry: outcomes.append(entry.outcome)
    with running(server), socket.create_connection(server.socket.getsockname(), TIMEOUT) as client:
        client.sendall(b"slow\r\n")
        wait_until(lambda: gate.waiting == 1)
        server.shutdown()
        assert hear(client) == b"at last\r\n"
    assert outcomes == ["answered"]


def test_more_clients_than_can_be_turned_out_at_once_go_in_the_next_moment(settings: Any) -> None:
    config = Config(settings.backend, read_seconds=0.5, per_client=5000)
    with running(FingerServer(config)) as server, contextlib.ExitStack() as clients:
        address = server.socket.getsockname()
        silent = [clients.enter_context(socket.create_connection(address, TIMEOUT)) for _ in range(1200)]
        begun = time.monotonic()
        assert {hear(client) for client in silent} == {b""}
        assert time.monotonic() - begun < 1.5


def test_the_standard_library_s_orders_of_ending_all_work(settings: Any) -> None:
    server = FingerServer(settings)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = server.socket.getsockname()
    assert ask(address, b"alice\r\n") == b"Happy and well\r\n"
    server.server_close()  # while it serves
    server.shutdown()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        ask(address, b"alice\r\n")


def test_two_shutdowns_are_one(settings: Any) -> None:
    gate = Gate()
    with FingerServer(Config(gate)) as server, contextlib.ExitStack() as clients:
        threads = [threading.Thread(target=server.serve_forever)]
        threads[0].start()
        client = clients.enter_context(socket.create_connection(server.socket.getsockname(), TIMEOUT))
        client.sendall(b"slow\r\n")
        wait_until(lambda: gate.waiting == 1)
        threads += [threading.Thread(target=server.shutdown) for _ in range(2)]
        for thread in threads[1:]:
            thread.start()
        gate.open.set()
        assert hear(client) == b"at last\r\n"
        client.close()
        for thread in threads:
            thread.join(TIMEOUT)
        again = threading.Thread(target=server.serve_forever)
        again.start()
        assert ask(server.socket.getsockname(), b"quick\r\n") == b"at last\r\n"
        server.shutdown()
        again.join(TIMEOUT)


class Closable(Gate):
    """Notes how often it was closed; may fail at that."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.closed = 0
        self.fails = fails

    def close(self) -> None:
        """Count, and fail."""
        self.closed += 1
        if self.fails:
            raise OSError("connection lost while closing")


def test_a_backend_is_closed_when_its_last_query_is_done_and_only_once(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Closable(fails=True), Closable()
    with running(FingerServer(Config(first))) as server:
        address = server.socket.getsockname()
        with socket.create_connection(address, TIMEOUT) as client:
            client.sendall(b"slow\r\n")
            wait_until(lambda: first.waiting == 1)
            server.reload(Config(second))
            assert first.closed == 0
            server.reload(Config(second, query_bytes=100))  # the same backend under other settings
            assert second.closed == 0
            first.open.set()
            assert hear(client) == b"at last\r\n"
        wait_until(lambda: first.closed == 1)
        assert ask(address, b"quick\r\n") == b"at last\r\n"
        server.close_backends()
        assert (first.closed, second.closed) == (1, 1)
    wait_until(lambda: "connection lost while closing" in caplog.text)


def test_settings_may_change_before_and_after_it_serves(settings: Any) -> None:
    server = FingerServer(Config(Closable()))
    server.reload(settings)
    with running(server):
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
