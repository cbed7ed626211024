"""WebFinger (RFC 7033): the links that a person has published, by account."""

import json
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes

from fingerd.errors import QueryError
from fingerd.http.request import malformed
from fingerd.people.links import Link
from fingerd.protocol.query import parse_query
from fingerd.text import to_nfc

CONTENT_TYPE = "application/jrd+json"
# RFC 3986: a scheme and characters of a URI, which a query's field is once it has been decoded.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):((?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)")
_USER_PART = "!$&'()*+,;="  # RFC 7565 7: what may stand as it is, beside the letters, digits and -._~


class Account(NamedTuple):
    """An account ``acct:NAME@DOMAIN`` (RFC 7565), decoded: the name is in NFC, the domain in lower case."""

    name: str
    domain: str

    @property
    def uri(self) -> str:
        """The one way to write it."""
        return f"acct:{quote(self.name, safe=_USER_PART)}@{self.domain}"


def parse_resource(values: Sequence[str], domains: Collection[str], max_bytes: int) -> Account | None:
    """The account that the field ``resource`` names; None for another scheme or domain, and for what can be no login.

    Raises HttpError (400) where the field is missing, repeated, or no URI (RFC 7033 4.2).
    """
    if len(values) != 1:
        raise malformed("resource is required, once")
    match = _URI.fullmatch(values[0])
    if not match:
        raise malformed("resource is not a URI")
    name, _, domain = match[2].rpartition("@")
    domain = unquote(domain).lower()
    if match[1].lower() != "acct" or domain not in domains:
        return None
    try:
        login = to_nfc(unquote_to_bytes(name).decode())
        query = parse_query(login.encode(), max_bytes)  # nothing that no query can ask for reaches a backend
    except (UnicodeDecodeError, QueryError):
        return None
    return Account(login, domain) if login and not query.verbose and to_nfc(query.text) == login else None


def descriptor(account: Account, links: Sequence[Link], page_url: str, rels: Collection[str]) -> bytes:
    """The JSON resource descriptor (RFC 7033 4.4); ``rels``, if any, filter the links alone (4.3)."""
    found = [link for link in links if not rels or link.rel in rels]
    members = [{key: value for key, value in link._asdict().items() if value} for link in found]
    return json.dumps({"subject": account.uri, "aliases": [page_url], "links": members}).encode() + b"\n"
