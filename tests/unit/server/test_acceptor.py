"""The acceptor: it pauses while there are no descriptors or no room, and resumes."""

import contextlib
import errno
import os
import socket
import time
from typing import Any

import pytest

from fingerd import FingerServer
from tests.helpers.daemons import TIMEOUT, ask, hear, running, wait_until
from tests.unit.server.support import Config, Gate


def test_accepting_pauses_while_there_are_no_descriptors(
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


def test_new_clients_wait_while_all_connections_are_being_answered() -> None:
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


def test_a_connection_that_has_its_answer_is_evicted_at_once(settings: Any) -> None:
    config = Config(settings.backend, connections=1)
    with running(FingerServer(config)) as server:
        address = server.socket.getsockname()
        with socket.create_connection(address, TIMEOUT) as first:
            first.sendall(b"alice\r\n")
            assert hear(first) == b"Happy and well\r\n"  # and stays
            begun = time.monotonic()
            assert ask(address, b"alice\r\n") == b"Happy and well\r\n"
            assert time.monotonic() - begun < 1
