"""Query lines (RFC 1288 2.3), without I/O: bytes to a :class:`Query` and back."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from fingerd.errors import QueryError, QueryTooLongError
from fingerd.protocol.reply import CRLF
from fingerd.text import decode_line, first_line, to_nfc

SHORT_QUERY_BYTES = 64  # of a line that is remembered when it was parsed
SHORT_QUERIES_MAX = 1024  # lines, some 400 bytes each
WHITESPACE = " \t"
VERBOSE = "/W", "/w"

_LEADING_BOM = re.compile(rb"\A(?:[ \t]*\xef\xbb\xbf)+")  # as PowerShell sends it

# RFC 854: IAC IAC is the byte 255; WILL, WONT, DO and DONT take an option byte; SB runs to IAC SE.
IAC = b"\xff"
_TELNET = re.compile(rb"\xff(?:(\xff)|[\xfb-\xfe].?|\xfa.*?(?:\xff\xf0|\Z)|[\xf0-\xf9])?", re.DOTALL)

_CONTROLS = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f]")  # except tab


@dataclass(frozen=True, slots=True)
class Query:
    """One query (RFC 1288 2.3): {C} if empty, {Q2} with hosts, else {Q1}."""

    username: str = ""  # {U}
    hosts: tuple[str, ...] = ()  # the {H} tokens, from left to right
    verbose: bool = False  # {W}
    charset: str = field(default="utf-8", compare=False)  # of the line: it is forwarded in its own bytes

    @property
    def is_list(self) -> bool:
        """Whether this is {C}, the query for the user list."""
        return not self.username and not self.hosts

    @property
    def text(self) -> str:
        """The username with all its hosts."""
        return "@".join((self.username, *self.hosts))

    def with_hosts(self, count: int) -> "Query":
        """The query without the hosts after the first ``count``; without any, the username is in NFC."""
        return replace(self, username=self.username if count else to_nfc(self.username), hosts=self.hosts[:count])

    def forwarded(self) -> tuple[str, "Query"]:
        """The right-most host, and the query for it without this host (RFC 1288 2.4); ``hosts`` must not be empty."""
        *hosts, next_host = self.hosts
        return next_host, replace(self, hosts=tuple(hosts))

    def encode(self) -> bytes:
        """The query line with its CR LF; ``parse_query`` returns an equal query for it."""
        words = filter(None, ("/W" if self.verbose else "", self.text))
        return " ".join(words).encode(self.charset).replace(IAC, IAC + IAC) + CRLF


def parse_query(line: bytes, max_bytes: int = sys.maxsize) -> Query:
    """Parse the first line of these bytes as a query; its line end may be CR LF, LF, CR, CR NUL or missing.

    Raises QueryError for control characters, bytes that are no text, and bad hosts, QueryTooLongError for more than
    ``max_bytes`` bytes, the line end not counted. More than RFC 1288 2.3 is accepted where it is harmless: ``/w``, a
    trailing ``/W`` (RFC 1196), spaces and tabs at either end, telnet sequences, and a byte order mark at the beginning.
    The username of a query for this host is in NFC.
    """
    line = first_line(line)
    if len(line) > max_bytes:
        raise QueryTooLongError(f"more than {max_bytes} bytes")
    if IAC in line:
        line = _TELNET.sub(rb"\1", line)
    text, charset = (line.decode("ascii"), "utf-8") if line.isascii() else _decoded(line)
    if not text.isprintable() and _CONTROLS.search(text):
        raise QueryError("control characters")
    text = text.strip(WHITESPACE)
    text, verbose = _take_verbose(text) if "/" in text else (text, False)
    if "@" not in text:
        return Query(to_nfc(text), (), verbose, charset)
    username, *hosts = (part.strip(WHITESPACE) for part in text.split("@"))
    if not all(hosts) or any(space in host for host in hosts for space in WHITESPACE):
        raise QueryError("not a host name")
    return Query(username, tuple(hosts), verbose, charset)


# Clients ask the same few things. The lines must be short, so that the cache is small: SHORT_QUERY_BYTES at most.
parse_short_query = lru_cache(SHORT_QUERIES_MAX)(parse_query)


def is_queryable(name: str, is_own_host: Callable[[str], bool] = lambda host: False) -> bool:
    """Whether a query can ask for this username: false with ``/W``, controls, or not in NFC.

    It is false with an ``@``, too, unless a name of this host, as ``is_own_host`` says, follows the last one.
    """
    try:
        query = parse_query(Query(name).encode())
    except (QueryError, UnicodeEncodeError):
        return False
    if not query.username or query.verbose or query.text != name or to_nfc(name) != name:
        return False
    return not query.hosts or is_own_host(query.hosts[-1])


def _decoded(line: bytes) -> tuple[str, str]:
    """The text without a byte order mark, and its charset."""
    try:
        return decode_line(_LEADING_BOM.sub(b"", line))
    except UnicodeDecodeError:
        raise QueryError("not text") from None


def _take_verbose(text: str) -> tuple[str, bool]:
    """Remove the {W} tokens from both ends; a ``/W`` next to other text is part of the name."""
    start, end = 0, len(text)  # no copies: there may be as many tokens as a line can hold
    while text.startswith(VERBOSE, start) and (start + 2 == end or text[start + 2] in WHITESPACE):
        start += 2
        while start < end and text[start] in WHITESPACE:
            start += 1
    verbose = start > 0
    while end - start > 2 and text.endswith(VERBOSE, start, end) and text[end - 3] in WHITESPACE:
        end, verbose = end - 2, True
        while end > start and text[end - 1] in WHITESPACE:
            end -= 1
    return text[start:end], verbose
