"""Connections to LDAP servers, with a deadline for each operation.

ldap3 encodes the requests and decodes the responses. The sockets are ours: ldap3's timeout is for each read and not for
the whole response, its servers share their state among threads, and how it checks a certificate depends on the version
of Python.
"""

import math
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import ldap3
from ldap3.core.exceptions import LDAPException

from fingerd.backends.ldap.pool import ConnectionLostError
from fingerd.backends.ldap.schema import Entry, Schema
from fingerd.backends.ldap.server_url import LdapServer
from fingerd.config.system_options import Secret
from fingerd.errors import BackendError
from fingerd.net.resolver import endpoints_of
from fingerd.net.stream import DeadlineSocket, cause_of, connect
from fingerd.text import one_line, read_text

SCOPES: Mapping[str, Literal["SUBTREE", "LEVEL", "BASE"]] = {"subtree": "SUBTREE", "one": "LEVEL", "base": "BASE"}

_SUCCESS = (0,)  # result codes (RFC 4511 4.1.9)
_SUCCESS_OR_SIZE_LIMIT = (0, 4)
_UNAVAILABLE = (51, 52)  # busy, unavailable: another server may be able to answer
_START_TLS = "1.3.6.1.4.1.1466.20037"  # RFC 4511 4.14
_PAGED_RESULTS = "1.2.840.113556.1.4.319"  # RFC 2696

_STANDARD_SCHEMA = Schema()

_DUMMY_SERVER = ldap3.Server("localhost", get_info=ldap3.NONE)  # ldap3 requires one; it is never connected to


@dataclass(frozen=True, slots=True)
class Search:
    """A search request: which entries, which of their attributes, and how many in all or in each page; 0: all."""

    base: str
    scope: str  # a key of SCOPES
    filter: str
    attributes: tuple[str, ...]
    size_limit: int = 0
    page_size: int = 0


class Page(NamedTuple):
    """Some entries, and the cookie of the next page; empty after the last one."""

    entries: Sequence[Entry]
    cookie: bytes


Schemas = dict[LdapServer, Schema]  # of the servers that had to be asked for theirs


class LdapConnection:
    """A connection to an LDAP server, used by one thread at a time; all connections of a backend share ``schemas``."""

    def __init__(self, server: LdapServer, stream: DeadlineSocket, schemas: Schemas) -> None:
        self._server = server
        self._stream = stream
        self._schemas = schemas
        self._ldap = ldap3.Connection(
            _DUMMY_SERVER, auto_referrals=False, auto_range=False, check_names=False, return_empty_attributes=False
        )
        # As ldap3's open() does, except that it would create the socket.
        self._ldap.socket = self._stream
        self._ldap.closed, self._ldap.listening = False, True
        self._ldap.strategy._outstanding = {}

    def encrypt(self, context: ssl.SSLContext, deadline: float) -> None:
        """Start TLS, for ldap:// with a StartTLS request; OSError if that fails, BackendError if the server refuses."""
        self._stream.start_answer(deadline)
        if self._server.scheme == "ldap":
            self._run(deadline, _SUCCESS, self._ldap.extended, _START_TLS)
        self._stream.encrypt(context, self._server.host)

    def bind(self, dn: str, password: Secret, deadline: float) -> None:
        """Authenticate; BackendError if the server rejects the password."""
        self._ldap.user, self._ldap.password, self._ldap.authentication = dn, password.text, ldap3.SIMPLE
        self._run(deadline, _SUCCESS, self._ldap.bind, read_server_info=False)

    def search(self, deadline: float, search: Search, cookie: bytes = b"") -> Page:
        """The first page, or the one that a cookie names. ConnectionLostError if it fails, BackendError if refused.

        The attributes of the entries have the names by which they were requested.
        """
        page = self._search(deadline, search, cookie)
        schema = _STANDARD_SCHEMA
        if not all(schema.explains(search.attributes, entry) for entry in page.entries):
            schema = self._schema(search.base, deadline)
        return page._replace(entries=[schema.by_requested_name(search.attributes, entry) for entry in page.entries])

    def _schema(self, base: str, deadline: float) -> Schema:
        """The schema of the server; the standard one if the server does not disclose its own."""
        if self._server not in self._schemas:
            names = self._values(deadline, base, "objectClass=*", "subschemaSubentry")
            descriptions = self._values(deadline, names[0], "objectClass=subschema", "attributeTypes") if names else ()
            self._schemas[self._server] = Schema(descriptions)
        return self._schemas[self._server]

    def _values(self, deadline: float, name: str, condition: str, attribute: str) -> Sequence[str]:
        """The values of an attribute of one entry; none if the server refuses."""
        try:
            page = self._search(deadline, Search(name, "base", f"({condition})", (attribute,)))
        except ConnectionLostError:
            raise
        except BackendError:
            return ()
        return [read_text(value) for entry in page.entries for value in entry.get(attribute.lower(), ())]

    def _search(self, deadline: float, search: Search, cookie: bytes = b"") -> Page:
        """As search(), but with the names of attributes that the server returns, in lower case."""
        result = self._run(
            deadline,
            _SUCCESS_OR_SIZE_LIMIT if search.size_limit else _SUCCESS,
            self._ldap.search,
            search.base,
            search.filter,
            SCOPES[search.scope],
            ldap3.DEREF_NEVER,
            search.attributes,
            size_limit=search.size_limit,
            time_limit=max(1, math.ceil(deadline - time.monotonic())),
            paged_size=search.page_size or None,
            paged_cookie=cookie or None,
        )
        entries = [
            {name.lower(): values for name, values in found["raw_attributes"].items() if values}
            for found in self._ldap.response or ()
            if found["type"] == "searchResEntry"  # referrals are not followed
        ]
        control = (result.get("controls") or {}).get(_PAGED_RESULTS)
        return Page(entries, control["value"]["cookie"] if control else b"")

    def _run(
        self, deadline: float, accepted: Sequence[int], operation: Callable[..., Any], *args: Any, **options: Any
    ) -> Mapping[str, Any]:
        """The result of an operation of ldap3; BackendError or ConnectionLostError for a code that is not accepted."""
        self._stream.start_answer(deadline)
        try:
            operation(*args, **options)
            result: Mapping[str, Any] = dict(self._ldap.result)
        except Exception as error:  # ldap3 raises exceptions of any type for a malformed response
            raise ConnectionLostError(f"ldap {self._server}: {_cause_of(self._stream.failure or error)}") from error
        if result["result"] in accepted:
            return result
        refusal = one_line(f"{result['description']}: {result['message']}".removesuffix(": "))
        kind = ConnectionLostError if result["result"] in _UNAVAILABLE else BackendError
        raise kind(f"ldap {self._server}: {refusal}")

    def close(self) -> None:
        """Close the connection without an unbind request: the server may be stuck."""
        self._stream.close()


def open_connection(
    server: LdapServer,
    deadline: float,
    *,
    schemas: Schemas,
    context: ssl.SSLContext | None,
    bind_dn: str | None,
    password: Secret | None,
) -> LdapConnection:
    """A connection for searches, encrypted with ``context``, anonymous without ``bind_dn``; raises as search()."""
    try:
        stream = DeadlineSocket(connect(endpoints_of(server.host, server.port, deadline), deadline), deadline)
        connection = LdapConnection(server, stream, schemas)
        try:
            if context is not None:
                connection.encrypt(context, deadline)
            if bind_dn is not None and password is not None:
                connection.bind(bind_dn, password, deadline)
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        raise ConnectionLostError(f"ldap {server}: {cause_of(error)}") from error
    return connection


def _cause_of(error: Exception) -> str:
    if isinstance(error, OSError):
        return cause_of(error)
    if isinstance(error, LDAPException):
        return one_line(str(error))
    return f"malformed response ({type(error).__name__})"
