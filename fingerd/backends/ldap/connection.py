"""A directory server, asked over LDAP with a deadline: the only importer of ldap3.

ldap3 makes the requests here, and reads the answers. The sockets are ours:
its timeout is for each wait for bytes and not for their sum, its servers
share their state among threads, and how it checks a certificate depends on
the version of Python.
"""

import math
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.operation.search import compile_filter, parse_filter
from ldap3.utils.dn import parse_dn

from fingerd.backends.ldap.pool import LostError
from fingerd.backends.ldap.server_url import LdapServer
from fingerd.config.system_options import Secret
from fingerd.errors import BackendError
from fingerd.net.resolver import endpoints_of
from fingerd.net.stream import DeadlineSocket, cause_of, connect
from fingerd.text import one_line

SCOPES: Mapping[str, Literal["SUBTREE", "LEVEL", "BASE"]] = {"subtree": "SUBTREE", "one": "LEVEL", "base": "BASE"}

_SUCCESS = 0
_SIZE_LIMIT_EXCEEDED = 4
_GONE = (51, 52)  # busy, unavailable: another server may not be
_START_TLS = "1.3.6.1.4.1.1466.20037"  # RFC 4511 4.14
_PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696

_NOWHERE = ldap3.Server("localhost", get_info=ldap3.NONE)  # ldap3 wants one, and connects to none

Entry = Mapping[str, Sequence[bytes]]  # the values of each attribute, whose name is in small letters


def check_filter(text: str) -> None:
    """ValueError where this is no filter of RFC 4515."""
    try:
        parsed = parse_filter(text, None, True, True, None, False)  # type: ignore[no-untyped-call]
        compile_filter(parsed.elements[0])  # type: ignore[no-untyped-call]
    except Exception as error:  # ldap3 has no one kind of them
        raise ValueError(f"is no filter as RFC 4515 has them: {text}") from error


def check_name(text: str) -> None:
    """ValueError where this is no name of an entry (RFC 4514); nothing is the root."""
    try:
        if text:
            parse_dn(text)
    except Exception as error:
        raise ValueError(f"is no name of an entry: {text}") from error


def filter_value(text: str) -> str:
    """A text as the value in a filter (RFC 4515 3): every byte escaped, so that none of them means anything."""
    return "".join(f"\\{byte:02x}" for byte in text.encode())


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, below which entry, and which attributes of what is found are wanted."""

    base: str
    scope: str  # one of SCOPES
    filter: str
    attributes: tuple[str, ...]


class Page(NamedTuple):
    """Entries that were found, and where to go on; nothing at the end."""

    entries: Sequence[Entry]
    cookie: bytes


@dataclass(frozen=True, slots=True)
class Server:
    """How to connect to one server, and as whom: anonymously without ``bind_dn``."""

    address: LdapServer
    context: ssl.SSLContext | None  # what TLS is begun with, at once or by STARTTLS
    bind_dn: str | None
    password: Secret | None

    def connect(self, due: float) -> "Link":
        """A connection that is ready for searches; LostError where there is none by then, BackendError if refused."""
        try:
            endpoints = endpoints_of(self.address.host, self.address.port, due)
            link = Link(self.address, DeadlineSocket(connect(endpoints, due), due))
        except OSError as error:
            raise LostError(f"ldap {self.address}: {cause_of(error)}") from error
        try:
            if self.context is not None:
                link.encrypt(self.context, due)
            if self.bind_dn is not None and self.password is not None:
                link.bind(self.bind_dn, self.password, due)
        except BaseException:
            link.close()
            raise
        return link


class Link:
    """One connection to a directory server, for one thread at a time."""

    def __init__(self, address: LdapServer, stream: DeadlineSocket) -> None:
        self._address = address
        self._stream = stream
        self._ldap = ldap3.Connection(_NOWHERE, auto_referrals=False, auto_range=False, check_names=False)
        # What ldap3's open() does, but for making the socket.
        self._ldap.socket = self._stream
        self._ldap.closed, self._ldap.listening = False, True
        self._ldap.strategy._outstanding = {}

    def encrypt(self, context: ssl.SSLContext, due: float) -> None:
        """Begin TLS, which is asked for where it is not the server's habit; LostError where it does not come about."""
        self._stream.start_answer(due)
        if self._address.scheme == "ldap":
            self._do(due, self._ldap.extended, _START_TLS)
        try:
            self._stream.encrypt(context, self._address.host)
        except OSError as error:
            raise LostError(f"ldap {self._address}: {cause_of(error)}") from error

    def bind(self, name: str, password: Secret, due: float) -> None:
        """Say who asks; BackendError where the server does not believe it."""
        self._ldap.user, self._ldap.password, self._ldap.authentication = name, password.text, ldap3.SIMPLE
        self._do(due, self._ldap.bind, read_server_info=False)

    def search(self, search: Search, due: float, size: int = 0, page: int = 0, cookie: bytes = b"") -> Page:
        """The first ``size`` entries; or a ``page`` of so many, and the next one with its cookie.

        LostError where the connection or the server fails, BackendError where it refuses.
        """
        result = self._do(
            due,
            self._ldap.search,
            search.base,
            search.filter,
            SCOPES[search.scope],
            ldap3.DEREF_NEVER,
            search.attributes,
            size_limit=size,
            time_limit=max(1, math.ceil(due - time.monotonic())),
            paged_size=page or None,
            paged_cookie=cookie or None,
            accept=(_SUCCESS, _SIZE_LIMIT_EXCEEDED) if size else (_SUCCESS,),
        )
        entries = [
            {name.lower(): values or () for name, values in found["raw_attributes"].items()}
            for found in self._ldap.response or ()
            if found["type"] == "searchResEntry"  # and not a referral, which is not followed
        ]
        control = (result.get("controls") or {}).get(_PAGED_RESULTS)
        return Page(entries, control["value"]["cookie"] if control else b"")

    def _do(
        self,
        due: float,
        operation: Callable[..., Any],
        *args: Any,
        accept: tuple[int, ...] = (_SUCCESS,),
        **kwargs: Any,
    ) -> Mapping[str, Any]:
        """The result of an operation of ldap3."""
        self._stream.start_answer(due)
        try:
            operation(*args, **kwargs)
            result: Mapping[str, Any] = dict(self._ldap.result)
        except Exception as error:  # a server that talks nonsense makes ldap3 fail in any way
            raise LostError(f"ldap {self._address}: {_cause_of(self._stream.failure or error)}") from error
        if result["result"] in accept:
            return result
        said = one_line(f"{result['description']}: {result['message']}".removesuffix(": "))
        raise (LostError if result["result"] in _GONE else BackendError)(f"ldap {self._address}: {said}")

    def close(self) -> None:
        """Close it without a word: the server may be stuck."""
        self._stream.close()


def _cause_of(error: Exception) -> str:
    if isinstance(error, OSError):
        return cause_of(error)
    if isinstance(error, LDAPException):
        return one_line(str(error))
    return f"an answer that makes no sense ({type(error).__name__})"
