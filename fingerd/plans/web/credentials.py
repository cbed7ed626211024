"""Who may change a plan: whoever has a token for it. Guessing is slowed down by client. For threads."""

import logging
import os
import threading
import time
from collections import OrderedDict, deque
from http import HTTPStatus

from fingerd.errors import ConfigError
from fingerd.http.request import HttpError
from fingerd.plans.web.tokens import Token, find_token, read_tokens

log = logging.getLogger(__name__)

MAX_FAILURES = 10  # of one client
FAILURE_SECONDS = 60.0  # in which they count
MAX_CLIENTS = 10_000  # whose failures are kept, 200 bytes each; that of the longest ago is forgotten first

CHALLENGE = 'Bearer realm="plan"'


def unauthorized(text: str, outcome: str, challenge: str = CHALLENGE) -> HttpError:
    """The error for a request without a token that counts (RFC 9110 11.6.1)."""
    return HttpError(HTTPStatus.UNAUTHORIZED, text, outcome, ("WWW-Authenticate", challenge))


class TokenFile:
    """The tokens of a file, which is read again when it has changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read_as: tuple[int, ...] | None = None
        self._tokens: tuple[Token, ...] = ()

    def read(self) -> tuple[Token, ...]:
        """The tokens that there are now. ConfigError if the file cannot be read. Call it under a lock."""
        try:
            status = os.stat(self._path)
            version: tuple[int, ...] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        except FileNotFoundError:
            version = ()
        except OSError as error:
            raise ConfigError([f"{self._path}: {error.strerror}"]) from error
        if version != self._read_as:
            self._tokens, self._read_as = read_tokens(self._path) if version else (), version
        return self._tokens


class Failures:
    """When each client has last presented a token that there is not."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, client: str, now: float) -> None:
        """HttpError (429) if the client has failed too often."""
        times = self._of.get(client)
        if times and len(times) == MAX_FAILURES and times[0] > now - FAILURE_SECONDS:
            raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong tokens, try again later", "limited")

    def add(self, client: str, now: float) -> None:
        """The client has failed."""
        self._of.setdefault(client, deque(maxlen=MAX_FAILURES)).append(now)
        self._of.move_to_end(client)
        if len(self._of) > MAX_CLIENTS:
            self._of.popitem(last=False)


class Credentials:
    """Finds the person whose token a request has, for one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = Failures()
        self._file: TokenFile | None = None

    def use(self, path: str | None) -> None:
        """Take the tokens from this file from now on."""
        with self._lock:
            self._file = TokenFile(path) if path else None

    def person_of(self, token: str, client: str) -> str:
        """Whose token it is. HttpError (401) for one that there is not, and (429) after too many of them."""
        with self._lock:  # so that requests at the same time do not have more attempts
            now = time.monotonic()
            self._failures.check(client, now)
            found = find_token(token, self._file.read() if self._file else ())
            if not found:
                self._failures.add(client, now)
                what = f'{CHALLENGE}, error="invalid_token"'  # RFC 6750 3.1
                raise unauthorized("There is no such token, or it was revoked", "denied", what)
            return found.name
