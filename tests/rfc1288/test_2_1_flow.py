"""RFC 1288 2.1, and the changes of 1.4: from the connection to its close."""

import socket
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.daemons import FINGERD, TIMEOUT, Daemon, Machine, hear, wait_until
from tests.rfc1288.conftest import SHIPPED

ASK = (
    "import socket, sys; s = socket.create_connection(('localhost', 79), 5); s.sendall(b'zoe\\r\\n'); print(s.recv(99))"
)


@pytest.mark.root
def test_r01_port_79_is_the_default(host: Machine, tmp_path: Path) -> None:
    path = str(tmp_path / "fingerd.yaml")
    with open(path, "w") as file:
        file.write("backend: {type: static, users: {zoe: Happy and well}}\nlog: {to: stderr}\n")
    with host.start(*FINGERD, "-n", "-c", path) as daemon:
        try:
            wait_until(lambda: "Happy and well" in host.run(sys.executable, "-c", ASK).stdout)
        finally:
            daemon.terminate()


def test_r02_one_line_is_the_query_and_what_follows_is_ignored(rfc_daemon: Daemon) -> None:
    alone = rfc_daemon.ask(b"surak\r\n")
    assert b"Ron Surak" in alone
    assert rfc_daemon.ask(b"surak\r\nspinner\r\n") == alone
    assert rfc_daemon.ask(b"surak\r\n" + b"\xff\0\x1b" * 1000) == alone


def test_r03_the_server_initiates_the_close(rfc_daemon: Daemon) -> None:
    with rfc_daemon.connect() as client:
        client.sendall(b"surak\r\n")
        assert hear(client).endswith(b"\r\n")  # up to the server's FIN, before the client sends one


@pytest.mark.parametrize("size", [1, 5_000, 200_000])
def test_r03_its_close_never_costs_a_client_the_answer(rfc_daemon: Daemon, size: int) -> None:
    with rfc_daemon.connect() as client:
        client.sendall(b"surak\r\n" + b"x" * size)
        time.sleep(0.05)  # time for a reset to arrive before the answer is read
        assert hear(client) == rfc_daemon.ask(b"surak\r\n")
        client.shutdown(socket.SHUT_WR)  # the client's close is not reset either
        client.settimeout(TIMEOUT)
        assert client.recv(1) == b""


def test_r04_what_rfc_1196_clients_send_is_understood(rfc_daemon: Daemon) -> None:
    assert rfc_daemon.ask(b"pirmann /W\r\n") == rfc_daemon.ask(b"/W pirmann\r\n")


def test_r12_slash_w_comes_first(rfc_daemon: Daemon) -> None:
    from_first = rfc_daemon.ask(b"/W rinehart\r\n", source="127.0.1.1")
    assert b"/u1/rinehart" in from_first
    assert b"/u1/rinehart" not in rfc_daemon.ask(b"rinehart\r\n", source="127.0.1.1")
    assert rfc_daemon.ask(b"rin/Wehart\r\n", SHIPPED) == b"No such user\r\n"
