"""The names of this host: what counts as one, and how long the look-up may take."""

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fingerd.net.own_names import LOOKUP_SECONDS, is_host_name, is_own_name, own_names
from tests.helpers.daemons import TIMEOUT

NAMES = {"localhost", "example.org", "xn--mller-kva.example"}


@pytest.fixture(autouse=True)
def _not_looked_up() -> Iterator[None]:
    own_names.cache_clear()
    yield
    own_names.cache_clear()


@pytest.mark.parametrize(
    "host", ["example.org", "EXAMPLE.Org", "example.org.", "localhost", "müller.example", "Müller.Example."]
)
def test_a_name_counts_in_every_spelling(host: str) -> None:
    assert is_own_name(host, NAMES)
    assert is_host_name(host)


@pytest.mark.parametrize(
    "host",
    ["", ".", "org", "x.example.org", "example.org..", "example.org:79", "127.0.0.1", "[::1]", "0x7f.1", "a b", "\0"],
)
def test_another_name_and_an_address_do_not_count(host: str) -> None:
    assert not is_own_name(host, NAMES)
    assert not is_own_name(host, {host, *NAMES}) or is_host_name(host)


def answering(monkeypatch: pytest.MonkeyPatch, host_name: str, canonical: str | OSError) -> None:
    """Let the system have this host name, and its resolver this fully qualified name."""

    def getaddrinfo(host: str, *args: Any, **options: Any) -> list[tuple[Any, ...]]:
        assert (host, options) == (host_name, {"flags": socket.AI_CANONNAME})
        if isinstance(canonical, OSError):
            raise canonical
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, canonical, ("127.0.1.1", 0))]

    monkeypatch.setattr(socket, "gethostname", lambda: host_name)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("host_name", "canonical", "names"),
    [
        ("Web1", "web1.Example.ORG", {"localhost", "web1", "web1.example.org"}),
        ("web1.example.org", "web1.example.org.", {"localhost", "web1.example.org"}),
        ("web1", socket.gaierror(socket.EAI_NONAME, "unknown"), {"localhost", "web1"}),
        ("192.0.2.7", "192.0.2.7", {"localhost"}),
        ("", "", {"localhost"}),
        ("not a name", "::1", {"localhost"}),
    ],
)
def test_the_names_are_localhost_the_host_name_and_the_qualified_one_and_no_address(
    monkeypatch: pytest.MonkeyPatch, host_name: str, canonical: str | OSError, names: set[str]
) -> None:
    answering(monkeypatch, host_name, canonical)
    assert own_names() == names


def test_they_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "web1", "web1.example.org")
    names = own_names()
    answering(monkeypatch, "web2", "web2.example.org")
    assert own_names() is names


def test_a_name_server_that_does_not_answer_is_waited_for_no_longer_than_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def getaddrinfo(*args: Any, **options: Any) -> list[tuple[Any, ...]]:
        answered.wait(TIMEOUT)
        raise OSError

    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    before = time.monotonic()
    assert own_names() == {"localhost", "web1"}
    assert not answered.is_set()
    assert time.monotonic() - before >= LOOKUP_SECONDS * 0.9
    answered.set()


def children() -> list[str]:
    """The child processes of this thread, those included that nobody has waited for."""
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()


def test_nothing_is_left_of_a_look_up_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread, no child and no descriptor: the daemon closes all that it has not opened itself."""
    monkeypatch.setattr(socket, "gethostname", lambda: "web1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(TIMEOUT))
    before, others = (threading.active_count(), sorted(os.listdir("/proc/self/fd"))), children()
    assert own_names() == {"localhost", "web1"}
    assert (threading.active_count(), sorted(os.listdir("/proc/self/fd"))) == before
    assert not [child for child in children() if child not in others]


def test_without_a_process_the_qualified_name_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    answering(monkeypatch, "web1", "web1.example.org")
    monkeypatch.setattr(os, "fork", fork)
    assert own_names() == {"localhost", "web1"}
