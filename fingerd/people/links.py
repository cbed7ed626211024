"""Links that a person publishes: text with one ``REL HREF [TYPE]`` a line.

``profile`` alone stands for this server's page of the person. Who has a link agrees to be found by WebFinger
(RFC 7033 9.2).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

PROFILE = "profile"
PROFILE_REL = "http://webfinger.net/rel/profile-page"
MAX_LINKS = 100  # of one person; further ones are ignored

_REL = re.compile(r"[a-z][a-z0-9.-]*|[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")  # registered (RFC 8288 3.3), or a URI
_HREF = re.compile(r"https?://[!-~]+|mailto:[!-~]+|acct:[!-~]+@[!-~]+", re.IGNORECASE)
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*")  # RFC 6838 4.2
_FORBIDDEN = re.compile(r"[<>\"\\^`{|}]")  # RFC 3986: no character of a URI


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
    """What is wrong with the lines of a text, for those who write it."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and _parse(line, "https://example.org/") is None:
            yield f"line {number} is no link: must be {PROFILE}, or REL HREF [TYPE] (http, https, mailto or acct)"


def _parse(line: str, profile_url: str) -> Link | None:
    match line.split():
        case [word] if word == PROFILE:
            return Link(PROFILE_REL, profile_url, "text/html") if profile_url else None
        case [rel, href, *rest] if len(rest) <= 1:
            media_type = "".join(rest)
            is_valid = _REL.fullmatch(rel) and _HREF.fullmatch(href) and not _FORBIDDEN.search(rel + href)
            if is_valid and (not rest or _TYPE.fullmatch(media_type)):
                return Link(rel, href, media_type)
    return None
