"""A connection whose answers have a deadline and a limit, however they drip.

A timeout of a socket is for each wait for bytes: a server that sends one byte
a second is never too slow for it. So every wait here is for what is left of
the deadline of the whole answer.
"""

import encodings.idna  # noqa: F401 - found by name when a host is looked up, which is too late in a chroot
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

from fingerd.backends.ldap.pool import shares
from fingerd.errors import LATE
from fingerd.net.resolver import look_up
from fingerd.text import one_line

CHUNK_BYTES = 1 << 16
ANSWER_BYTES = 2 << 20  # a server that sends more does not fill our memory


class Wire:
    """A connection, with the methods of a socket that who talks over it may use.

    ``failure`` is the OSError that the last of them has raised, if any.
    """

    def __init__(self, host: str, port: int, due: float) -> None:
        """Connect to a host, or to the unix socket of this path where the port is 0; OSError where that fails."""
        self._sock = _connected(host, port, due)
        self.failure: OSError | None = None
        self.begin(due)

    def begin(self, due: float) -> None:
        """What comes from now on is one answer, which is to be whole by then (``time.monotonic()``)."""
        self._due = due
        self._room = ANSWER_BYTES

    def recv(self, _: int) -> bytes:
        """What has come next; nothing at the end."""
        try:
            self._sock.settimeout(_left(self._due))
            data = self._sock.recv(CHUNK_BYTES)
            self._room -= len(data)
            if self._room < 0:
                raise OSError(f"an answer of more than {ANSWER_BYTES >> 20} MiB")
        except OSError as error:
            self.failure = error
            raise
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        try:
            self._sock.settimeout(_left(self._due))
            self._sock.sendall(data)
        except OSError as error:
            self.failure = error
            raise

    def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Go on with TLS, with a server that has a certificate for this host; OSError where it has not."""
        self._sock.settimeout(_left(self._due))
        self._sock = context.wrap_socket(self._sock, server_hostname=host)

    def shutdown(self, how: int) -> None:
        """End one direction, or both."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close it."""
        self._sock.close()


def _connected(host: str, port: int, due: float) -> socket.socket:
    """A socket that is connected to one of the host's addresses; OSError with the last failure."""
    found: list[tuple[Any, ...]] = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", host)]
    if port:
        found = [
            target
            for address in addresses_of(host, due)
            for target in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        ]
    failure = OSError("has no address")
    for address, share in shares(found, due):
        try:
            return _connected_to(address, share)
        except OSError as error:
            failure = error
    raise failure


def addresses_of(host: str, due: float) -> Sequence[str]:
    """The host's addresses, or itself where it is one; TimeoutError when the time is over, OSError where it has none.

    Of all lookups that there may be at once, each name has its own share: one
    for which no name server answers holds up nobody else.
    """
    if is_address(host):
        return (host,)
    try:
        name = host.lower().removesuffix(".").encode("idna").decode()
    except UnicodeError as error:
        raise OSError("is no name of a host") from error
    try:
        return [str(address) for address in look_up(name, 0, name, due)]
    except TimeoutError as error:
        raise TimeoutError(LATE) from error


def is_address(host: str) -> bool:
    """Whether nothing has to be looked up to find this host."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _connected_to(address: tuple[Any, ...], due: float) -> socket.socket:
    family, kind, protocol, _, place = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(_left(due))
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _left(due: float) -> float:
    """Seconds until then; TimeoutError when it is over."""
    left = due - time.monotonic()
    if left <= 0:
        raise TimeoutError(LATE)
    return left


def cause_of(error: OSError) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, TimeoutError):
        return LATE
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    return error.strerror or one_line(str(error)) or type(error).__name__
