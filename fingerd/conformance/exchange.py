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

    ``closed``: by the server; ``reset``: by the server, with bytes unread;
    ``timeout``: still open after the timeout; ``cut``: more than
    :data:`MAX_BYTES` were sent; ``unreachable``: the connection failed.
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
    try:
        client = connect(target)
    except OSError:
        return Exchange(b"", "unreachable", time.monotonic() - started)
    with client:
        with contextlib.suppress(OSError):  # a server may close before it has received everything
            client.sendall(sent)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        return receive(client, started + target.timeout, started)


def receive(client: socket.socket, deadline: float, started: float) -> Exchange:
    """Receive until the server closes, or until the deadline (``time.monotonic()``)."""
    data = bytearray()
    end: End = "closed"
    while True:
        client.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            more = client.recv(4096)
        except TimeoutError:
            end = "timeout"
        except OSError as error:
            end = "reset" if error.errno in (errno.ECONNRESET, errno.EPIPE) else "closed"
        else:
            data += more
            if more and len(data) <= MAX_BYTES and time.monotonic() < deadline:
                continue
            if more:
                end = "cut" if len(data) > MAX_BYTES else "timeout"
        return Exchange(bytes(data), end, time.monotonic() - started)
