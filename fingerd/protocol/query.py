"""Query lines (RFC 1288 2.3), pure: bytes to a :class:`Query` and back.

Any bytes are a query, or raise :class:`~fingerd.errors.QueryError`.
"""

import re
import sys
from dataclasses import dataclass, field, replace
from functools import lru_cache

from fingerd.errors import QueryError, QueryTooLongError
from fingerd.protocol.reply import CRLF
from fingerd.text import decode_line

BLANKS = " \t"
SHORT_QUERY_BYTES = 64  # of a line that is remembered when it was parsed
SHORT_QUERIES_MAX = 1024  # lines, some 400 bytes each

# RFC 854: IAC IAC is the byte 255; WILL, WONT, DO and DONT take an option byte; SB runs to IAC SE.
IAC = b"\xff"
_TELNET = re.compile(rb"\xff(?:(\xff)|[\xfb-\xfe].?|\xfa.*?(?:\xff\xf0|\Z)|[\xf0-\xf9])?", re.DOTALL)

_CONTROLS = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f]")  # all but tab: no query may hold one


@dataclass(frozen=True, slots=True)
class Query:
    """One query (RFC 1288 2.3): an empty one is {C}, one without hosts {Q1}, one with hosts {Q2}.

    ``username`` is {U}, ``hosts`` the {H} tokens from left to right,
    ``verbose`` the {W} token. ``charset`` is the one that its line was in.
    """

    username: str = ""
    hosts: tuple[str, ...] = ()
    verbose: bool = False
    charset: str = field(default="utf-8", compare=False)

    @property
    def is_list(self) -> bool:
        """Whether this is {C}, the query for a list of users."""
        return not self.username and not self.hosts

    def forwarded(self) -> tuple[str, "Query"]:
        """The next RUIP, and what to ask it: the right-most host is used up (RFC 1288 2.4). Only where there is one."""
        *hosts, next_host = self.hosts
        return next_host, replace(self, hosts=tuple(hosts))

    def encode(self) -> bytes:
        """The line that asks this, with its CR LF; ``parse_query`` reads it back as it was."""
        words = ["/W"] if self.verbose else []
        name = "@".join((self.username, *self.hosts))
        if name:
            words.append(name)
        return " ".join(words).encode(self.charset).replace(IAC, IAC + IAC) + CRLF


def parse_query(line: bytes, max_bytes: int = sys.maxsize) -> Query:
    """Read one query line, with or without its line end; QueryError where it cannot be read as one.

    QueryTooLongError where it has more than ``max_bytes`` bytes, its line end not counted.

    Liberal where that is harmless (RFC 1288 2.3): ``/w``, a trailing ``/W``
    (RFC 1196), blanks at either end, a telnet client's own sequences.
    """
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    if len(line) > max_bytes:
        raise QueryTooLongError(f"more than {max_bytes} bytes")
    if IAC in line:
        line = _TELNET.sub(rb"\1", line)
    text, charset = (line.decode("ascii"), "utf-8") if line.isascii() else decode_line(line)
    if not text.isprintable() and _CONTROLS.search(text):
        raise QueryError("control characters")
    text = text.strip(BLANKS)
    verbose = False
    if "/" in text:
        text, verbose = _take_verbose(text)
    if "@" not in text:
        return Query(text, (), verbose, charset)
    username, *hosts = (part.strip(BLANKS) for part in text.split("@"))
    if not all(hosts) or any(blank in host for host in hosts for blank in BLANKS):
        raise QueryError("not a host name")
    return Query(username, tuple(hosts), verbose, charset)


# Clients ask the same few things. The lines must be short, so that the cache is small: SHORT_QUERY_BYTES at most.
parse_short_query = lru_cache(SHORT_QUERIES_MAX)(parse_query)


def _take_verbose(text: str) -> tuple[str, bool]:
    """Take the {W} tokens off both ends; a ``/W`` that touches other text belongs to the name."""
    verbose = False
    while text[:2] in ("/W", "/w") and text[2:3] in ("", *BLANKS):
        text, verbose = text[2:].lstrip(BLANKS), True
    while text[-2:] in ("/W", "/w") and text[-3:-2] in (*BLANKS,):
        text, verbose = text[:-2].rstrip(BLANKS), True
    return text, verbose
