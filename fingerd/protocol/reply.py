"""Replies (RFC 1288 2.2): the fixed texts, encoding, and truncation to a limit."""

import re

from fingerd.text import ANSWER_CUT, SGR_RESET, UNSAFE, UNSAFE_UNCOLORED

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

CRLF = b"\r\n"
CUT_LINE = ANSWER_CUT.encode() + CRLF  # the last line of a truncated reply
_PARTIAL_SGR = re.compile(rb"\x1b[^m]*\Z")


def encode_reply(text: str, charset: str = "utf-8", colors: bool = False) -> bytes:
    """Encode an answer: every line ends with CR LF (RFC 1288 2.2), and tab is the only other control character.

    The text may have CR LF, LF or CR as line ends. Other control characters, lone surrogates and characters outside
    ``charset`` become ``?``. With ``colors``, SGR sequences stay as they are.
    """
    if not text.isprintable():
        unsafe = UNSAFE_UNCOLORED if colors else UNSAFE
        text = unsafe.sub("?", text.replace("\r\n", "\n").replace("\r", "\n"))
        text = text.removesuffix("\n").replace("\n", "\r\n")
    return text.encode(charset, "replace") + CRLF


def cut_reply(reply: bytes, limit: int) -> bytes:
    """Truncate a reply to ``limit`` bytes, at the end of a line, and append the line ``[answer cut]``, uncolored."""
    if len(reply) <= limit:
        return reply
    ending = (SGR_RESET.encode() if b"\x1b" in reply[:limit] else b"") + CRLF
    budget = max(limit - len(CUT_LINE) - len(ending) + len(CRLF), 0)
    end = reply.rfind(CRLF, 0, budget)
    if end >= 0:
        return reply[:end] + ending + CUT_LINE
    budget = max(budget - len(CRLF), 0)  # the first line is too long: it is cut between two UTF-8 characters
    for _ in range(3):  # a UTF-8 character has at most three continuation bytes
        budget -= budget > 0 and reply[budget] & 0xC0 == 0x80
    return _PARTIAL_SGR.sub(b"", reply[:budget]) + ending + CUT_LINE if budget else CUT_LINE
