"""An error while one client is served ends its connection, is logged once, and the server goes on."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from fingerd import FingerServer
from fingerd.server.handler import FingerHandler
from tests.helpers.daemons import TIMEOUT, ask, hear, running, wait_until
from tests.unit.server.support import BUSY, Config, Gate

# What code of others may raise on the loop's thread.
ERRORS = [ValueError("x"), AttributeError("x"), MemoryError(), SystemExit(3), GeneratorExit(), asyncio.CancelledError()]
BAD = "127.0.0.66"  # the client at whose every step something goes wrong

HOOKS = ["get_request", "verify_request", "process_request", "shutdown_request", "close_request", "access_log"]


class Broken(FingerServer):
    """Raises an error at one step of the client BAD."""

    step = ""
    error: BaseException = ValueError()
    raised = 0

    def _step(self, name: str, client: str) -> None:
        if name == self.step and client == BAD:
            self.raised += 1
            raise self.error

    def get_request(self) -> Any:
        request, address = super().get_request()
        try:
            self._step("get_request", address[0])
        except BaseException:
            super().shutdown_request(request)
            raise
        return request, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self._step("verify_request", client_address[0])
        return super().verify_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._step("process_request", client_address[0])
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._step("shutdown_request", request.client)
        super().shutdown_request(request)

    def close_request(self, request: Any) -> None:
        super().close_request(request)
        self._step("close_request", request.client)


def ask_as(source: str, server: FingerServer) -> bytes:
    """The answer to a client with this address; empty where it is reset."""
    with contextlib.suppress(ConnectionError):
        return ask(server.socket.getsockname(), b"alice\r\n", source=source)
    return b""


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", HOOKS)
def test_an_error_at_a_step_of_one_client(
    step: str, error: BaseException, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = Broken(settings)
    server.step, server.error = step, error
    server.access_log = lambda entry: server._step("access_log", entry.client)
    with running(server):
        for _ in range(3):
            ask_as(BAD, server)
            wait_until(lambda: server.raised and server.connected == 0)
            server.raised = 0
            assert ask_as("127.0.0.1", server) == b"Happy and well\r\n"
        wait_until(lambda: server.connected == 0)
        assert not server._delivery.watched
    times = (
        2 if step == "shutdown_request" and isinstance(error, Exception) else 1
    )  # it is called again to end the client that it failed for
    assert caplog.text.count("please report") == 3 * times


def test_an_error_while_a_request_is_read_closes_that_client(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = FingerServer(settings)
    find_end = server._transport._find_end

    def find(data: bytes) -> int:
        if b"bad" in data:
            raise LookupError("a bug of the framing")
        return find_end(data)

    server._transport._find_end = find
    with running(server), socket.create_connection(server.socket.getsockname(), TIMEOUT) as slow:
        slow.sendall(b"b")
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
        slow.sendall(b"ad")
        with contextlib.suppress(ConnectionResetError):
            assert hear(slow) == b""
        with contextlib.suppress(ConnectionResetError):
            assert ask(server.socket.getsockname(), b"bad") == b""
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
        wait_until(lambda: server.connected == 0)
    assert caplog.text.count("please report") == 2


def test_an_error_of_a_timer_or_a_callback_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    server = FingerServer(Config(gate, answer_seconds=0.5, read_seconds=0.5))

    def fail(*_: object) -> None:
        raise asyncio.CancelledError

    with running(server), socket.create_connection(server.socket.getsockname(), TIMEOUT) as stuck:
        server.loop.call_soon_threadsafe(fail)
        server.loop.call_soon_threadsafe(lambda: server.loop.add_timer(fail).start(0))
        wait_until(lambda: caplog.text.count("Traceback") == 2)
        stuck.sendall(b"slow\r\n")
        assert hear(stuck) == BUSY
        assert ask(server.socket.getsockname(), b"ali") == b""
        gate.open.set()


def test_a_handler_that_raises_on_a_worker_s_thread_ends_one_client(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    gate.open.set()

    class Raising(FingerHandler):
        def handle(self) -> None:
            if b"bad" in self.request.line:
                raise SystemExit(7)
            super().handle()

    others = threading.active_count()  # of servers that other tests have ended
    with running(FingerServer(Config(gate, threads=1), Raising)) as server:
        address = server.socket.getsockname()
        for _ in range(3):
            ask(address, b"bad\r\n")
            assert ask(address, b"quick\r\n") == b"at last\r\n"
        wait_until(lambda: server.connected == 0)
        assert threading.active_count() <= others + 4


def test_a_connection_in_any_state_may_fail(settings: Any) -> None:
    """What a failure leaves behind is nothing, whatever the connection was doing."""
    with running(FingerServer(settings)) as server:
        failed = threading.Event()

        def fail_all() -> None:
            connections = [connection for queue in server._delivery.queues.of for connection in list(queue)]
            for connection in connections:
                try:
                    raise LookupError("a bug")
                except LookupError:
                    server._delivery.fail(connection)
            failed.set()

        with contextlib.ExitStack() as clients:
            for query in (b"", b"ali", b"alice\r\n"):
                client = clients.enter_context(socket.create_connection(server.socket.getsockname(), TIMEOUT))
                client.sendall(query)
            wait_until(lambda: server.connected == 3)
            server.loop.call_soon_threadsafe(fail_all)
            assert failed.wait(TIMEOUT)
            wait_until(lambda: server.connected == 0)
        assert not server._delivery.queues
        assert not server._delivery.watched
        assert not server._delivery.queues.by_last_read


class TextHandler(FingerHandler):
    """A handler of another package: what it answers is, for one of its clients, no bytes."""

    answers: Mapping[bytes, Any] = {
        b"str": "text",
        b"none": None,
        b"int": 7,
        b"list": [b"text"],
        b"view": memoryview(b"view\r\n"),
    }
    how = ""

    def handle(self) -> None:
        """Write to the file of socketserver, or to the connection; or set its buffer."""
        answer = self.answers.get(self.request.line.strip(), b"fine\r\n")
        if self.how == "wfile":
            self.wfile.write(answer)
        elif self.how == "sendall":
            self.request.sendall(answer)
        else:
            wrong: Any = 7 if answer is None else answer
            self.request.out_buffer = wrong


@pytest.mark.parametrize("how", ["wfile", "sendall", "out_buffer"])
@pytest.mark.parametrize("blocking", [True, False], ids=["a worker", "the loop's thread"])
def test_a_handler_that_writes_no_bytes_fails_one_client(
    blocking: bool, how: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    gate.open.set()
    handler = type("Handler", (TextHandler,), {"how": how})
    outcomes: list[str] = []
    server = FingerServer(Config(gate) if blocking else settings, handler)
    server.access_log = lambda entry: outcomes.append(entry.outcome)
    with running(server):
        address = server.socket.getsockname()
        for _ in range(3):
            for query in (b"str", b"none", b"int", b"list"):
                with contextlib.suppress(ConnectionError):
                    assert b"text" not in ask(address, query + b"\r\n")
                assert ask(address, b"x\r\n") == b"fine\r\n"
            assert ask(address, b"view\r\n") == b"view\r\n"
        wait_until(lambda: server.connected == 0)
    assert sorted(outcomes) == ["answered"] * 15 + ["error"] * 12
    assert caplog.text.count("please report") == 12
    assert not server._delivery.watched
