"""HTTP connections with a deadline, optionally to public addresses only.

The timeout of requests applies to each read, not to their sum: a server that sends one byte a second never exceeds it.
So every read of a status line, headers or body waits no longer than the time that remains until the deadline of its
thread; so do name resolution and all connection attempts together. Only this module and ``http`` import requests.
"""

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import requests.adapters
import urllib3

from fingerd.net.addresses import is_public, parse_address, parse_host
from fingerd.net.deadline import remaining
from fingerd.net.resolver import look_up, numeric_endpoints
from fingerd.net.stream import Endpoint, connect
from fingerd.net.tls import client_context

MAX_INTERIM_ANSWERS = 100  # before the final one
MAX_LINE_BYTES = 1 << 16  # of a header or a chunk size
REDIRECT_CLIENT = "web"  # the client of the lookups for redirects to other hosts, which share one client's limit

_fetch = threading.local()  # .deadline: of the page that this thread fetches, in time.monotonic() seconds


def set_deadline(deadline: float) -> None:
    """Set the deadline of what this thread fetches next, in ``time.monotonic()`` seconds."""
    _fetch.deadline = deadline


def remaining_seconds() -> float:
    """Return the seconds until this thread's deadline; raise TimeoutError if it has passed."""
    return remaining(_fetch.deadline)


class _DeadlineReader(io.RawIOBase):
    """The read side of a connection, which waits no longer than the deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the connection open until this reader is closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(remaining_seconds())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedReader(io.BufferedReader):
    """Refuses to read until the end of the stream: http.client does so for a chunk of size -1."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            raise ValueError("a chunk without a size")
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(MAX_LINE_BYTES if size is None or size < 0 else size)


class _Response(http.client.HTTPResponse):
    """A response that is read by the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = _BoundedReader(_DeadlineReader(sock))

    def _read_status(self) -> tuple[str, int, str]:
        """The status line of the final answer; interim ones, of which http.client knows 100 only, are skipped."""
        for _ in range(MAX_INTERIM_ANSWERS + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
            if not 100 <= status < 200 or status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim answers")

    def begin(self) -> None:
        """Read the headers; HTTPException for a body that is not as it is, or in chunks."""
        super().begin()
        lines = self.headers.get_all("Transfer-Encoding", ())
        codings = [coding.strip().lower() for line in lines for coding in line.split(",")]
        codings = [coding for coding in codings if coding not in ("", "identity")]
        if codings not in ([], ["chunked"]):
            raise http.client.HTTPException("a transfer coding that was not requested")
        if codings and not self.chunked:  # http.client recognizes one spelling only
            self.chunked, self.chunk_left, self.length = True, None, None


class _HTTPConnection(urllib3.connection.HTTPConnection):
    """A connection that is made by the deadline; if ``public_only``, to a public address."""

    response_class = _Response
    public_only = False

    def _new_conn(self) -> socket.socket:
        """Return a connected socket; raise TimeoutError past the deadline, NewConnectionError for other failures.

        The name is resolved here only, so the address that was checked is the one that is connected to.
        """
        host = self.host.strip("[]")
        try:
            client = REDIRECT_CLIENT if self.public_only else f"{REDIRECT_CLIENT} {host}"
            endpoints = _endpoints(host, self.port, client)
            if self.public_only:
                endpoints = [endpoint for endpoint in endpoints if is_public(parse_address(str(endpoint[1][0])))]
            if not endpoints:
                raise OSError(f"{host} has no {'public ' if self.public_only else ''}address")
            sock = connect(endpoints, _fetch.deadline, self.socket_options or ())
        except TimeoutError:
            raise
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error
        sock.settimeout(max(_fetch.deadline - time.monotonic(), 0.001))  # for the TLS handshake and for sending
        return sock


class _HTTPSConnection(_HTTPConnection, urllib3.connection.HTTPSConnection):
    """The same with TLS; requests would trust its own list of CAs."""

    tls_context: Callable[[], ssl.SSLContext]

    def connect(self) -> None:
        self.ssl_context = self.tls_context()
        self.cert_reqs = self.ssl_context.verify_mode
        self.ca_certs = self.ca_cert_dir = self.ca_cert_data = None
        super().connect()


class _PublicHTTPConnection(_HTTPConnection):
    public_only = True


class _PublicHTTPSConnection(_HTTPSConnection):
    public_only = True


def _endpoints(host: str, port: int, client: str) -> Sequence[Endpoint]:
    """Return the host's endpoints by the deadline; raise OSError if it has no address."""
    with contextlib.suppress(socket.gaierror, ValueError):  # not an address in any spelling that the resolver reads
        return numeric_endpoints(host, port)
    try:
        name = parse_host(host)
    except ValueError as error:
        raise OSError(f"{host} is {error}") from error
    found = look_up(str(name), port, client, _fetch.deadline)
    return [endpoint for address in found for endpoint in numeric_endpoints(str(address), port)]


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """Fetches over connections that keep to the deadline; if ``public_only``, to public addresses only.

    ``tls_context`` is called for each connection by https.
    """

    def __init__(
        self, public_only: bool, pool_maxsize: int, tls_context: Callable[[], ssl.SSLContext] = client_context
    ) -> None:
        super().__init__(pool_maxsize=pool_maxsize)
        http_class = _PublicHTTPConnection if public_only else _HTTPConnection
        https_base = _PublicHTTPSConnection if public_only else _HTTPSConnection
        https_class = type("_HTTPSConnection", (https_base,), {"tls_context": staticmethod(tls_context)})
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("_HTTPPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": http_class}),
            "https": type("_HTTPSPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": https_class}),
        }

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing: ``tls_context`` has the certificates. The file of CAs that requests asks for may be missing."""

    def close(self) -> None:
        """Close the idle connections now: urllib3 2 leaves that to the garbage collector."""
        pools = self.poolmanager.pools
        for pool in [pools[key] for key in pools.keys()]:  # noqa: SIM118 - it is not iterable
            pool.close()
        super().close()
