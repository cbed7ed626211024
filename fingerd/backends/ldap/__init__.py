"""``type: ldap``: one search in a directory for every query.

The user's name is a value in the filter with every byte of it escaped, so it
can be no filter, no pattern and no name of an attribute. Connections are kept
for the next query; everything that a query needs, from connecting to the last
byte of the answer, has one deadline.
"""

import re
import ssl
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from fingerd.backends import Backend, Lookup
from fingerd.backends.ldap.pool import Pool
from fingerd.backends.ldap.search import Entry, Link, Page, Search, Server, check_filter, check_name, filter_value
from fingerd.backends.ldap.server_url import LdapServer, parse_address
from fingerd.config.system_options import SecretFile, read_path
from fingerd.config.values import Integer, Seconds
from fingerd.errors import OptionError, option_errors
from fingerd.net.resolver import missing_for_names
from fingerd.people import Person
from fingerd.people.mapping import LOGIN, as_text, check_fields, person_of
from fingerd.text import is_text

NAMESAKES = 100  # that are told of at once; more would only fill memory
PAGE_ENTRIES = 250  # of a list at once; and at most so many are looked through for who is called by a word
LONGEST_NAME = 1024  # characters; a directory has no longer logins, and closes the connection on very long requests

# What inetOrgPerson (RFC 2798) and posixAccount (RFC 2307) have. Not gecos: it holds office and telephones too.
FIELDS: Mapping[str, tuple[str, ...]] = {
    LOGIN: ("uid",),
    "name": ("displayName", "cn"),
    "office": ("roomNumber", "physicalDeliveryOfficeName"),
    "office_phone": ("telephoneNumber",),
    "home_phone": ("homePhone",),
    "job": ("title",),
    "directory": ("homeDirectory",),
    "shell": ("loginShell",),
}
_IN_A_LINE = (LOGIN, "name", "office", "office_phone", "job")
_TEXTS = ("project", "plan", "pgpkey", "pubkey")  # of several values, each is a line
_SINGLE = (LOGIN, "name")  # of several values, the first one counts

_ATTRIBUTE = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)(?:;[A-Za-z0-9-]+)*")  # RFC 4512 2.5


@dataclass(frozen=True)
class Ldap(Backend):
    """Asks a directory over LDAP: one search for every query.

    In ``filter`` the text ``{user}`` stands for the user's name. ``fields``
    says which attributes an atom is taken from. ``list_filter`` finds all who
    are listed, ``name_filter`` those whose full name has a ``{word}``.
    """

    url: tuple[str, ...]
    base: str
    filter: str = "(uid={user})"
    scope: Literal["subtree", "one", "base"] = "subtree"
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # over FIELDS
    list_filter: str | None = None
    name_filter: str | None = None
    bind_dn: str | None = None
    password_file: SecretFile | None = field(default=None, repr=False)
    starttls: bool = False
    ca_file: Annotated[str, read_path] | None = None
    verify: bool = True
    timeout: Annotated[float, Seconds(0.1)] = 10  # for all that a query needs
    connections: Annotated[int, Integer(1, 1000)] = 32  # in use at once
    _addresses: Sequence[LdapServer] = field(init=False, repr=False, compare=False)
    _attributes: Mapping[str, Sequence[str]] = field(init=False, repr=False, compare=False)
    _context: ssl.SSLContext | None = field(init=False, repr=False, compare=False)
    _pool: Pool[Link] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_searches()
        addresses = self._read_addresses()
        context = self._make_context(addresses)
        servers = [
            Server(address, context if self._encrypts(address) else None, self.bind_dn, self.password_file)
            for address in addresses
        ]
        object.__setattr__(self, "_addresses", addresses)
        object.__setattr__(self, "_context", context)
        object.__setattr__(self, "_attributes", self._read_fields())
        object.__setattr__(self, "_pool", Pool("ldap", [server.connect for server in servers], self.connections))

    @property
    def searches_names(self) -> bool:
        """Whether there is a filter for names."""
        return self.name_filter is not None

    def _check_searches(self) -> None:
        for option, text, place in (
            ("filter", self.filter, "{user}"),
            ("name_filter", self.name_filter, "{word}"),
            ("list_filter", self.list_filter, ""),
        ):
            if text is None:
                continue
            if place not in text:
                raise OptionError(f"has no {place} in it", option)
            if place and re.search(rf"\([^()=]*{re.escape(place)}", text):
                raise OptionError(f"{place} stands for a value, and not for an attribute", option)
            with option_errors(option):
                check_filter(text.replace(place, "a") if place else text)
        with option_errors("base"):
            check_name(self.base)

    def _read_addresses(self) -> Sequence[LdapServer]:
        with option_errors("url"):
            addresses = tuple(map(parse_address, self.url))
        if not addresses:
            raise OptionError("is empty: name a server", "url")
        if (self.bind_dn is None) != (self.password_file is None):
            raise ValueError("bind_dn and password_file go together")
        if self.bind_dn == "":
            raise OptionError("is empty: leave it out to ask anonymously", "bind_dn")
        if self.starttls and any(address.scheme == "ldaps" for address in addresses):
            raise OptionError("ldaps:// is encrypted from the beginning: starttls is for ldap://", "starttls")
        for address in addresses:
            if self.password_file and not (self._encrypts(address) or address.is_local):
                raise OptionError(f"the password would go to {address} unencrypted: use ldaps://, or starttls", "url")
        return addresses

    def _encrypts(self, address: LdapServer) -> bool:
        return address.scheme == "ldaps" or (self.starttls and address.scheme == "ldap")

    def _make_context(self, addresses: Sequence[LdapServer]) -> ssl.SSLContext | None:
        """What TLS is begun with: made now, since a chroot has no certificates. None where nothing is encrypted."""
        if not any(map(self._encrypts, addresses)):
            if self.ca_file:
                raise OptionError("nothing is encrypted that it could be used for", "ca_file")
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise OptionError(f"{self.ca_file}: has no certificates in it", "ca_file") from error
        except OSError as error:
            raise OptionError(f"{self.ca_file}: {error.strerror}", "ca_file") from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _read_fields(self) -> Mapping[str, Sequence[str]]:
        check_fields(self.fields)
        for atom, attributes in self.fields.items():
            for attribute in attributes:
                if not _ATTRIBUTE.fullmatch(attribute):
                    raise OptionError(f"{attribute} is no name of an attribute", "fields", atom)
        merged = {atom: attributes for atom, attributes in {**FIELDS, **self.fields}.items() if attributes}
        if LOGIN not in merged:
            raise OptionError("nobody can do without a login", "fields", LOGIN)
        return merged

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Those whom the filter finds, and those whose full name has all words of the name where that counts."""
        if not lookup.username.strip() or len(lookup.username) > LONGEST_NAME or not is_text(lookup.username):
            return ()
        due = min(lookup.deadline, time.monotonic() + self.timeout)
        search = self._search(self.filter.replace("{user}", filter_value(lookup.username)), tuple(self._attributes))
        with self._pool.borrowed(partial(_first, search, NAMESAKES), due) as (_, page):
            entries = [entry for entry in page.entries if not self._is_spelled_otherwise(entry, lookup.username)]
        entries.sort(key=lambda entry: lookup.username not in self._logins(entry))  # the exact login first
        people = [self._person(entry, lookup.username) for entry in entries]
        if not lookup.by_name or self.name_filter is None:
            return people
        words = dict.fromkeys(lookup.username.split())
        each = "".join(self.name_filter.replace("{word}", filter_value(word)) for word in words)
        search = self._search(f"(&{each})", tuple(self._attributes))
        with self._pool.borrowed(partial(_first, search, PAGE_ENTRIES), due) as (_, page):
            named = [self._person(entry, login) for entry in page.entries if (login := self._value(LOGIN, entry))]
        called = (person for person in named if person.matches_name(lookup.username) and person not in people)
        return [*people, *islice(called, NAMESAKES)]

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """All whom ``list_filter`` finds, in the order of the directory; None without that."""
        if self.list_filter is None:
            return None
        atoms = tuple(atom for atom in _IN_A_LINE if atom in self._attributes)
        due = min(lookup.deadline, time.monotonic() + self.timeout)
        return self._people(self._search(self.list_filter, atoms), due)

    def close(self) -> None:
        """Close the connections that are kept for the next query."""
        self._pool.close()

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """What a jail lacks for looking up the names of servers, for reaching one, and for checking certificates."""
        if not all(address.is_number for address in self._addresses):
            yield from missing_for_names(root)
        for address in self._addresses:
            if address.scheme == "ldapi" and not (path := root / address.host.lstrip("/")).is_socket():
                yield f"there is no socket {path}"
        if self._context and self.verify and not self._context.cert_store_stats()["x509_ca"]:
            # None is loaded yet: OpenSSL looks for them in this folder, where it has one.
            folder = ssl.get_default_verify_paths().capath
            if not folder or not (root / folder.lstrip("/")).exists():
                yield "no certificate can be checked: name a ca_file"

    def _search(self, text: str, atoms: Sequence[str]) -> Search:
        attributes = dict.fromkeys(attribute for atom in atoms for attribute in self._attributes[atom])
        return Search(self.base, self.scope, text, tuple(attributes))

    def _people(self, search: Search, due: float) -> Iterator[Person]:
        """All whom the search finds, page by page; who has no login cannot be told of."""
        with self._pool.borrowed(partial(_page, search, b""), due) as (link, first):
            page = first
            while True:
                for entry in page.entries:
                    if login := self._value(LOGIN, entry):
                        yield self._person(entry, login)
                if not page.cookie:
                    return
                page = _page(search, page.cookie, link, due)

    def _is_spelled_otherwise(self, entry: Entry, username: str) -> bool:
        """Whether a login was found by a name that is another one to us: most directories look at no case."""
        logins = self._logins(entry)
        return username not in logins and _folded(username) in map(_folded, logins)

    def _logins(self, entry: Entry) -> Set[str]:
        return {as_text(value) for attribute in self._attributes[LOGIN] for value in entry.get(attribute.lower(), ())}

    def _person(self, entry: Entry, username: str) -> Person:
        return person_of(username, {atom: self._value(atom, entry) for atom in self._attributes})

    def _value(self, atom: str, entry: Entry) -> str | None:
        """What the first attribute that is there says."""
        for attribute in self._attributes[atom]:
            texts = [text for text in map(as_text, entry.get(attribute.lower(), ())) if text.strip()]
            if texts:
                return texts[0] if atom in _SINGLE else ("\n" if atom in _TEXTS else ", ").join(texts)
        return None


def _first(search: Search, size: int, link: Link, due: float) -> Page:
    return link.search(search, due, size=size)


def _page(search: Search, cookie: bytes, link: Link, due: float) -> Page:
    return link.search(search, due, page=PAGE_ENTRIES, cookie=cookie)


def _folded(name: str) -> str:
    """About what a directory compares (RFC 4518): neither case nor width nor how many blanks there are."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
