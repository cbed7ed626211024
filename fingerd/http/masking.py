"""Texts of people for pages, JSON and feeds: masked as on the wire, and the URLs in them as links."""

import re

from markupsafe import Markup, escape

from fingerd.text import UNSAFE

# The letters and signs of URLs; none that is invisible, or that turns the direction of a line.
_URL = re.compile(
    r"(?<!\w)(?:(?:https?|gemini|gopher|finger)://[\w!#$%&'()*+,./:;=?@~\[\]-]{1,2000}"
    r"|mailto:[\w!#$%&'*+/=?^`{|}~.-]{1,64}@[\w.-]{1,253}(?:\?[\w!$%&'()*+,./:;=?@~-]{1,500})?)",
    re.IGNORECASE,
)
_TRAILING = ".,:;!?'"  # ends a sentence, not the URL before it
_NOT_IN_XML = re.compile("[\ufffe\uffff\ud800-\udfff]")


def masked(text: str) -> str:
    """The text with LF as its line ends, and ``?`` for other control characters, as the wire has it."""
    if text.isprintable():
        return text
    return _NOT_IN_XML.sub("?", UNSAFE.sub("?", text.replace("\r\n", "\n").replace("\r", "\n")))


def linked(text: str) -> Markup:
    """A masked text as HTML, in which URLs are links. It takes time in proportion to its length."""
    parts: list[str] = []
    end = 0
    for match in _URL.finditer(text):
        url = match[0].rstrip(_TRAILING)
        if url.endswith(")") and "(" not in url:
            url = url.rstrip(")" + _TRAILING)
        link = escape(url)
        parts += escape(text[end : match.start()]), f'<a rel="nofollow ugc noopener" href="{link}">{link}</a>'
        end = match.start() + len(url)
    parts.append(escape(text[end:]))
    return Markup("".join(parts))  # noqa: S704 - all its parts are escaped
