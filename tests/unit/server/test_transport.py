"""The transport: deadlines of clients, and connections that are closed to make room."""

import contextlib
import socket
import time
from typing import Any

import pytest

from fingerd import FingerServer
from tests.helpers.daemons import TIMEOUT, ask, hear, running, wait_until
from tests.unit.server.support import BUSY, Config, Gate


def test_a_silent_client_times_out_while_all_workers_are_blocked() -> None:
    gate = Gate()
    config = Config(gate, threads=1, read_seconds=0.3, answer_seconds=5, drain_seconds=0)
    with running(FingerServer(config)) as server, socket.create_connection(server.socket.getsockname()) as stuck:
        stuck.sendall(b"slow\r\n")
        wait_until(lambda: gate.waiting == 1)
        assert ask(server.socket.getsockname(), b"ali") == b""
        server.shutdown()
        assert hear(stuck) == BUSY  # at the end
        gate.open.set()


@pytest.mark.serial
def test_more_expired_clients_than_one_batch_are_closed_without_delay(settings: Any) -> None:
    config = Config(settings.backend, read_seconds=0.5, per_client=5000)
    with running(FingerServer(config)) as server, contextlib.ExitStack() as clients:
        address = server.socket.getsockname()
        silent = [clients.enter_context(socket.create_connection(address, TIMEOUT)) for _ in range(1200)]
        begun = time.monotonic()
        assert {hear(client) for client in silent} == {b""}
        assert time.monotonic() - begun < 1.5
