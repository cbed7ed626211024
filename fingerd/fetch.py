"""Web pages with a deadline: the only importer of requests.

requests bounds each wait for bytes, not their sum: a server that sends one
byte a second is never too slow for it. So every read here, of a status line,
of headers and of the body, waits no longer than what is left of the deadline
that its thread has set.
"""

import encodings.idna  # noqa: F401 - found by name when a host is looked up, which is too late in a chroot
import http.cookiejar
import io
import re
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import urllib3

LATE = "not done in time"
MOST_REDIRECTS = 5
CA_BUNDLE = str(requests.utils.DEFAULT_CA_BUNDLE_PATH)
KEPT_CONNECTIONS = 32  # for each host; as many as there are threads to use them

FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)  # all that a fetch can raise

_due = threading.local()  # .at: the deadline of the page that this thread is fetching, in time.monotonic() seconds


def _left() -> float:
    """Seconds until the deadline; TimeoutError when it is over."""
    left: float = _due.at - time.monotonic()
    if left <= 0:
        raise TimeoutError(LATE)
    return left


class _TimedReader(io.RawIOBase):
    """The read side of a connection; waits until the deadline, and no longer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the connection open until this reader is closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left())
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
        return io.BufferedReader(_TimedReader(self._sock))


class _TimedHTTPConnection(urllib3.connection.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _TimedSocket(self.sock)


class _TimedHTTPSConnection(urllib3.connection.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _TimedSocket(self.sock)


class _TimedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _TimedHTTPConnection


class _TimedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPSConnection


class _TimedAdapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _TimedHTTPPool, "https": _TimedHTTPSPool}

    def close(self) -> None:
        """Close the kept connections now: urllib3 2 leaves that to the garbage collector."""
        pools = self.poolmanager.pools
        for pool in [pools[key] for key in pools.keys()]:  # noqa: SIM118 - it cannot be iterated over
            pool.close()
        super().close()


def _is_same_host(address: str, target: str) -> bool:
    here, there = urlsplit(address), urlsplit(target)
    same = (here.scheme, here.port) == (there.scheme, there.port) or (there.scheme, there.port) == ("https", None)
    same_name = there.username in (None, here.username) and there.password in (None, here.password)
    return same and same_name and here.hostname == there.hostname


def without_password(address: str) -> str:
    """The address as a log may show it."""
    return re.sub("//[^/@]*@", "//", address)


def cause_of(error: BaseException) -> str:
    """What went wrong at the bottom of what requests and urllib3 made of it, in a few words."""
    while inner := next((part for part in (getattr(error, "reason", None), *error.args) if _is_error(part)), None):
        error = inner
    timeouts = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    if isinstance(error, timeouts) and not isinstance(error, urllib3.exceptions.NewConnectionError):
        return LATE
    said = re.sub(r"^(<[^>]*>|[\w.]+\([^)]*\)): ", "", str(error))  # urllib3 begins with its connection object
    return said or type(error).__name__


def _is_error(part: object) -> bool:
    return isinstance(part, Exception)


class Fetcher:
    """Fetches pages over kept connections, for all threads. Keeps no cookies, uses no proxy, follows few redirects."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._session = requests.Session()
        self._session.trust_env = False  # proxies and .netrc of whoever started the daemon
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
        self._session.headers.update({"User-Agent": "fingerd", "Accept-Encoding": "identity"})
        self._session.headers.update(headers)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _TimedAdapter(pool_maxsize=KEPT_CONNECTIONS))

    def get(self, address: str, deadline: float) -> requests.Response:
        """The response, its body still to be read by this thread; one of FAILURES where there is none by then.

        Redirects are followed to the same host and port, or to its https.
        """
        _due.at = deadline
        for _ in range(MOST_REDIRECTS + 1):
            response = self._session.get(address, stream=True, timeout=_left(), allow_redirects=False)
            if not response.is_redirect:
                response.raw.enforce_content_length = True  # not by itself before urllib3 2
                return response
            response.close()
            target = urljoin(address, response.headers["Location"])
            if not _is_same_host(address, target):
                raise requests.exceptions.InvalidURL(f"redirected to another host: {without_password(target)}")
            address = target
        raise requests.exceptions.TooManyRedirects("redirected too often")

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()
