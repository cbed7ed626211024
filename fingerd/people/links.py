"""Links that a person publishes: text with one ``REL HREF [TYPE]`` a line.

``profile`` alone stands for this server's page of the person. Who has a link agrees to be found by WebFinger
(RFC 7033 9.2).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from fingerd.config.values import Scalar, named, to_text

PROFILE = "profile"
PROFILE_REL = "http://webfinger.net/rel/profile-page"
MAX_LINKS = 100  # of one person; further ones are ignored
MAX_CHARACTERS = 2000  # of a line; a longer one is no link

_CHARACTERS = r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"  # RFC 3986 2, but for brackets and a fragment's #
_URI = rf"{_CHARACTERS}+(?:#{_CHARACTERS}*)?"
_REL = re.compile(rf"[a-z][a-z0-9.-]*|[A-Za-z][A-Za-z0-9+.-]*:{_URI}")  # registered (RFC 8288 3.3), or a URI
_HREF = re.compile(rf"(?:(https?)://(?:\[[0-9A-F:.]+\])?|mailto:|acct:(?=[^@]+@[^@])){_URI}", re.IGNORECASE)
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*")  # RFC 6838 4.2

_ANY_PAGE = "https://example.org/"  # for ``profile``, where it is only checked
_SYNTAX = f"{PROFILE}, or REL HREF [TYPE], where HREF is a URI of http, https, mailto or acct"


class Link(NamedTuple):
    """One link; ``type`` is a media type, or empty."""

    rel: str
    href: str
    type: str = ""


def parse_links(text: str, profile_url: str = "") -> tuple[Link, ...]:
    """The links of a text, each once; lines that are none are ignored, and so is ``profile`` without a URL for it."""
    links = (_parse(line, profile_url) for line in text.splitlines())
    return tuple(dict.fromkeys(link for link in links if link))[:MAX_LINKS]


def problems_of(text: str) -> Iterator[str]:
    """What is wrong with the lines of a text, each with its number, from 1."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and _parse(line, _ANY_PAGE) is None:
            yield f"line {number} is no link: must be {_SYNTAX}"


@named("text")
def read_links(scalar: Scalar) -> str:
    """The links in a configuration; ValueError if a line is none."""
    text = to_text(scalar)
    lines = [line for line in text.splitlines() if line.strip()]
    if wrong := [line for line in lines if _parse(line, _ANY_PAGE) is None]:
        raise ValueError(f"{', '.join(repr(line.strip()[:80]) for line in wrong[:10])}: must be {_SYNTAX}")
    if len(lines) > MAX_LINKS:
        raise ValueError(f"must be at most {MAX_LINKS} links")
    return text


def link_texts(text: str) -> Iterator[str]:
    """A line for each link, as Finger shows it: it knows no page, so without ``profile``."""
    return (" ".join(filter(None, link)) for link in parse_links(text))


def _parse(line: str, profile_url: str) -> Link | None:
    match line.split() if len(line) <= MAX_CHARACTERS else []:
        case [word] if word == PROFILE:
            return Link(PROFILE_REL, profile_url, "text/html") if profile_url else None
        case [rel, href]:
            return Link(rel, href) if _REL.fullmatch(rel) and _is_href(href) else None
        case [rel, href, media_type]:
            is_valid = _REL.fullmatch(rel) and _is_href(href) and _TYPE.fullmatch(media_type)
            return Link(rel, href, media_type) if is_valid else None
    return None


def _is_href(text: str) -> bool:
    """Whether it is a URI that may be a link; a web address needs a host."""
    match = _HREF.fullmatch(text)
    try:
        return match is not None and (not match[1] or bool(urlsplit(text).hostname and urlsplit(text).port != 0))
    except ValueError:
        return False
