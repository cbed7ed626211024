"""The server as a library: the hooks of socketserver, and how it starts and stops."""

import contextlib
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from fingerd import FingerServer
from fingerd.backends import Backend, Lookup
from fingerd.people import Person
from fingerd.server.connection import Connection
from fingerd.server.handler import FingerHandler
from tests.helpers.daemons import TIMEOUT, ask, hear, running, wait_until
from tests.unit.server.support import Config, Gate


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


def test_it_closes_every_descriptor(settings: Any) -> None:
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


def test_an_error_in_a_hook_is_handled_as_in_socketserver(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FingerServer):
        def process_request(self, request: Any, client_address: Any) -> None:
            if request.received.startswith(b"break"):
                raise LookupError("an error in a hook")
            super().process_request(request, client_address)

    with running(Broken(settings)) as server:
        address = server.socket.getsockname()
        assert ask(address, b"break\r\n") == b"Internal error in server\r\n"
        assert ask(address, b"alice\r\n") == b"Happy and well\r\n"
    assert caplog.text.count("Traceback") == 1


def test_each_connection_is_logged_in_an_embedding_program(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fingerd.access"), running(FingerServer(settings)) as server:
        ask(server.socket.getsockname(), b"alice\r\n")
        wait_until(lambda: caplog.messages)
    assert caplog.messages[0].startswith('client=127.0.0.1 query="alice" outcome=answered bytes=16 ms=')
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fingerd.access"), running(FingerServer(settings)) as server:
        ask(server.socket.getsockname(), b"alice\r\n")
    assert not caplog.messages


def test_running_queries_get_drain_seconds_and_incomplete_requests_are_dropped() -> None:
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


def test_a_client_that_does_not_read_is_closed_at_shutdown() -> None:
    class Long(Backend):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            return (Person("alice", "x" * 8_000_000),)

    outcomes = []
    server = FingerServer(Config(Long(), reply_bytes=10_000_000, drain_seconds=0.3))
    server.access_log = lambda seen: outcomes.append(seen.outcome)
    with running(server), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.socket.getsockname())
        client.sendall(b"alice\r\n")
        assert client.recv(1) == b"x"
        server.shutdown()
    assert outcomes == ["timeout"]


def test_an_answer_that_is_complete_when_the_server_stops_is_sent() -> None:
    class Slow(FingerHandler):
        def finish(self) -> None:
            time.sleep(0.3)  # after the answer, before the worker is done

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


def test_shutdown_and_wake_do_nothing_once_the_server_is_closed(settings: Any) -> None:
    server = FingerServer(settings)
    with running(server):
        pass
    server.shutdown()
    reader, writer = os.pipe()  # perhaps with the numbers of the wake-up pipe
    server.loop.wake()
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)


def test_server_close_may_come_before_shutdown(settings: Any) -> None:
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


def test_two_threads_may_call_shutdown(settings: Any) -> None:
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
