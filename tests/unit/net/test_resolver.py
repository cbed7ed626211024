"""Name resolution: deadlines, the number of lookups at once, and names without search lists."""

import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from fingerd.net import resolver
from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.net.resolver import (
    absolute_name,
    addresses_of,
    endpoints_of,
    look_up,
    missing_for_names,
    numeric_endpoints,
)
from tests.helpers.daemons import TIMEOUT, wait_until


def soon() -> float:
    return time.monotonic() + TIMEOUT


def answers(monkeypatch: pytest.MonkeyPatch, **names: tuple[str, ...] | Exception) -> list[str]:
    """Let the system's resolver answer for these names instead of a name server; what it is asked for."""
    system = socket.getaddrinfo
    asked = []

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("flags"):
            return system(host, port, *args, **kwargs)
        asked.append(host)
        answer = names[host]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_addresses_keep_the_resolver_s_order_and_are_canonical(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, a=("192.0.2.7", "2001:DB8::0:1", "::ffff:192.0.2.7", "fe80::1%lo"))
    assert look_up("a", 79, "client", soon()) == tuple(map(ip_address, ("192.0.2.7", "2001:db8::1", "fe80::1")))


def test_the_resolver_s_errors_are_raised_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    again = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    answers(monkeypatch, a=again, b=UnicodeError("label empty or too long"))
    with pytest.raises(socket.gaierror) as caught:
        look_up("a", 79, "client", soon())
    assert caught.value is again
    with pytest.raises(socket.gaierror) as caught:
        look_up("b", 79, "client", soon())
    assert caught.value.errno == socket.EAI_NONAME


def test_without_a_thread_there_is_no_lookup_and_its_slot_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match=r"^can't start new thread$"):
        look_up("a", 79, "client", soon())
    assert not resolver._running


def test_whatever_a_lookup_raises_reaches_the_caller_and_its_slot_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(socket.gaierror):
        look_up("a\0b", 79, "client", soon())  # getaddrinfo raises ValueError
    answers(monkeypatch, a=MemoryError())
    with pytest.raises(MemoryError):
        look_up("a", 79, "client", soon())
    wait_until(lambda: not resolver._running)


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that answers nothing until the event is set; four lookups at once, two for one client."""
    released = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        assert released.wait(TIMEOUT)
        return []

    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 4)
    monkeypatch.setattr(resolver, "PER_KEY_FRACTION", 2)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield released
    released.set()
    wait_until(lambda: not resolver._running)


def test_a_lookup_ends_at_the_deadline_and_keeps_its_slot_until_it_is_answered(mute: threading.Event) -> None:
    for client in ("a", "a", "b", "b", "a", "c"):
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            look_up("name", 79, client, begun + 0.05)
        assert time.monotonic() - begun < TIMEOUT / 2
    assert resolver._running == {"a": 2, "b": 2}
    mute.set()
    assert look_up("name", 79, "c", soon()) == ()


def test_a_client_waits_for_a_free_slot(mute: threading.Event) -> None:
    for _ in range(2):
        with pytest.raises(TimeoutError):
            look_up("name", 79, "a", time.monotonic() + 0.01)
    timer = threading.Timer(0.1, mute.set)
    timer.start()
    assert look_up("name", 79, "a", soon()) == ()
    timer.join()


def test_an_absolute_name_ignores_search_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = tmp_path / "hosts"
    monkeypatch.setattr(resolver, "HOSTS", str(hosts))
    assert absolute_name("example.org") == "example.org."
    hosts.write_bytes(b"192.0.2.7 Example.org \xff # other.example.org\n")
    names = ("example.org", "other.example.org", "192.0.2.7", "localhost")
    assert [absolute_name(name) for name in names] == ["example.org", "other.example.org.", "192.0.2.7.", "localhost"]


def test_an_address_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch)
    assert [addresses_of(address, 0) for address in ("192.0.2.7", "::1")] == [("192.0.2.7",), ("::1",)]
    assert not asked


def test_a_name_is_resolved_in_its_idna_form(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, **{"xn--bcher-kva.example": ("192.0.2.7",)})
    assert addresses_of("Bücher.EXAMPLE.", soon()) == ["192.0.2.7"]
    assert asked == ["xn--bcher-kva.example"]
    with pytest.raises(OSError, match=r"^is not a host name$"):
        addresses_of("a..b", soon())


def test_a_name_that_is_not_resolved_in_time_names_the_cause(mute: threading.Event) -> None:
    with pytest.raises(TimeoutError, match=f"^{DEADLINE_PASSED}$"):
        addresses_of("name", time.monotonic() + 0.01)


def test_endpoints_of_a_host_or_a_unix_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, a=("192.0.2.7", "2001:db8::1"))
    assert list(endpoints_of("a", 389, soon())) == [
        (socket.AF_INET, ("192.0.2.7", 389)),
        (socket.AF_INET6, ("2001:db8::1", 389, 0, 0)),
    ]
    assert list(endpoints_of("/run/slapd", 0, 0)) == [(socket.AF_UNIX, "/run/slapd")]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1", "2130706433", "0x7f.1"])
def test_an_address_in_any_spelling_is_an_endpoint(address: str) -> None:
    assert list(numeric_endpoints(address, 80)) == [(socket.AF_INET, ("127.0.0.1", 80))]


def test_a_name_is_not_a_numeric_endpoint() -> None:
    with pytest.raises(socket.gaierror):
        numeric_endpoints("localhost", 80)


def test_what_name_resolution_lacks_in_a_chroot(tmp_path: Path) -> None:
    (message,) = missing_for_names(tmp_path)
    assert message == f"host names cannot be resolved in {tmp_path}: it needs etc/resolv.conf or etc/hosts"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").touch()
    assert not list(missing_for_names(tmp_path))
