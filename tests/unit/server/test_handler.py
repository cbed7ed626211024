"""Handlers: others than ours, and errors in handlers and backends."""

import logging
import socketserver
import time
from collections.abc import Sequence
from typing import Any

import pytest

from fingerd import FingerServer
from fingerd.backends import Backend, Lookup
from fingerd.errors import BackendError
from fingerd.people import Person
from fingerd.ruip.ruip import Answer
from fingerd.server.handler import FingerHandler
from tests.helpers.daemons import ask, running, wait_until
from tests.unit.server.support import Config, Gate


def test_other_handlers_may_answer(settings: Any) -> None:
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


def test_a_handler_may_answer_nothing() -> None:
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


def test_an_error_in_a_handler_is_logged_once_and_answered_as_any_failure(
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
def test_an_unexpected_error_in_a_backend_is_logged_with_one_traceback(
    blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    may_wait = blocking

    class Buggy(Backend):
        blocking = may_wait

        def find(self, lookup: Lookup) -> Sequence[Person]:
            raise ZeroDivisionError("a secret")

    with running(FingerServer(Config(Buggy()))) as server:
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Internal error in server\r\n"
    assert caplog.text.count("Traceback") == 1
    assert "b'alice\\r\\n'" in caplog.text


def test_the_client_does_not_learn_why_a_backend_failed(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Backend):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            raise BackendError("sql: connection refused")

    with running(FingerServer(Config(Failing()))) as server:
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Internal error in server\r\n"
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "backend failed: sql: connection refused"
    ]


def test_system_exit_in_a_backend_ends_no_worker() -> None:
    class Leaving(Backend):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            if lookup.username == "leave":
                raise SystemExit
            return (Person(lookup.username, "still here"),)

    with running(FingerServer(Config(Leaving()))) as server:
        for _ in range(4):
            assert ask(server.socket.getsockname(), b"leave\r\n") == b"Internal error in server\r\n"
        assert ask(server.socket.getsockname(), b"stay\r\n") == b"still here\r\n"
