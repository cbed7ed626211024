"""One connection to the server that is judged: bounded in time and in bytes, and ended politely."""

import contextlib
import errno
import socket
import time
from dataclasses import dataclass
from typing import Literal

MOST_BYTES = 65536  # that are read of one answer
End = Literal["closed", "reset", "silent", "cut", "unreachable"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server listens, and for how many seconds one connection may take at most."""

    host: str
    port: int
    timeout: float

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back on one connection, and how it ended.

    ``closed``: by the server; ``reset``: by the server, with bytes unread;
    ``silent``: it was still open when the time was over; ``cut``: there was
    more than :data:`MOST_BYTES`; ``unreachable``: no connection was made.
    """

    data: bytes
    end: End
    seconds: float = 0.0


def read_target(text: str, timeout: float) -> Target:
    """The target of ``HOST``, ``HOST:PORT``, ``[ADDRESS]:PORT`` or a bare IPv6 address; ValueError where it is none."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no HOST[:PORT]")
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    number = 79 if not port and not text.endswith(":") else int(port) if port.isascii() and port.isdecimal() else 0
    if not host or not 0 < number < 65536:
        raise ValueError(f"{text!r} is no HOST[:PORT]")
    return Target(host, number, timeout)


def connect(target: Target) -> socket.socket:
    """A connection; OSError where there is none to be had."""
    return socket.create_connection((target.host, target.port), target.timeout)


def converse(target: Target, sent: bytes, hang_up: bool = False) -> Heard:
    """Send these bytes, with ``hang_up`` a FIN after them, and hear the answer up to the server's own end."""
    started = time.monotonic()
    try:
        client = connect(target)
    except OSError:
        return Heard(b"", "unreachable", time.monotonic() - started)
    with client:
        with contextlib.suppress(OSError):  # a server may have seen enough before all of it is sent
            client.sendall(sent)
            if hang_up:
                client.shutdown(socket.SHUT_WR)
        return hear(client, started + target.timeout, started)


def hear(client: socket.socket, until: float, started: float) -> Heard:
    """Everything that the server says until then (``time.monotonic()``)."""
    data = bytearray()
    end: End = "closed"
    while True:
        client.settimeout(max(until - time.monotonic(), 0.001))
        try:
            more = client.recv(4096)
        except TimeoutError:
            end = "silent"
        except OSError as error:
            end = "reset" if error.errno in (errno.ECONNRESET, errno.EPIPE) else "closed"
        else:
            data += more
            if more and len(data) <= MOST_BYTES and time.monotonic() < until:
                continue
            if more:
                end = "cut" if len(data) > MOST_BYTES else "silent"
        return Heard(bytes(data), end, time.monotonic() - started)
