"""Stream sockets with a deadline, however slowly the other side sends.

The timeout of a socket is for each wait for bytes: a server that sends one
byte a second never exceeds it. So every wait here is for what is left of the
deadline of the whole answer.

pyfinger imports this module, and must start at once: ``ssl`` and
``ipaddress`` take longer to import than all the rest of it.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fingerd.net.deadline import DEADLINE_PASSED, remaining, split_deadline
from fingerd.text import one_line

if TYPE_CHECKING:
    import ssl

CHUNK_BYTES = 1 << 16
ANSWER_BYTES = 2 << 20  # of one answer; a server that sends more must not fill our memory

SockAddr = tuple[str | int | bytes, ...] | str  # as the socket module has them
Endpoint = tuple[int, SockAddr]  # the address family, and an address of it


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address, so that no name has to be looked up."""
    return _is_of(socket.AF_INET, host) or is_ipv6_address(host)


def is_ipv6_address(host: str) -> bool:
    """Whether ``host`` is an IPv6 address, with a zone or without."""
    return _is_of(socket.AF_INET6, host.partition("%")[0])


def _is_of(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def connect(
    endpoints: Sequence[Endpoint], deadline: float, options: Iterable[tuple[int, int, int | bytes]] = ()
) -> socket.socket:
    """A socket that is connected to the first of the endpoints that accepts; ``options`` are socket options.

    Each endpoint has an equal share of the time that is left, so that a
    silent one leaves time for the others. Raises the OSError of the last one,
    TimeoutError where the deadline passed.
    """
    failure = OSError("has no address")
    for endpoint, share in split_deadline(endpoints, deadline):
        try:
            return _connect_one(endpoint, share, options)
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
    """A connected socket whose every answer has a deadline and at most ANSWER_BYTES bytes.

    ``failure`` is the last OSError that one of its methods raised.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self.failure: OSError | None = None
        self.start_answer(deadline)

    def start_answer(self, deadline: float) -> None:
        """What is received from now on is one answer, to be complete by the deadline."""
        self._deadline = deadline
        self._room = ANSWER_BYTES

    def recv(self, _: int) -> bytes:
        """The next bytes; empty at the end of the stream. OSError where they are late or too many."""
        try:
            self._sock.settimeout(remaining(self._deadline))
            data = self._sock.recv(CHUNK_BYTES)
            self._room -= len(data)
            if self._room < 0:
                raise OSError(f"an answer of more than {ANSWER_BYTES >> 20} MiB")
        except OSError as error:
            self.failure = error
            raise
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of the data; OSError where that is not done by the deadline."""
        try:
            self._sock.settimeout(remaining(self._deadline))
            self._sock.sendall(data)
        except OSError as error:
            self.failure = error
            raise

    def encrypt(self, context: "ssl.SSLContext", host: str) -> None:
        """Start TLS with a server whose certificate is for ``host``; OSError where it is not."""
        self._sock.settimeout(remaining(self._deadline))
        self._sock = context.wrap_socket(self._sock, server_hostname=host)

    def shutdown(self, how: int) -> None:
        """Shut down one direction, or both."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


def cause_of(error: OSError) -> str:
    """What went wrong, in a few words for a log."""
    if isinstance(error, TimeoutError):
        return DEADLINE_PASSED
    if reason := getattr(error, "verify_message", ""):  # of ssl.SSLCertVerificationError
        return f"its certificate is not good: {reason}"
    return error.strerror or one_line(str(error)) or type(error).__name__
