"""Attributes and their names: a server may return an attribute by another name than it was requested by.

An attribute type has an OID, any number of names, and perhaps a supertype (RFC 4512 2.5.1). Requesting a type also
returns its subtypes, and its values with options, as ``cn;lang-de``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

# The values of each attribute, in lower case and with its options: by the name that the server returns, or as returned
# by Schema.by_requested_name.
Entry = Mapping[str, Sequence[bytes]]

# Types with several names of RFC 4519, 4524, 2798 and 2307, and those requested by default: known without a server.
_STANDARD = """
    0.9.2342.19200300.100.1.1 uid userid
    0.9.2342.19200300.100.1.3 mail rfc822Mailbox
    0.9.2342.19200300.100.1.4 info
    0.9.2342.19200300.100.1.6 roomNumber
    0.9.2342.19200300.100.1.20 homePhone homeTelephoneNumber
    0.9.2342.19200300.100.1.41 mobile mobileTelephoneNumber
    0.9.2342.19200300.100.1.42 pager pagerTelephoneNumber
    1.3.6.1.1.1.1.3 homeDirectory
    1.3.6.1.1.1.1.4 loginShell
    2.5.4.3 cn commonName
    2.5.4.4 sn surname
    2.5.4.7 l localityName
    2.5.4.8 st stateOrProvinceName
    2.5.4.9 street streetAddress
    2.5.4.10 o organizationName
    2.5.4.11 ou organizationalUnitName
    2.5.4.12 title
    2.5.4.13 description
    2.5.4.19 physicalDeliveryOfficeName
    2.5.4.20 telephoneNumber
    2.5.4.23 facsimileTelephoneNumber fax
    2.5.4.42 givenName gn
    2.16.840.1.113730.3.1.3 employeeNumber
    2.16.840.1.113730.3.1.241 displayName
"""
_TOKEN = re.compile(r"'[^']*'|[()]|[^\s()']+")


class Schema:
    """The attribute types of a server, from their descriptions (RFC 4512 4.1.2), and the standard ones."""

    def __init__(self, descriptions: Iterable[str] = ()) -> None:
        standard = (line.split() for line in _STANDARD.strip().splitlines())
        self._types = {name.lower(): oid for oid, *names in standard for name in (oid, *names)}
        self._supertypes: dict[str, str | None] = {}  # by OID; the supertype by any of its names, or its OID
        for tokens in map(_TOKEN.findall, descriptions):
            if tokens[:1] == ["("] and len(tokens) > 1:
                oid = _unquoted(tokens[1])
                self._types |= dict.fromkeys((oid, *_values(tokens, "NAME")), oid)
                self._supertypes[oid] = next(_values(tokens, "SUP"), None)

    def explains(self, requested: Iterable[str], returned: Iterable[str]) -> bool:
        """Whether each returned attribute is a requested one, and each requested one is returned or a known type."""
        requested_types, returned_types = set(map(self._type, requested)), set(map(self._type, returned))
        unknown = {each for each in requested_types if each not in self._types}
        return unknown <= returned_types <= requested_types

    def by_requested_name(self, requested: Iterable[str], entry: Entry) -> Entry:
        """The entry with each attribute by the names, without options, by which it was requested.

        The subtype ``acmeUid`` of a requested ``uid`` is returned as ``uid;acmeuid``, like a value with an option.
        """
        found: dict[str, Sequence[bytes]] = {}
        types = {name: self._type(name) for name in map(_without_options, requested)}
        for attribute, values in entry.items():
            base, *options = attribute.split(";")
            own, *supertypes = self._types_of(base)
            for name, requested_type in types.items():
                if requested_type == own:
                    found[";".join((name, *options))] = values
                elif requested_type in supertypes:
                    found[";".join((name, base, *options))] = values
        return found

    def _type(self, attribute: str) -> str:
        """The OID of an attribute; its name in lower case if it is unknown."""
        name = _without_options(attribute)
        return self._types.get(name, name)

    def _types_of(self, name: str) -> Sequence[str]:
        """The type of this name, its supertype, the supertype of that, and so on."""
        types: list[str] = []
        next_name: str | None = name
        while next_name is not None and (found := self._type(next_name)) not in types:
            types.append(found)
            next_name = self._supertypes.get(found)
        return types


def values_of(entry: Entry, attribute: str) -> Sequence[bytes]:
    """The values of a requested attribute; if there are none, those of its subtypes."""
    return entry.get(attribute.lower()) or tuple(all_values_of(entry, attribute))


def all_values_of(entry: Entry, attribute: str) -> Iterator[bytes]:
    """The values of a requested attribute and of its subtypes."""
    name, *options = attribute.lower().split(";")
    for returned, values in entry.items():
        base, *others = returned.split(";")
        if base == name and set(options) <= set(others):
            yield from values


def _without_options(attribute: str) -> str:
    return attribute.partition(";")[0].lower()


def _values(tokens: Sequence[str], keyword: str) -> Iterator[str]:
    """The value, or the values in parentheses, that follow a keyword, in lower case."""
    if keyword in tokens:
        first, *others = (*tokens[tokens.index(keyword) + 1 :], ")")
        yield from map(_unquoted, takewhile(")".__ne__, others if first == "(" else (first,)))


def _unquoted(token: str) -> str:
    return token.strip("'").lower()
