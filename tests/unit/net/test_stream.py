"""Sockets with a deadline, against real peers that are silent, slow or endless; and addresses by their spelling."""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from fingerd.net import stream
from fingerd.net.stream import DeadlineSocket, Endpoint, cause_of, connect, is_address, is_ipv6_address
from tests.helpers.daemons import ROOT, TIMEOUT
from tests.helpers.ports import free_port

ADDRESSES = {
    "127.0.0.1": (True, False),
    "::1": (True, True),
    "::ffff:192.0.2.7": (True, True),
    "fe80::1%eth0": (True, True),
    "": (False, False),
    "localhost": (False, False),
    "127.1": (False, False),
    "010.0.0.1": (False, False),
    "[::1]": (False, False),
    "a\0b": (False, False),
    "١.١.١.١": (False, False),  # Arabic digits
}


@pytest.mark.parametrize(("host", "expected"), ADDRESSES.items(), ids=map(ascii, ADDRESSES))
def test_an_address_is_recognised_by_its_spelling(host: str, expected: tuple[bool, bool]) -> None:
    assert (is_address(host), is_ipv6_address(host)) == expected


def test_pyfinger_imports_this_package_without_slow_modules() -> None:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import fingerd.net.stream; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", script]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert {name for name in loaded if name.startswith("fingerd.net.")} == {
        "fingerd.net.deadline",
        "fingerd.net.stream",
    }
    assert not loaded & {"ssl", "ipaddress", "threading", "logging"}


# Connecting


@contextlib.contextmanager
def full_listener() -> Iterator[Endpoint]:
    """A listener whose queue is full, so that connecting to it neither succeeds nor fails."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield (socket.AF_INET, listener.getsockname())


def refused() -> Endpoint:
    return (socket.AF_INET, ("127.0.0.1", free_port()))


def test_the_first_endpoint_that_accepts_is_connected_to() -> None:
    with full_listener() as silent, socket.create_server(("127.0.0.1", 0)) as listener:
        endpoints = [refused(), silent, (socket.AF_INET, listener.getsockname()), refused()]
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        with connect(endpoints, time.monotonic() + 2, options) as sock:
            assert sock.getpeername() == listener.getsockname()
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_silent_endpoints_fail_at_the_deadline() -> None:
    begun = time.monotonic()
    with full_listener() as silent, pytest.raises(TimeoutError):
        connect([silent, silent], begun + 0.2)
    assert 0.1 < time.monotonic() - begun < TIMEOUT


def test_the_last_endpoint_s_error_is_raised() -> None:
    with pytest.raises(ConnectionRefusedError):
        connect([(socket.AF_UNIX, "/nowhere/socket"), refused()], time.monotonic() + TIMEOUT)
    with pytest.raises(FileNotFoundError):
        connect([refused(), (socket.AF_UNIX, "/nowhere/socket")], time.monotonic() + TIMEOUT)
    with pytest.raises(TimeoutError):
        connect([refused()], time.monotonic() - 1)
    with pytest.raises(OSError, match=r"^has no address$"):
        connect([], time.monotonic() + TIMEOUT)


# A socket with a deadline


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_bytes_are_received_until_the_end_of_the_stream(pair: Pair) -> None:
    ours, theirs = pair
    sock = DeadlineSocket(ours, time.monotonic() + TIMEOUT)
    theirs.sendall(b"answer")
    assert sock.recv(1) == b"answer"
    sock.sendall(b"query")
    assert theirs.recv(100) == b"query"
    sock.shutdown(socket.SHUT_WR)
    assert theirs.recv(100) == b""
    theirs.close()
    assert sock.recv(1) == b""
    assert sock.failure is None
    sock.close()
    assert ours.fileno() == -1


def test_a_peer_that_drips_does_not_extend_the_deadline(pair: Pair) -> None:
    ours, theirs = pair
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.02):
            theirs.sendall(b".")

    thread = threading.Thread(target=drip)
    thread.start()
    begun = time.monotonic()
    sock = DeadlineSocket(ours, begun + 0.3)
    with pytest.raises(TimeoutError) as caught:
        list(iter(lambda: sock.recv(1), b""))
    assert 0.2 < time.monotonic() - begun < TIMEOUT
    assert sock.failure is caught.value
    over.set()
    thread.join()


def test_a_peer_that_reads_nothing_does_not_extend_the_deadline(pair: Pair) -> None:
    sock = DeadlineSocket(pair[0], time.monotonic() + 0.2)
    with pytest.raises(TimeoutError) as caught:
        sock.sendall(bytes(64 << 20))
    assert sock.failure is caught.value


def test_the_size_of_each_answer_is_limited(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ANSWER_BYTES", 1 << 20)
    monkeypatch.setattr(stream, "CHUNK_BYTES", 1 << 20)
    ours, theirs = pair
    sender = threading.Thread(target=theirs.sendall, args=(bytes((1 << 21) + 1),))
    sender.start()
    sock = DeadlineSocket(ours, time.monotonic() + TIMEOUT)
    for _ in range(2):
        sock.start_answer(time.monotonic() + TIMEOUT)
        received = 0
        while received < 1 << 20:
            monkeypatch.setattr(stream, "CHUNK_BYTES", (1 << 20) - received)
            received += len(sock.recv(1))
    sender.join()
    with pytest.raises(OSError, match=r"^answer exceeds 1 MiB$"):
        sock.recv(1)
    assert str(sock.failure) == "answer exceeds 1 MiB"


def test_a_handshake_with_a_silent_server_ends_at_the_deadline(pair: Pair) -> None:
    begun = time.monotonic()
    sock = DeadlineSocket(pair[0], begun + 0.2)
    with pytest.raises(TimeoutError):
        sock.encrypt(ssl.create_default_context(), "localhost")
    assert time.monotonic() - begun < TIMEOUT


# Causes


def untrusted() -> OSError:
    error = ssl.SSLCertVerificationError("a long text")
    error.verify_message = "self-signed certificate"
    return error


CAUSES = {
    "a timeout": (TimeoutError(), "not done in time"),
    "an errno": (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
    "a certificate": (untrusted(), "certificate verify failed: self-signed certificate"),
    "a text of several lines": (OSError("one\ntwo\x1b"), "one two?"),
    "no text": (ConnectionResetError(), "ConnectionResetError"),
}


@pytest.mark.parametrize(("error", "cause"), CAUSES.values(), ids=CAUSES)
def test_the_cause_of_an_error_is_one_short_line(error: OSError, cause: str) -> None:
    assert cause_of(error) == cause
