"""Connections that are kept: for a minute, whichever server they lead to, and closed in the end."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from fingerd.backends.ldap.pool import LostError, Pool


class Link:
    """A connection that knows whether it is open, and to which server it leads."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.is_open = True

    def close(self) -> None:
        """Close it."""
        self.is_open = False


class Servers:
    """Some servers, which can be down, and all connections to them."""

    def __init__(self, *names: str) -> None:
        self.down: set[str] = set()
        self.links: list[Link] = []
        self.pool: Pool[Link] = Pool("test", [self._connecting(name) for name in names], 4)

    def _connecting(self, name: str) -> Callable[[float], Link]:
        def connect(_: float) -> Link:
            if name in self.down:
                raise LostError(f"{name} is down")
            self.links.append(Link(name))
            return self.links[-1]

        return connect

    def ask(self) -> str:
        """Who answers."""

        def begin(link: Link, _: float) -> str:
            if link.server in self.down:
                raise LostError(f"{link.server} is lost")
            return link.server

        with self.pool.borrowed(begin, time.monotonic() + 5) as (_, server):
            return server

    @property
    def open(self) -> list[str]:
        """Where the connections lead that are open."""
        return [link.server for link in self.links if link.is_open]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections be kept, and servers count as down, for a moment only."""
    monkeypatch.setattr("fingerd.backends.ldap.pool.KEPT_SECONDS", 0.05)
    monkeypatch.setattr("fingerd.backends.ldap.pool.DOWN_SECONDS", 0.05)


def test_a_connection_is_used_again_and_closed_when_it_was_not_used_for_long(short: None) -> None:
    servers = Servers("first")
    assert [servers.ask() for _ in range(3)] == ["first"] * 3
    assert len(servers.links) == 1
    time.sleep(0.1)
    servers.ask()
    assert [link.is_open for link in servers.links] == [False, True]


def test_a_connection_to_a_server_that_stood_in_is_closed_when_the_first_is_back(short: None) -> None:
    servers = Servers("first", "second")
    servers.down.add("first")
    assert servers.ask() == "second"
    servers.down.clear()
    time.sleep(0.1)
    assert servers.ask() == "first"
    assert servers.open == ["first"]


def test_what_is_given_back_closes_what_was_kept_for_too_long(short: None) -> None:
    servers = Servers("first", "second")
    with servers.pool.borrowed(lambda link, _: link, time.monotonic() + 5) as (long, _):
        servers.down.add("first")
        assert servers.ask() == "second"
        time.sleep(0.1)
        assert servers.open == ["first", "second"]
    assert long.is_open
    assert servers.open == ["first"]


def test_the_end_closes_what_is_kept_and_what_comes_back_later() -> None:
    servers = Servers("first")
    servers.ask()
    servers.pool.close()
    assert servers.open == []
    servers.ask()
    assert servers.open == []


def test_all_servers_are_tried_and_all_that_they_say_is_told() -> None:
    servers = Servers("first", "second")
    servers.ask()
    servers.down = {"first", "second"}
    with pytest.raises(LostError, match=r"^first is down; second is down$"):
        servers.ask()
    assert servers.open == []
    with suppress(LostError):
        servers.ask()
    servers.down.clear()
    assert servers.ask() == "first"  # in their order, where all are down
