"""The pool: idle connections are reused for a minute, whichever server they belong to, and closed by close()."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

pytest.importorskip("ldap3", reason="needs ldap3 (pip install ldap3)")

from fingerd.backends.ldap.pool import ConnectionLostError, Pool


class FakeConnection:
    """A connection to a named server, open or closed."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.is_open = True

    def close(self) -> None:
        """Close it."""
        self.is_open = False


class Servers:
    """Servers that can be down, and all connections to them."""

    def __init__(self, *names: str) -> None:
        self.down: set[str] = set()
        self.connections: list[FakeConnection] = []
        self.pool: Pool[FakeConnection] = Pool([self._connecting(name) for name in names], 4)

    def _connecting(self, name: str) -> Callable[[float], FakeConnection]:
        def connect(_: float) -> FakeConnection:
            if name in self.down:
                raise ConnectionLostError(f"{name} is down")
            self.connections.append(FakeConnection(name))
            return self.connections[-1]

        return connect

    def ask(self) -> str:
        """The name of the server that answers."""

        def operation(connection: FakeConnection, _: float) -> str:
            if connection.server in self.down:
                raise ConnectionLostError(f"{connection.server} is lost")
            return connection.server

        return self.pool.run(operation, time.monotonic() + 5)

    @property
    def open(self) -> list[str]:
        """The servers of the open connections."""
        return [connection.server for connection in self.connections if connection.is_open]


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that connections are kept idle and that servers count as down."""
    monkeypatch.setattr("fingerd.backends.ldap.pool.IDLE_SECONDS", 0.05)
    monkeypatch.setattr("fingerd.backends.ldap.pool.DOWN_SECONDS", 0.05)


def test_a_connection_is_reused_and_closed_after_it_was_idle_for_too_long(short_times: None) -> None:
    servers = Servers("first")
    assert [servers.ask() for _ in range(3)] == ["first"] * 3
    assert len(servers.connections) == 1
    time.sleep(0.1)
    servers.ask()
    assert [connection.is_open for connection in servers.connections] == [False, True]


def test_an_expired_connection_to_the_second_server_is_closed_when_the_first_is_back(short_times: None) -> None:
    servers = Servers("first", "second")
    servers.down.add("first")
    assert servers.ask() == "second"
    servers.down.clear()
    time.sleep(0.1)
    assert servers.ask() == "first"
    assert servers.open == ["first"]


def test_returning_a_connection_closes_expired_ones(short_times: None) -> None:
    servers = Servers("first", "second")
    with servers.pool.checkout(lambda connection, _: connection, time.monotonic() + 5) as (in_use, _):
        servers.down.add("first")
        assert servers.ask() == "second"
        time.sleep(0.1)
        assert servers.open == ["first", "second"]
    assert in_use.is_open
    assert servers.open == ["first"]


def test_close_closes_idle_connections_and_those_returned_later() -> None:
    servers = Servers("first")
    servers.ask()
    servers.pool.close()
    assert servers.open == []
    servers.ask()
    assert servers.open == []


def test_all_servers_are_tried_and_all_their_errors_reported() -> None:
    servers = Servers("first", "second")
    servers.ask()
    servers.down = {"first", "second"}
    with pytest.raises(ConnectionLostError, match=r"^first is down; second is down$"):
        servers.ask()
    assert servers.open == []
    with suppress(ConnectionLostError):
        servers.ask()
    servers.down.clear()
    assert servers.ask() == "first"  # in the given order, although all count as down
