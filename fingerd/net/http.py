"""Fetches web pages with a deadline, over the connections of ``http_transport``.

On a redirect to another host none of the configured headers is sent, and only public addresses are connected to. The
address that is checked is the one that is connected to: the name is not resolved a second time.
"""

import contextlib
import http.cookiejar
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.net.http_transport import DeadlineAdapter, remaining_seconds, set_deadline
from fingerd.net.tls import client_context
from fingerd.net.urls import split_url

MAX_REDIRECTS = 5
POOL_CONNECTIONS = 32  # idle connections per host; as many as there are threads to use them
BACK_OFF_SECONDS = 0.1  # before the first retry; doubled before each further one

FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)  # all that a fetch can raise

_PASSWORD = re.compile("//[^/?#]*@")


def origin(address: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of an address; raise ValueError for an invalid host or port."""
    parts = split_url(address)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _may_send_headers(address: str, target: str) -> bool:
    """Whether a redirect's target has the same origin, or its https origin, and no other user."""
    here, there = urlsplit(address), urlsplit(target)
    same_origin = origin(target) in (origin(address), ("https", here.hostname, 443))
    return same_origin and there.username in (None, here.username) and there.password in (None, here.password)


def check_header(name: str, value: str) -> None:
    """Raise ValueError, without the value in its text, for an invalid header."""
    try:
        requests.utils.check_header_validity((name, value))
        f"{name}: {value}".encode("latin-1")
    except ValueError:
        raise ValueError("is not a valid header") from None


def without_password(address: str) -> str:
    """Return scheme, host and path of the address for a log: no password, and no query, which may hold a key."""
    return re.split("[?#]", _PASSWORD.sub("//", address), maxsplit=1)[0]


def cause_of(error: BaseException) -> str:
    """Return the innermost cause of an exception of requests or urllib3, as a short text for the log."""
    error = _innermost(error)
    timeouts = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    if isinstance(error, timeouts) and not isinstance(error, urllib3.exceptions.NewConnectionError):
        return DEADLINE_PASSED
    message = re.sub(r"^(<[^>]*>|[\w.]+\([^)]*\)): ", "", str(error))  # urllib3 begins with its connection object
    message = re.sub("[a-z]+://.*", lambda url: without_password(url[0]), message, flags=re.DOTALL)
    return message or type(error).__name__


def _innermost(error: BaseException) -> BaseException:
    while inner := next(
        (part for part in (getattr(error, "reason", None), *error.args) if isinstance(part, Exception)), None
    ):
        error = inner
    return error


def _may_retry(error: BaseException) -> bool:
    """Whether there was no connection, or the server closed it before it answered."""
    return isinstance(_innermost(error), urllib3.exceptions.NewConnectionError | ConnectionError | socket.gaierror)


class Fetcher:
    """Fetches pages over persistent connections; thread-safe. No cookies, no proxy, at most MAX_REDIRECTS redirects.

    ``headers`` are sent to the hosts of the requested addresses only. For these hosts ``verify`` tells whether
    certificates are verified, or names a file of the CAs to trust instead of the system's. A failed connection is
    retried ``retries`` times within the deadline.
    """

    def __init__(self, headers: Mapping[str, str], verify: bool | str = True, retries: int = 0) -> None:
        self._retries = retries
        self._verify = verify
        self._session = _session(lambda: self.tls_context, public_only=False)
        self._session.headers.update(headers)
        self._session.verify = bool(verify)
        # With connections of its own: those above may lead to any address.
        self._public_session = _session(lambda: self._public_tls_context, public_only=True)
        if verify is False:  # warned of when the configuration is read, not for each page
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    @cached_property
    def tls_context(self) -> ssl.SSLContext:
        """For the hosts of the requested addresses; ValueError for an invalid file of CAs."""
        return client_context(self._verify if isinstance(self._verify, str) else None, bool(self._verify))

    @cached_property
    def _public_tls_context(self) -> ssl.SSLContext:
        """For other hosts."""
        return self.tls_context if self._verify is True else client_context()

    def get(self, address: str, deadline: float) -> requests.Response:
        """Return the response, whose body this thread must read; raise one of FAILURES if there is none by then.

        Redirects are followed to the same host and port, or to its https; to other hosts without the headers, and at
        public addresses only; never from https to http.
        """
        set_deadline(deadline)
        for attempt in range(self._retries):
            try:
                return self._get(address)
            except FAILURES as error:
                pause = BACK_OFF_SECONDS * 2**attempt
                if not _may_retry(error) or deadline - time.monotonic() <= pause:
                    raise
                time.sleep(pause)
        return self._get(address)

    def _get(self, address: str) -> requests.Response:
        same_origin = True
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(address, same_origin)
            if not response.is_redirect:
                response.raw.enforce_content_length = True  # not the default before urllib3 2
                return response
            response.close()
            target = urljoin(address, _location(response))
            shown = without_password(target)
            if urlsplit(target).scheme not in ("http", "https"):
                raise requests.exceptions.InvalidURL(f"redirected to another scheme: {shown}")
            if urlsplit(address).scheme == "https" and urlsplit(target).scheme == "http":
                raise requests.exceptions.InvalidURL(f"redirected from https to http: {shown}")
            same_origin = same_origin and _may_send_headers(address, target)  # once false, it stays false
            address = target
        raise requests.exceptions.TooManyRedirects("too many redirects")

    def _request(self, address: str, same_origin: bool) -> requests.Response:
        session = self._session if same_origin else self._public_session
        try:
            return session.get(address, stream=True, timeout=remaining_seconds(), allow_redirects=False)
        except FAILURES as error:
            if same_origin:
                raise
            message = f"redirected to another host: {without_password(address)}: {cause_of(error)}"
            raise requests.exceptions.InvalidURL(message) from error

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()
        self._public_session.close()


def _location(response: requests.Response) -> str:
    """Return the target of a redirect; some servers send it in UTF-8, which requests decodes as Latin-1."""
    location = response.headers["Location"]
    with contextlib.suppress(UnicodeError):
        return location.encode("latin-1").decode()
    return location


def _session(tls_context: Callable[[], ssl.SSLContext], public_only: bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxies and no .netrc of the user who started the daemon
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    session.headers.update({"User-Agent": "fingerd", "Accept-Encoding": "identity"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter(public_only, POOL_CONNECTIONS, tls_context))
    return session
