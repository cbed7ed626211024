"""WebFinger (RFC 7033): the links that a person has published, by account."""

import json
import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from fingerd.http.request import malformed
from fingerd.people import Person
from fingerd.people.links import parse_links

CONTENT_TYPE = "application/jrd+json"
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):([!-~]+)")  # RFC 3986 3.1; a query's field is decoded once


class Resource(NamedTuple):
    """An account ``acct:NAME@DOMAIN`` (RFC 7565): the bytes of its name, and the domain."""

    name: bytes
    domain: str
    subject: str


def parse_resource(values: Collection[str], domains: Collection[str]) -> Resource | None:
    """The account that the field ``resource`` names; None if it is not ours to tell of.

    Raises HttpError (400) where the field is missing, repeated, or no URI (RFC 7033 4.2).
    """
    if len(values) != 1:
        raise malformed("resource is required, once")
    (subject,) = values
    match = _URI.fullmatch(subject)
    if not match:
        raise malformed("resource is not a URI")
    name, at, domain = match[2].rpartition("@")
    if match[1].lower() != "acct" or not at or not name or domain.lower() not in domains:
        return None
    return Resource(unquote_to_bytes(name), domain.lower(), subject)


def descriptor(person: Person, subject: str, page_url: str, rels: Collection[str]) -> bytes:
    """The JSON resource descriptor (RFC 7033 4.4); ``rels``, if any, filter the links alone (4.3)."""
    links = [
        {key: value for key, value in link._asdict().items() if value}
        for link in parse_links(person.links, page_url)
        if not rels or link.rel in rels
    ]
    return json.dumps({"subject": subject, "aliases": [page_url], "links": links}, ensure_ascii=False).encode()
