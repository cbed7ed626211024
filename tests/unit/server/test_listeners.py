"""Listeners: addresses of each kind, and addresses that cannot be bound."""

import os
import socket
import stat
from pathlib import Path

import pytest

from fingerd.errors import StartError
from fingerd.server.listeners import TcpAddress, UnixAddress, close_listener, describe_listener, open_listeners
from tests.helpers.daemons import TIMEOUT, ask, hear, serving, wait_until
from tests.unit.server.support import STATIC

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


def test_several_addresses_and_a_name_that_has_several() -> None:
    with serving(f'listen: ["127.0.0.1:0", "[::1]:0", "localhost:0"]\n{STATIC}') as server:
        assert len(server.listeners) >= 3
        for listener in server.listeners:
            assert ask(listener.getsockname()[:2], b"alice\r\n") == b"Happy and well\r\n"


def test_a_unix_socket_with_a_mode_and_clients_that_are_local(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    config = f'listen: {{unix: {path}, mode: "600", user: {os.getuid()}, group: {os.getgid()}}}\n{STATIC}'
    config += "policy: [{from: local}]\n"
    seen = []
    with serving(config, access_log=lambda entry: seen.append(entry.client)) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert describe_listener(server.socket) == f"unix:{path}"
        assert ask(str(path), b"alice\r\n") == b"Happy and well\r\n"
        wait_until(lambda: seen == ["unix"])
    assert not path.exists()


@pytest.mark.parametrize("name", ["{folder}/client", "{folder}/127.0.0.1", "\0fingerd-{pid}", "\0\xff{pid}", ""])
def test_a_client_of_a_unix_socket_may_be_bound_to_any_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serving(f"listen: unix:{path}\n{STATIC}") as server, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.bind(name.format(folder=tmp_path, pid=os.getpid()))
        client.connect(str(path))
        client.sendall(b"alice\r\n")
        assert hear(client) == b"Happy and well\r\n"
        client.close()
        assert ask(str(path), b"alice\r\n") == b"Happy and well\r\n"  # it goes on
        wait_until(lambda: server.connected == 0)


def test_a_stale_unix_socket_is_replaced_and_nothing_else(tmp_path: Path) -> None:
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


def test_no_listener_stays_open_where_one_cannot_be_bound() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        open_listeners([TcpAddress("127.0.0.1", 0), TcpAddress("192.0.2.1", 0)])
    for host in ("no-such-host.invalid", "a..b", "a" * 64 + ".example"):
        with pytest.raises(StartError, match="cannot listen on"):
            open_listeners([TcpAddress(host, 0)])
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_dual_stack_every_family_gets_a_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    listeners = open_listeners([TcpAddress("", 0)])
    assert socket.AF_INET in {listener.family for listener in listeners}
    for listener in listeners:
        listener.close()


def test_the_first_address_of_a_name_is_closed_where_the_second_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        with pytest.raises(StartError, match="Address already in use"):
            open_listeners([TcpAddress("localhost", port)])
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_address_that_listen_finds_in_use_is_exit_code_69() -> None:
    (first,) = open_listeners([TcpAddress("127.0.0.1", 0)])
    with first, pytest.raises(StartError, match="Address already in use") as caught:
        open_listeners([TcpAddress("0.0.0.0", first.getsockname()[1])])
    assert caught.value.exit_code == 69
