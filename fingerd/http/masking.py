"""Texts of people for pages, JSON and feeds: masked as on the wire, and the URLs in them as links."""

import re
from dataclasses import replace
from itertools import islice

from markupsafe import Markup, escape

from fingerd.people import Person
from fingerd.text import UNSAFE, one_line, without_colors

MAX_LINKS = 1000  # in one text: the markup of more would leave no room for the text
LINK_REL = "nofollow ugc noopener"  # of each link that a person has written

# The letters and signs of URLs; none that is invisible, or that turns the direction of a line. Their host is no sign.
_URL = re.compile(
    r"(?<!\w)(?:(?:https?|gemini|gopher|finger)://(?:\w|\[[0-9a-f:.]{2,45}\])[\w!#$%&'()*+,./:;=?@~\[\]-]{0,2000}"
    r"|mailto:[\w!#$%&'*+/=?^`{|}~.-]{1,64}@\w[\w.-]{0,252}(?:\?[\w!$%&'()*+,./:;=?@~-]{1,500})?)",
    re.IGNORECASE,
)
_TRAILING = ".,:;!?'"  # ends a sentence, not the URL before it
_OPENING = {")": "(", "]": "["}
# Characters that no document of XML or HTML may hold: half characters, and those that Unicode has made none.
_NOT_IN_DOCUMENTS = re.compile(
    "[\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)


def masked(text: str) -> str:
    """The text with LF as its line ends, and ``?`` for other control characters, as the wire has it."""
    if text.isprintable():
        return text
    return _NOT_IN_DOCUMENTS.sub("?", UNSAFE.sub("?", text.replace("\r\n", "\n").replace("\r", "\n")))


def masked_start(text: str, max_characters: int) -> str:
    """The first ``max_characters`` of the masked text; what is beyond them costs nothing."""
    return masked(text[: 2 * max_characters])[:max_characters]  # CR LF is one character then


def masked_line(text: str) -> str:
    """The text in one line, masked, without spaces around it."""
    return masked(one_line(text)).strip()


def uncolored(person: Person) -> Person:
    """The person without the colors that ``reply.colors`` lets pass to terminals."""
    return replace(
        person,
        text=person.text and without_colors(person.text),
        plan=person.plan and without_colors(person.plan),
        project=without_colors(person.project),
    )


def linked(text: str) -> Markup:
    """A masked text as HTML, in which the first MAX_LINKS URLs are links.

    It takes time in proportion to its length.
    """
    parts: list[str] = []
    end = 0
    for match in islice(_URL.finditer(text), MAX_LINKS):
        url = _without_punctuation(match[0])
        link = escape(url)
        parts += escape(text[end : match.start()]), f'<a rel="{LINK_REL}" href="{link}">{link}</a>'
        end = match.start() + len(url)
    parts.append(escape(text[end:]))
    return Markup("".join(parts))  # noqa: S704 - all its parts are escaped


def _without_punctuation(url: str) -> str:
    """The URL without what belongs to the sentence around it: punctuation, and brackets that it does not open."""
    unopened = {closing: url.count(closing) - url.count(opening) for closing, opening in _OPENING.items()}
    end = len(url)
    while url[end - 1] in _TRAILING or unopened.get(url[end - 1], 0) > 0:
        if url[end - 1] in unopened:
            unopened[url[end - 1]] -= 1
        end -= 1
    return url[:end]
