"""``type: ldap``: one search in an LDAP directory for every lookup.

The username is a value in the filter with every byte escaped, so that it cannot be a filter, a pattern or an attribute.
Servers compare without case, width and more; an entry counts only if a value that was compared is exactly the username.
Connections are pooled. Everything from connecting to the last byte of the response has one deadline.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from fingerd.backends import Backend, Lookup
from fingerd.backends.ldap.comparisons import Comparison, comparisons
from fingerd.backends.ldap.connection import LdapConnection, Schemas, Search, open_connection
from fingerd.backends.ldap.entries import EntryMapping
from fingerd.backends.ldap.filters import check_dn, check_filter, escape_value
from fingerd.backends.ldap.pool import Pool
from fingerd.backends.ldap.schema import Entry
from fingerd.backends.ldap.server_url import LdapServer, parse_server_url
from fingerd.config.system_options import SecretFile, read_path
from fingerd.config.values import Integer, Seconds
from fingerd.errors import BackendError, OptionError, option_errors
from fingerd.net.resolver import missing_for_names
from fingerd.net.stream import is_address
from fingerd.net.tls import client_context, missing_certificates
from fingerd.people import MAX_MATCHES, Person
from fingerd.people.mapping import LOGIN
from fingerd.text import is_one_of, is_text

PAGE_SIZE = 250  # entries of one page of a list; also how many entries a search by name examines
MAX_NAME_LENGTH = 1024  # characters; no login is longer, and servers close the connection on very long requests

_LIST_ATOMS = (LOGIN, "name", "office", "office_phone", "job")


@dataclass(frozen=True)
class Ldap(Backend):
    """Searches an LDAP directory, once for every lookup.

    In ``filter``, ``{user}`` is replaced by the username. ``fields`` maps atoms to attributes. ``list_filter`` finds
    the people of the user list, ``name_filter`` those whose full name contains ``{word}``.
    """

    url: tuple[str, ...] = field(repr=False)
    base: str
    filter: str = "(uid={user})"
    scope: Literal["subtree", "one", "base"] = "subtree"
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # overrides DEFAULT_FIELDS
    list_filter: str | None = None
    name_filter: str | None = None
    bind_dn: str | None = None
    password_file: SecretFile | None = None
    starttls: bool = False
    ca_file: Annotated[str, read_path] | None = None
    verify: bool = True
    timeout: Annotated[float, Seconds(0.1)] = 10  # for a whole lookup
    connections: Annotated[int, Integer(1, 1000)] = 32  # in use at once
    names: tuple[str, ...] | None = None  # nothing is asked for any other name; "weather:*" is all that begin so

    def __post_init__(self) -> None:
        for option, placeholder in (("filter", "{user}"), ("name_filter", "{word}"), ("list_filter", "")):
            with option_errors(option):
                check_filter(getattr(self, option), placeholder)
        with option_errors("base"):
            check_dn(self.base)
        self._check_servers()
        _ = self._pool, self._mapping, self._comparisons  # created now: a chroot has no certificates

    def _check_servers(self) -> None:
        if not self._servers:
            raise OptionError("is empty: give at least one server", "url")
        if (self.bind_dn is None) != (self.password_file is None):
            raise ValueError("bind_dn and password_file must be given together")
        if self.bind_dn == "":
            raise OptionError("is empty: omit it for anonymous access", "bind_dn")
        if self.starttls and any(server.scheme == "ldaps" for server in self._servers):
            raise OptionError("is for ldap:// only: ldaps:// is encrypted from the start", "starttls")
        for server in self._servers:
            if self.password_file and not (self._encrypts(server) or server.is_local):
                raise OptionError(f"would send the password to {server} unencrypted: use ldaps:// or starttls", "url")
        if self.ca_file and not any(map(self._encrypts, self._servers)):
            raise OptionError("is not used: no connection is encrypted", "ca_file")

    @cached_property
    def _servers(self) -> Sequence[LdapServer]:
        with option_errors("url"):
            return tuple(map(parse_server_url, self.url))

    @cached_property
    def _tls_context(self) -> ssl.SSLContext | None:
        """The TLS context with its CA certificates; None if nothing is encrypted."""
        if not any(map(self._encrypts, self._servers)):
            return None
        with option_errors("ca_file"):
            return client_context(self.ca_file, self.verify)

    @cached_property
    def _pool(self) -> Pool[LdapConnection]:
        schemas: Schemas = {}
        return Pool([self._connector(server, schemas) for server in self._servers], self.connections)

    def _connector(self, server: LdapServer, schemas: Schemas) -> Callable[[float], LdapConnection]:
        return partial(
            open_connection,
            server,
            schemas=schemas,
            context=self._tls_context if self._encrypts(server) else None,
            bind_dn=self.bind_dn,
            password=self.password_file,
        )

    @cached_property
    def _mapping(self) -> EntryMapping:
        return EntryMapping(self.fields)

    @cached_property
    def _comparisons(self) -> Sequence[Comparison]:
        return comparisons(self.filter)

    def _encrypts(self, server: LdapServer) -> bool:
        return server.scheme == "ldaps" or (self.starttls and server.scheme == "ldap")

    @property
    def searches_names(self) -> bool:
        """Whether ``name_filter`` is given."""
        return self.name_filter is not None

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The people that the filters find, the exact login first; BackendError if no server answers or one refuses.

        An entry without a login is a failure, too: its login cannot be compared with the username.
        """
        username = lookup.username
        if not username.strip() or len(username) > MAX_NAME_LENGTH or not is_text(username):
            return ()
        if self.names is not None and not is_one_of(username, self.names):
            return ()
        deadline = min(lookup.deadline, time.monotonic() + self.timeout)
        found = self._entries(self.filter.replace("{user}", escape_value(username)), MAX_MATCHES, deadline)
        people = list(self._people(found))
        if len(people) < len(found):
            raise self._no_login()
        meant = [each for each in zip(found, people, strict=True) if self._is_meant(each[0], username)]
        meant.sort(key=lambda each: not self._mapping.has_login(each[0], username))
        people = [person for _, person in meant]
        if not lookup.by_name or self.name_filter is None:
            return people
        words = dict.fromkeys(username.split())
        conditions = "".join(self.name_filter.replace("{word}", escape_value(word)) for word in words)
        candidates = self._people(self._entries(f"(&{conditions})", PAGE_SIZE, deadline))
        matches = (person for person in candidates if person.matches_name(username) and person not in people)
        return [*people, *islice(matches, MAX_MATCHES)]

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The people that ``list_filter`` finds, in the server's order; None without that. Raises as find()."""
        if self.list_filter is None:
            return None
        attributes = self._mapping.attributes_of(_LIST_ATOMS)
        search = Search(self.base, self.scope, self.list_filter, attributes, page_size=PAGE_SIZE)
        return self._people_by_page(search, min(lookup.deadline, time.monotonic() + self.timeout))

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def warnings(self) -> Iterator[str]:
        """A message if the filter matches names that are parts of a value."""
        if any(comparison.is_partial for comparison in self._comparisons):
            yield "filter has an asterisk next to {user}: a part of a value, a single letter too, finds people"

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """What resolves the servers' names, their sockets, and CA certificates."""
        if any(server.scheme != "ldapi" and not is_address(server.host) for server in self._servers):
            yield from missing_for_names(root)
        for server in self._servers:
            if server.scheme == "ldapi" and not (path := root / server.host.lstrip("/")).is_socket():
                yield f"there is no socket {path}"
        if self._tls_context:
            yield from missing_certificates(self._tls_context, root, "give ca_file")

    def _is_meant(self, entry: Entry, username: str) -> bool:
        """Whether the entry was found by exactly this name, and this is not another spelling of its login."""
        is_met = any(comparison.is_met(entry, username) for comparison in self._comparisons)
        return is_met and not self._mapping.is_other_spelling(entry, username)

    def _entries(self, filter_text: str, size_limit: int, deadline: float) -> Sequence[Entry]:
        """The first entries that the filter finds."""
        attributes = tuple(dict.fromkeys((*self._mapping.attributes, *(each.attribute for each in self._comparisons))))
        search = Search(self.base, self.scope, filter_text, attributes, size_limit=size_limit)
        return self._pool.run(partial(LdapConnection.search, search=search), deadline).entries

    def _people_by_page(self, search: Search, deadline: float) -> Iterator[Person]:
        """The people of all pages; BackendError if entries were found, and none has a login."""
        with self._pool.checkout(partial(LdapConnection.search, search=search), deadline) as (connection, first):
            page, found, listed = first, 0, 0
            while True:
                people = list(self._people(page.entries))
                found, listed = found + len(page.entries), listed + len(people)
                yield from people
                if not page.cookie:
                    break
                page = connection.search(deadline, search, page.cookie)
        if found and not listed:
            raise self._no_login()

    def _people(self, entries: Iterable[Entry]) -> Iterator[Person]:
        """The person of each entry that has a login."""
        return filter(None, map(self._mapping.person, entries))

    def _no_login(self) -> BackendError:
        attributes = " or ".join(self._mapping.attributes_of((LOGIN,)))
        return BackendError(f"ldap {self.base}: an entry was found without {attributes}, its login")
