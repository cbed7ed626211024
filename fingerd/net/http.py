"""Web pages by their addresses, with a deadline, by the connections of ``timed``.

Where a redirect leads to another host, nothing of the configured headers goes
with it, and only public addresses are connected to: those that are connected
to are looked at, not those that the name had before.
"""

import encodings.idna  # noqa: F401 - found by name when a host is looked up, which is too late in a chroot
import http.cookiejar
import re
import socket
import time
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.net.http_transport import PublicAdapter, TimedAdapter, keep_to, left

MOST_REDIRECTS = 5
CA_BUNDLE = str(requests.utils.DEFAULT_CA_BUNDLE_PATH)
KEPT_CONNECTIONS = 32  # for each host; as many as there are threads to use them
BACK_OFF_SECONDS = 0.1  # before the first retry, and twice as long before each further one

FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)  # all that a fetch can raise


_PASSWORD = re.compile("//[^/?#]*@")


def origin(address: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an address; ValueError for a port that is none."""
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _is_same_host(address: str, target: str) -> bool:
    here, there = urlsplit(address), urlsplit(target)
    same = origin(target) in (origin(address), ("https", here.hostname, 443))
    return same and there.username in (None, here.username) and there.password in (None, here.password)


def check_header(name: str, value: str) -> None:
    """ValueError, which does not show the value, for what cannot be sent as a header."""
    try:
        requests.utils.check_header_validity((name, value))
        f"{name}: {value}".encode("latin-1")
    except ValueError:
        raise ValueError("cannot be sent as a header") from None


def without_password(address: str) -> str:
    """Scheme, host and path of the address, as a log may show them: no password, and no query, which may hold a key."""
    return re.split("[?#]", _PASSWORD.sub("//", address), maxsplit=1)[0]


def cause_of(error: BaseException) -> str:
    """What went wrong at the bottom of what requests and urllib3 made of it, in a few words."""
    error = _bottom(error)
    timeouts = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    if isinstance(error, timeouts) and not isinstance(error, urllib3.exceptions.NewConnectionError):
        return DEADLINE_PASSED
    said = re.sub(r"^(<[^>]*>|[\w.]+\([^)]*\)): ", "", str(error))  # urllib3 begins with its connection object
    return _PASSWORD.sub("//", said) or type(error).__name__


def _bottom(error: BaseException) -> BaseException:
    while inner := next((part for part in (getattr(error, "reason", None), *error.args) if _is_error(part)), None):
        error = inner
    return error


def _is_no_connection(error: BaseException) -> bool:
    """Whether there was no connection, or the server closed it before it answered anything: no fault of the query."""
    return isinstance(_bottom(error), urllib3.exceptions.NewConnectionError | ConnectionError | socket.gaierror)


def _is_error(part: object) -> bool:
    return isinstance(part, Exception)


class Fetcher:
    """Fetches pages over kept connections, for all threads. Keeps no cookies, uses no proxy, follows few redirects.

    ``headers`` are for the hosts of the addresses that are asked for, and no
    others; so is ``verify``, whether certificates are checked, or a file of
    the CAs that count. After a failed connection it is tried again ``retries``
    times, as far as there is time.
    """

    def __init__(self, headers: Mapping[str, str], verify: bool | str = True, retries: int = 0) -> None:
        self._headers = dict(headers)
        self._verify = verify
        self._retries = retries
        self._session = _session(TimedAdapter)
        self._abroad = _session(PublicAdapter)  # with connections of its own: none to a host that was not looked at
        if verify is False:  # said once, when the configuration is read, and not with every page
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def get(self, address: str, deadline: float) -> requests.Response:
        """The response, its body still to be read by this thread; one of FAILURES where there is none by then.

        Redirects are followed to the same host and port, or to its https; and
        to other hosts at public addresses, without the headers, and never from
        https to http.
        """
        keep_to(deadline)
        for attempt in range(self._retries + 1):
            try:
                return self._get(address)
            except FAILURES as error:
                pause = BACK_OFF_SECONDS * 2**attempt
                if attempt == self._retries or not _is_no_connection(error) or deadline - time.monotonic() <= pause:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _get(self, address: str) -> requests.Response:
        is_home = True
        for _ in range(MOST_REDIRECTS + 1):
            response = self._ask(address, is_home)
            if not response.is_redirect:
                response.raw.enforce_content_length = True  # not by itself before urllib3 2
                return response
            response.close()
            target = urljoin(address, _location(response))
            named = without_password(target)
            if urlsplit(target).scheme not in ("http", "https"):
                raise requests.exceptions.InvalidURL(f"redirected to another host: {named}")
            if urlsplit(address).scheme == "https" and urlsplit(target).scheme == "http":
                raise requests.exceptions.InvalidURL(f"redirected from https to http: {named}")
            is_home = is_home and _is_same_host(address, target)  # once it has left, it does not come back
            address = target
        raise requests.exceptions.TooManyRedirects("redirected too often")

    def _ask(self, address: str, is_home: bool) -> requests.Response:
        session = self._session if is_home else self._abroad
        headers, verify = (self._headers, self._verify) if is_home else ({}, True)
        try:
            return session.get(
                address, headers=headers, stream=True, timeout=left(), allow_redirects=False, verify=verify
            )
        except FAILURES as error:
            if is_home:
                raise
            what = f"redirected to another host: {without_password(address)}: {cause_of(error)}"
            raise requests.exceptions.InvalidURL(what) from error

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()
        self._abroad.close()


def _location(response: requests.Response) -> str:
    """Where a redirect leads; servers write it in UTF-8 too, which requests reads as Latin-1."""
    location = response.headers["Location"]
    try:
        return location.encode("latin-1").decode()
    except UnicodeError:
        return location


def _session(adapter: type[TimedAdapter]) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # proxies and .netrc of whoever started the daemon
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    session.headers.update({"User-Agent": "fingerd", "Accept-Encoding": "identity"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter(pool_maxsize=KEPT_CONNECTIONS))
    return session
