"""Stream sockets with a deadline for the whole answer.

A socket's timeout applies to each ``recv``: a server that sends one byte a second never exceeds it. So the timeout of
each call here is the time that remains until the deadline.

pyfinger imports this module and must start fast. ``ssl`` and ``ipaddress`` take longer to import than the rest of it,
so they are not imported here.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fingerd.net.deadline import DEADLINE_PASSED, remaining, split_deadline
from fingerd.text import one_line

if TYPE_CHECKING:
    import ssl

CHUNK_BYTES = 1 << 16
ANSWER_BYTES = 2 << 20  # maximum size of one answer, so that no server can exhaust our memory

SockAddr = tuple[str | int | bytes, ...] | str  # as in the socket module
Endpoint = tuple[int, SockAddr]  # address family, address


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address, with a zone or without, and needs no name resolution."""
    return _is_address_of(socket.AF_INET, host) or is_ipv6_address(host)


def is_ipv6_address(host: str) -> bool:
    """Whether ``host`` is an IPv6 address, with a zone or without."""
    return _is_address_of(socket.AF_INET6, host.partition("%")[0])


def _is_address_of(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def connect(
    endpoints: Sequence[Endpoint], deadline: float, options: Iterable[tuple[int, int, int | bytes]] = ()
) -> socket.socket:
    """Return a socket connected to the first endpoint that accepts; ``options`` are arguments of ``setsockopt``.

    Each endpoint gets an equal share of the remaining time, so that a silent one leaves time for the others. Raises the
    last endpoint's OSError, which is TimeoutError if the deadline passed.
    """
    failure = OSError("has no address")
    for endpoint, endpoint_deadline in split_deadline(endpoints, deadline):
        try:
            return _connect_one(endpoint, endpoint_deadline, options)
        except OSError as error:
            failure = error
    raise failure


def _connect_one(endpoint: Endpoint, deadline: float, options: Iterable[tuple[int, int, int | bytes]]) -> socket.socket:
    family, address = endpoint
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(remaining(deadline))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


class DeadlineSocket:
    """A connected socket on which each answer has a deadline and at most ANSWER_BYTES bytes.

    ``failure`` is the last OSError raised by ``recv`` or ``sendall``.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self.failure: OSError | None = None
        self.start_answer(deadline)

    def start_answer(self, deadline: float) -> None:
        """Begin an answer, which must be received completely by the deadline."""
        self._deadline = deadline
        self._remaining_bytes = ANSWER_BYTES

    def recv(self, _: int) -> bytes:
        """Return the next bytes, empty at the end of the stream; raise OSError past the deadline or the size limit."""
        try:
            self._sock.settimeout(remaining(self._deadline))
            data = self._sock.recv(CHUNK_BYTES)
            self._remaining_bytes -= len(data)
            if self._remaining_bytes < 0:
                raise OSError(f"answer exceeds {ANSWER_BYTES >> 20} MiB")
        except OSError as error:
            self.failure = error
            raise
        return data

    def sendall(self, data: bytes) -> None:
        """Send all data; raise OSError if that is not done by the deadline."""
        try:
            self._sock.settimeout(remaining(self._deadline))
            self._sock.sendall(data)
        except OSError as error:
            self.failure = error
            raise

    def encrypt(self, context: "ssl.SSLContext", host: str) -> None:
        """Start TLS and verify that the certificate is valid for ``host``; raise OSError if the handshake fails."""
        self._sock.settimeout(remaining(self._deadline))
        self._sock = context.wrap_socket(self._sock, server_hostname=host)

    def shutdown(self, how: int) -> None:
        """Shut down one direction or both."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


def cause_of(error: OSError) -> str:
    """Return the cause of the error as a short text for the log."""
    if isinstance(error, TimeoutError):
        return DEADLINE_PASSED
    if reason := getattr(error, "verify_message", ""):  # of ssl.SSLCertVerificationError
        return f"certificate verify failed: {reason}"
    return error.strerror or one_line(str(error)) or type(error).__name__
