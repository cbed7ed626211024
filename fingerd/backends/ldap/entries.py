"""LDAP entries to people: which attribute each atom is taken from."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Set

from fingerd.backends.ldap.schema import Entry, all_values_of, values_of
from fingerd.errors import OptionError
from fingerd.people import MULTILINE_ATOMS, Person
from fingerd.people.mapping import LOGIN, as_text, check_fields, person_of
from fingerd.text import is_same_name

# inetOrgPerson (RFC 2798) and posixAccount (RFC 2307). Not gecos, which also contains office and telephone numbers.
DEFAULT_FIELDS: Mapping[str, tuple[str, ...]] = {
    LOGIN: ("uid",),
    "name": ("displayName", "cn"),
    "office": ("roomNumber", "physicalDeliveryOfficeName"),
    "office_phone": ("telephoneNumber",),
    "home_phone": ("homePhone",),
    "job": ("title",),
    "directory": ("homeDirectory",),
    "shell": ("loginShell",),
}
_SINGLE_VALUED = (LOGIN, "name")  # the first value counts

_ATTRIBUTE = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)(?:;[A-Za-z0-9-]+)*")  # RFC 4512 2.5


class EntryMapping:
    """The attributes of each atom, in order of preference: DEFAULT_FIELDS with ``fields``; OptionError if invalid."""

    def __init__(self, fields: Mapping[str, tuple[str, ...]]) -> None:
        check_fields(fields)
        for atom, attributes in fields.items():
            for attribute in attributes:
                if not _ATTRIBUTE.fullmatch(attribute):
                    raise OptionError(f"{attribute} is not an attribute name", "fields", atom)
        self._fields = {atom: attributes for atom, attributes in {**DEFAULT_FIELDS, **fields}.items() if attributes}
        if LOGIN not in self._fields:
            raise OptionError("must name an attribute: a person needs a login", "fields", LOGIN)
        self.attributes = self.attributes_of(self._fields)

    def attributes_of(self, atoms: Iterable[str]) -> tuple[str, ...]:
        """The attributes of these atoms, as far as they have any."""
        return tuple(dict.fromkeys(attribute for atom in atoms for attribute in self._fields.get(atom, ())))

    def logins(self, entry: Entry) -> Set[str]:
        """All logins of an entry: the values of all its login attributes."""
        return {as_text(value) for attribute in self._fields[LOGIN] for value in all_values_of(entry, attribute)}

    def is_other_spelling(self, entry: Entry, username: str) -> bool:
        """Whether the entry was found by another spelling of a login, which is another login: servers ignore case."""
        return not self.has_login(entry, username) and _folded(username) in map(_folded, self.logins(entry))

    def has_login(self, entry: Entry, username: str) -> bool:
        """Whether this is one of the entry's logins, byte for byte after NFC."""
        return any(is_same_name(login, username) for login in self.logins(entry))

    def person(self, entry: Entry) -> Person | None:
        """The person of an entry; None if it has no login."""
        values = {atom: self._value(atom, entry) for atom in self._fields}
        return person_of("", values) if values[LOGIN] else None

    def _value(self, atom: str, entry: Entry) -> str | None:
        """The value or values of the first attribute of the atom that the entry has."""
        for attribute in self._fields[atom]:
            texts = [text for text in map(as_text, values_of(entry, attribute)) if text.strip()]
            if texts:
                return texts[0] if atom in _SINGLE_VALUED else ("\n" if atom in MULTILINE_ATOMS else ", ").join(texts)
        return None


def _folded(login: str) -> str:
    """Roughly what servers compare (RFC 4518): case, width and the number of spaces are ignored."""
    return " ".join(unicodedata.normalize("NFKC", login).casefold().split())
