"""Querying a Finger server, with a deadline and a limit of bytes. Independent of command line and terminal."""

import errno
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from fingerd.net.deadline import remaining
from fingerd.net.stream import CHUNK_BYTES, Endpoint, connect
from fingerd.protocol.query import Query


class NoAnswerError(Exception):
    """A host gave no answer, or an incomplete one; the message says why."""


class Encryption(Protocol):
    """TLS, as :mod:`fingerd.client.tls` has it; that module is loaded only where it is asked for."""

    def start(self, connection: socket.socket, host: str) -> socket.socket:
        """The connection within TLS. Raises OSError, and closes the connection, if the handshake fails."""

    def cause_of(self, error: OSError) -> str:
        """Why the handshake, or anything after it, has failed."""


def fetch(
    query: Query,
    host: str,
    port: int,
    *,
    family: int = socket.AF_UNSPEC,
    seconds: float,
    max_bytes: int,
    tls: Encryption | None = None,
) -> Iterator[bytes]:
    """The answer of the host in chunks, as it arrives (RFC 1288 2.1).

    ``host`` is an address or an ASCII name; ``family`` can restrict it to IPv4 or IPv6. ``seconds`` is the time for
    everything: name lookup, connecting, TLS, sending, receiving, but not for what the caller does with a chunk. Raises
    NoAnswerError if there is no answer, or an incomplete one; if it has more than ``max_bytes``, after that many bytes.
    """
    deadline = time.monotonic() + seconds
    available = max_bytes
    answered = False
    try:
        with _connected(host, port, family, deadline, tls) as connection:
            connection.settimeout(remaining(deadline))
            connection.sendall(query.encode())
            while received := connection.recv(CHUNK_BYTES):
                answered = True
                before = time.monotonic()
                yield received[:available]
                deadline += time.monotonic() - before
                available -= len(received)
                if available < 0:
                    raise NoAnswerError(f"the answer was cut after {max_bytes} bytes")
                connection.settimeout(remaining(deadline))
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:
            what = "complete answer" if answered else "answer"
            raise NoAnswerError(f"no {what} within {seconds:g} seconds") from error
        cause = tls.cause_of(error) if tls else error.strerror or error
        raise NoAnswerError(f"{'the answer broke off: ' if answered else ''}{cause}") from error
    if not answered:
        raise NoAnswerError("the connection was closed without an answer")


def _connected(host: str, port: int, family: int, deadline: float, tls: Encryption | None) -> socket.socket:
    """A socket connected to the first address of the host that accepts. Raises OSError from the last attempt."""
    endpoints = _endpoints(host, port, family, deadline)
    try:
        connection = connect(endpoints, deadline)
    except TimeoutError:
        raise
    except OSError as error:
        raise OSError(error.errno, f"port {port}: {error.strerror}") from error
    if tls is None:
        return connection
    connection.settimeout(remaining(deadline))
    return tls.start(connection, host)


def _endpoints(host: str, port: int, family: int, deadline: float) -> Sequence[Endpoint]:
    """The addresses of the host. Raises OSError if the lookup fails, TimeoutError if it does not end in time."""
    found: list[Endpoint] = []
    failures: list[OSError] = []

    def look_up() -> None:
        try:
            for kind, _, _, _, address in socket.getaddrinfo(host.encode(), port, family, socket.SOCK_STREAM):
                found.append((kind, address))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=look_up, daemon=True)  # the system's resolver has its own, longer timeout
    try:
        thread.start()
    except RuntimeError as error:  # no more threads for this user, or no memory
        raise OSError(errno.EAGAIN, str(error)) from error
    thread.join(remaining(deadline))
    if thread.is_alive():
        raise TimeoutError
    for failure in failures:
        raise failure
    return found
