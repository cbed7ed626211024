"""The Finger wire format (RFC 1288 section 2), pure: bytes to queries, texts to bytes.

No socket, clock, thread or log is known here. A query line is read by
:func:`parse_query`, an answer is made ready for the wire by
:func:`encode_reply`; both are total: any bytes are a query or a
:class:`~fingerd.errors.QueryError`, any text becomes a clean reply.
"""

import re
from dataclasses import dataclass, field, replace

from fingerd.errors import QueryError

NO_SUCH_USER = "No such user"
INTERNAL_ERROR = "Internal error in server"
FORWARDING_DENIED = "Finger forwarding service denied"
NO_SUCH_HOST = "No such host"
HOST_UNREACHABLE = "Host cannot be reached"
HOST_SILENT = "Host does not answer"
LIST_DENIED = "Finger online user list denied"
SERVICE_DENIED = "Finger service denied"
QUERY_TOO_LONG = "Query too long"
MALFORMED_QUERY = "Malformed query"
AMBIGUOUS_NAME = "Ambiguous name, ask for a login"
TOO_MANY_QUERIES = "Too many queries, try again later"
SERVICE_BUSY = "Finger service is busy, try again later"
ANSWER_CUT = "[answer cut]"

CRLF = b"\r\n"
BLANKS = " \t"

# RFC 854: IAC IAC is the byte 255; WILL, WONT, DO and DONT take an option byte; SB runs to IAC SE.
IAC = b"\xff"
_TELNET = re.compile(rb"\xff(?:(\xff)|[\xfb-\xfe].?|\xfa.*?(?:\xff\xf0|\Z)|[\xf0-\xf9])?", re.DOTALL)

_CONTROLS = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f]")  # all but tab: no query may hold one
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # what no terminal and no log should get
_BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]")  # what ends a line, or moves in it
_UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and the line feed: masked in answers


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


def read_text(line: bytes) -> str:
    """The text of a client's bytes: UTF-8, or Latin-1 where they are not UTF-8."""
    return _decode(line)[0]


def _decode(line: bytes) -> tuple[str, str]:
    try:
        return line.decode(), "utf-8"
    except UnicodeDecodeError:
        return line.decode("latin-1"), "latin-1"


def is_text(text: str) -> bool:
    """Whether it can be written in UTF-8, which has no half of a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def strip_line_end(line: bytes) -> bytes:
    """The line without its CR LF or bare LF, where it has one."""
    return line.removesuffix(b"\n").removesuffix(b"\r")


def parse_query(line: bytes) -> Query:
    """Read one query line, with or without its line end; QueryError where it cannot be read as one.

    Liberal where that is harmless (RFC 1288 2.3): ``/w``, a trailing ``/W``
    (RFC 1196), blanks at either end, a telnet client's own sequences.
    """
    line = strip_line_end(line)
    if IAC in line:
        line = _TELNET.sub(rb"\1", line)
    text, charset = _decode(line)
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


def _take_verbose(text: str) -> tuple[str, bool]:
    """Take the {W} tokens off both ends; a ``/W`` that touches other text belongs to the name."""
    verbose = False
    while text[:2] in ("/W", "/w") and text[2:3] in ("", *BLANKS):
        text, verbose = text[2:].lstrip(BLANKS), True
    while text[-2:] in ("/W", "/w") and text[-3:-2] in (*BLANKS,):
        text, verbose = text[:-2].rstrip(BLANKS), True
    return text, verbose


def encode_reply(text: str, charset: str = "utf-8") -> bytes:
    """The answer as it goes out (RFC 1288 2.2): every line ended by CR LF, no control character but tab.

    Line ends may come in as CR LF, LF or CR. Other control characters, lone
    surrogates and whatever ``charset`` cannot hold go out as ``?``.
    """
    if not text.isprintable():
        text = _UNSAFE.sub("?", text.replace("\r\n", "\n").replace("\r", "\n"))
        text = text.removesuffix("\n").replace("\n", "\r\n")
    return text.encode(charset, "replace") + CRLF


def cut_reply(reply: bytes, limit: int) -> bytes:
    """The reply, or what fits of it into ``limit`` bytes, cut at a line's end and saying so.

    A single line that is longer than ``limit`` is cut inside, but not inside
    of a UTF-8 character.
    """
    if len(reply) <= limit:
        return reply
    closing = ANSWER_CUT.encode() + CRLF
    room = max(limit - len(closing), 0)
    end = reply.rfind(CRLF, 0, room)
    if end >= 0:
        return reply[: end + len(CRLF)] + closing
    room = max(room - len(CRLF), 0)
    for _ in range(3):  # no character of UTF-8 has more bytes after its first
        room -= room > 0 and reply[room] & 0xC0 == 0x80
    return reply[:room] + CRLF + closing if room else closing


def mark_cut(text: str) -> str:
    """A text whose rest is missing, up to its last whole line, closed by the words that say so."""
    whole, newline, rest = text.rpartition("\n")
    return f"{whole if newline else rest}\n{ANSWER_CUT}\n"


def read_cut(data: bytes, limit: int) -> str:
    """The text of the first ``limit`` bytes, no UTF-8 character and, if there are several lines, no line halved."""
    end = limit
    while end > max(limit - 4, 0) and end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return mark_cut(read_text(data[:end]))


def one_line(text: str) -> str:
    """The text as a part of one line: line ends and tabs as blanks, other control characters as ``?``."""
    return text if text.isprintable() else _UNSAFE.sub("?", _BREAKS.sub(" ", text))


def escape_controls(text: str) -> str:
    """The text with its control characters, line ends among them, and its surrogates as escape sequences."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
