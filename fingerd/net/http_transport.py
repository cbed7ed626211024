"""Connections to web servers: with a deadline, and some to public addresses only.

requests bounds each wait for bytes, not their sum: a server that sends one
byte a second is never too slow for it. So every read here, of a status line,
of headers and of the body, waits no longer than what is left of the deadline
that its thread has set; and so do names that are looked up, and all addresses
of one together. Only this module and ``fetch`` import requests.
"""

import io
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import requests.adapters
import urllib3

from fingerd.net.addresses import is_public, parse_address, parse_host
from fingerd.net.deadline import remaining
from fingerd.net.resolver import look_up
from fingerd.net.stream import Endpoint, connect

LONGEST_LINE = 1 << 16  # bytes, of a header or of a chunk's size
ABROAD = "web"  # who looks up the names that redirects lead to: they have one share of the lookups, all together

_due = threading.local()  # .at: the deadline of the page that this thread is fetching, in time.monotonic() seconds


def keep_to(deadline: float) -> None:
    """Let what this thread fetches from now on be there by then, in time.monotonic() seconds."""
    _due.at = deadline


def left() -> float:
    """Seconds until the deadline; TimeoutError when it is over."""
    return remaining(_due.at)


class _TimedReader(io.RawIOBase):
    """The read side of a connection; waits until the deadline, and no longer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the connection open until this reader is closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedSocket:
    """A connected socket whose ``makefile``, which http.client reads from, keeps to the deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return _Bounded(_TimedReader(self._sock))


class _Bounded(io.BufferedReader):
    """Reads no more than so many bytes: http.client takes a chunk of the size -1 for all that comes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            raise ValueError("a chunk without a size")
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(LONGEST_LINE if size is None or size < 0 else size)


class _TimedHTTPConnection(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> Any:
        return _connect(self, is_abroad=False)

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _TimedSocket(self.sock)


class _TimedHTTPSConnection(urllib3.connection.HTTPSConnection):
    def _new_conn(self) -> Any:
        return _connect(self, is_abroad=False)

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _TimedSocket(self.sock)


class _TimedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _TimedHTTPConnection


class _TimedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPSConnection


class _PublicHTTPConnection(_TimedHTTPConnection):
    def _new_conn(self) -> Any:
        return _connect(self, is_abroad=True)


class _PublicHTTPSConnection(_TimedHTTPSConnection):
    def _new_conn(self) -> Any:
        return _connect(self, is_abroad=True)


class _PublicHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PublicHTTPConnection


class _PublicHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPSConnection


def _connect(connection: Any, is_abroad: bool) -> socket.socket:
    """A connected socket, for one of the four above; abroad to a public address only, which is looked up here only.

    TimeoutError where the time is over, NewConnectionError where there is no connection.
    """
    host, port = connection.host.strip("[]"), connection.port
    try:
        found = _endpoints(host, port, ABROAD if is_abroad else f"{ABROAD} {host}")
        endpoints = [endpoint for endpoint in found if not is_abroad or is_public(parse_address(str(endpoint[1][0])))]
        if not endpoints:
            raise OSError(f"{host} has no {'public ' if is_abroad else ''}address")
        sock = connect(endpoints, _due.at, connection.socket_options or ())
        sock.settimeout(max(_due.at - time.monotonic(), 0.001))  # for TLS, and what is sent
        return sock
    except TimeoutError:
        raise
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error


def _endpoints(host: str, port: int, client: str) -> Sequence[Endpoint]:
    """Where to connect for this host, by the deadline; OSError where it has no address."""
    try:  # an address, in whatever way it is written: the system's resolver knows it without asking anybody
        return _numeric(host, port)
    except (socket.gaierror, ValueError):
        pass
    try:
        name = parse_host(host)
    except ValueError as error:
        raise OSError(f"{host} is {error}") from error
    found = look_up(str(name), port, client, _due.at)
    return [endpoint for address in found for endpoint in _numeric(str(address), port)]


def _numeric(address: str, port: int) -> Sequence[Endpoint]:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [(family, target) for family, _, _, _, target in found]


class TimedAdapter(requests.adapters.HTTPAdapter):
    """Fetches by connections that keep to the deadline."""

    pools = {"http": _TimedHTTPPool, "https": _TimedHTTPSPool}  # noqa: RUF012 - never changed

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pools

    def close(self) -> None:
        """Close the kept connections now: urllib3 2 leaves that to the garbage collector."""
        pools = self.poolmanager.pools
        for pool in [pools[key] for key in pools.keys()]:  # noqa: SIM118 - it cannot be iterated over
            pool.close()
        super().close()


class PublicAdapter(TimedAdapter):
    """The same, by connections to public addresses only: the address that was looked at is the one connected to."""

    pools = {"http": _PublicHTTPPool, "https": _PublicHTTPSPool}  # noqa: RUF012 - never changed
