"""One connection to the tested server, limited in time and in bytes."""

import contextlib
import errno
import socket
import time
from dataclasses import dataclass
from typing import Literal

MAX_BYTES = 65536  # read of one answer
End = Literal["closed", "reset", "timeout", "cut", "unreachable"]


@dataclass(frozen=True, slots=True)
class Target:
    """The server's address, and the maximum seconds for one connection."""

    host: str
    port: int
    timeout: float

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was received on one connection, and how it ended.

    ``closed``: by the server; ``reset``: by the server, with bytes unread; ``timeout``: still open after the timeout;
    ``cut``: more than :data:`MAX_BYTES` were sent; ``unreachable``: the connection failed.
    """

    data: bytes
    end: End
    seconds: float = 0.0


def read_target(text: str, timeout: float) -> Target:
    """Parse ``HOST``, ``HOST:PORT``, ``[ADDRESS]:PORT`` or a bare IPv6 address. Raises ValueError for other text."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not HOST[:PORT]")
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    number = 79 if not port and not text.endswith(":") else int(port) if port.isascii() and port.isdecimal() else 0
    if not host or not 0 < number < 65536:
        raise ValueError(f"{text!r} is not HOST[:PORT]")
    return Target(host, number, timeout)


def connect(target: Target) -> socket.socket:
    """A connected socket. Raises OSError."""
    return socket.create_connection((target.host, target.port), target.timeout)


def converse(target: Target, sent: bytes, half_close: bool = False) -> Exchange:
    """Send these bytes, then a FIN with ``half_close``, and receive until the server closes."""
    started = time.monotonic()
    data = bytearray()
    try:
        client = connect(target)
    except OSError:
        return Exchange(b"", "unreachable", time.monotonic() - started)
    with client:
        with contextlib.suppress(OSError):  # a server may close before it has received everything
            client.sendall(sent)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        end = _receive(client, data, started + target.timeout)
    return Exchange(bytes(data), end, time.monotonic() - started)


def _receive(client: socket.socket, data: bytearray, deadline: float) -> End:
    """Append what the server sends to ``data``, until it closes, or until the deadline. Returns how it ended."""
    while True:
        client.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            received = client.recv(4096)
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return "reset" if error.errno in (errno.ECONNRESET, errno.EPIPE) else "closed"
        if not received:
            return "closed"
        data += received
        if len(data) > MAX_BYTES or time.monotonic() >= deadline:
            return "cut" if len(data) > MAX_BYTES else "timeout"
