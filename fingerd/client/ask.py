"""Asking a Finger server, with a bound for the time and one for the bytes. It knows no screen and no command line."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence

from fingerd.net.deadline import remaining
from fingerd.net.stream import Endpoint, connect
from fingerd.protocol.query import Query

RECEIVED_AT_ONCE = 65536


class NoAnswerError(Exception):
    """A host gives no answer, or not all of it; the text says why."""


def fetch(
    query: Query, host: str, port: int, *, family: int = socket.AF_UNSPEC, seconds: float, max_bytes: int
) -> Iterator[bytes]:
    """What the host answers, as it comes (RFC 1288 2.1); NoAnswerError where that is nothing, or not all.

    ``host`` is an address or a name in ASCII, ``family`` may allow IPv4 or
    IPv6 only. ``seconds`` are for everything: looking up, connecting, asking,
    listening. What the caller does with a part does not count. Of an answer
    with more than ``max_bytes``, so many are given before the error.
    """
    deadline = time.monotonic() + seconds
    room = max_bytes
    answered = False
    try:
        with _connected(host, port, family, deadline) as connection:
            connection.settimeout(remaining(deadline))
            connection.sendall(query.encode())
            while received := connection.recv(RECEIVED_AT_ONCE):
                answered = True
                before = time.monotonic()
                yield received[:room]
                deadline += time.monotonic() - before
                room -= len(received)
                if room < 0:
                    raise NoAnswerError(f"the answer was cut after {max_bytes} bytes")
                connection.settimeout(remaining(deadline))
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:
            how = "whole answer" if answered else "answer"
            raise NoAnswerError(f"no {how} within {seconds:g} seconds") from error
        raise NoAnswerError(f"{'the answer broke off: ' if answered else ''}{error.strerror or error}") from error
    if not answered:
        raise NoAnswerError("the connection was closed without an answer")


def _connected(host: str, port: int, family: int, deadline: float) -> socket.socket:
    """A connection to the first address of the host that takes one; OSError with what the last one said."""
    endpoints = _endpoints(host, port, family, deadline)
    try:
        return connect(endpoints, deadline)
    except TimeoutError:
        raise
    except OSError as error:
        raise OSError(error.errno, f"port {port}: {error.strerror}") from error


def _endpoints(host: str, port: int, family: int, deadline: float) -> Sequence[Endpoint]:
    """The addresses of a host with their families; OSError where it has none, TimeoutError where nobody says so."""
    found: list[Endpoint] = []
    failures: list[OSError] = []

    def look_up() -> None:
        try:
            for kind, _, _, _, address in socket.getaddrinfo(host.encode(), port, family, socket.SOCK_STREAM):
                found.append((kind, address))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=look_up, daemon=True)  # the system's resolver has a patience of its own
    thread.start()
    thread.join(remaining(deadline))
    if thread.is_alive():
        raise TimeoutError
    for failure in failures:
        raise failure
    return found
