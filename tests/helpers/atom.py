"""The rules of Atom (RFC 4287), as the W3C's validator checks them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

ATOM = "{http://www.w3.org/2005/Atom}"
_DATE = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
RFC3339 = re.compile(rf"{_DATE}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2}|\[[0-9a-f:]+\])+")
_TAG = re.compile(  # RFC 4151 2.1
    r"tag:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?,\d{4}:(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
)
# How often each element may be there: in a feed, in an entry, in a person (RFC 4287 4.1.1, 4.1.2, 3.2).
_FEED = {"id": (1, 1), "title": (1, 1), "updated": (1, 1), "generator": (0, 1), "author": (1, 1), "link": (1, 9)}
_ENTRY = {"id": (1, 1), "title": (1, 1), "updated": (1, 1), "author": (1, 9), "content": (1, 1), "link": (0, 9)}
_PERSON = {"name": (1, 1), "uri": (0, 1)}


@dataclass(frozen=True)
class Entry:
    """One entry of a feed."""

    id: str
    title: str
    updated: str
    author: str
    link: str  # of the page, or empty
    content: str


@dataclass(frozen=True)
class Feed:
    """A feed that keeps the rules."""

    id: str
    title: str
    updated: str
    entries: tuple[Entry, ...]


def read_feed(document: bytes, url: str) -> Feed:
    """The feed that was fetched from this URL; AssertionError where it breaks a rule."""
    document.decode()
    root = ElementTree.fromstring(document)
    assert root.tag == f"{ATOM}feed"
    _check_children(root, {**_FEED, "entry": (0, 10_000)})
    _check_common(root)
    (self_link,) = (link for link in root.findall(f"{ATOM}link") if link.get("rel") == "self")
    assert self_link.get("href") == url
    assert self_link.get("type") == "application/atom+xml"
    entries = tuple(_entries(root))
    assert len({entry.id for entry in entries}) == len(entries)
    return Feed(_text(root, "id"), _text(root, "title"), _text(root, "updated"), entries)


def _entries(root: Element) -> Iterator[Entry]:
    for entry in root.findall(f"{ATOM}entry"):
        _check_children(entry, _ENTRY)
        _check_common(entry)
        assert _TAG.fullmatch(_text(entry, "id"))
        content = entry.find(f"{ATOM}content")
        assert content is not None
        assert content.attrib == {"type": "text"}
        assert not list(content)
        links = [link.get("href") or "" for link in entry.findall(f"{ATOM}link")]
        identifier, title, updated = (_text(entry, name) for name in ("id", "title", "updated"))
        yield Entry(identifier, title, updated, _text(entry, "author", "name"), "".join(links), content.text or "")


def _check_children(element: Element, counts: dict[str, tuple[int, int]]) -> None:
    names = [child.tag.removeprefix(ATOM) for child in element]
    assert set(names) <= set(counts), names
    for name, (least, most) in counts.items():
        assert least <= names.count(name) <= most, (name, names)


def _check_common(element: Element) -> None:
    """What holds for a feed and for an entry."""
    assert _URI.fullmatch(_text(element, "id"))
    assert RFC3339.fullmatch(_text(element, "updated"))
    title = _text(element, "title")
    assert title.strip()
    assert "\n" not in title
    for person in element.findall(f"{ATOM}author"):
        _check_children(person, _PERSON)
        assert _text(person, "name").strip()
        assert all(_URI.fullmatch(uri.text or "") for uri in person.findall(f"{ATOM}uri"))
    links = element.findall(f"{ATOM}link")
    assert len({(link.get("rel"), link.get("type"), link.get("hreflang")) for link in links}) == len(links)
    for link in links:
        assert _URI.fullmatch(link.get("href") or "")
        assert urlsplit(link.get("href")).hostname
        assert not link.text


def _text(element: Element, *path: str) -> str:
    found = element.find("/".join(f"{ATOM}{name}" for name in path))
    assert found is not None
    return found.text or ""
