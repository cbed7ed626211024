"""Replies (RFC 1288 2.2): the fixed texts, encoding, and truncation to a limit."""

import re

from fingerd.text import ANSWER_CUT, SGR_RESET, UNSAFE_UNCOLORED

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
_C0_MASKED = bytes(ord("?") if (byte < 0x20 and byte not in b"\t\n") or byte == 0x7F else byte for byte in range(256))
_C0_C1_MASKED = bytes(ord("?") if 0x80 <= byte < 0xA0 else _C0_MASKED[byte] for byte in range(256))
_C1_IN_UTF_8 = re.compile(rb"\xc2[\x80-\x9f]")


def encode_reply(text: str, charset: str = "utf-8", colors: bool = False) -> bytes:
    """Encode an answer: every line ends with CR LF (RFC 1288 2.2), and tab is the only other control character.

    The text may have CR LF, LF or CR as line ends. Other control characters, lone surrogates and characters outside
    ``charset`` become ``?``. With ``colors``, SGR sequences stay as they are.
    """
    if text.isprintable():
        return text.encode(charset, "replace") + CRLF
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if colors and "\x1b" in text:
        text = UNSAFE_UNCOLORED.sub("?", text)
        reply = text.encode(charset, "replace")
    else:
        reply = _mask_controls(text.encode(charset, "replace"), charset)
    return reply.removesuffix(b"\n").replace(b"\n", CRLF) + CRLF


def _mask_controls(reply: bytes, charset: str) -> bytes:
    """As replacing ``text.UNSAFE`` before encoding does, in a third of its time: anybody may ask for long answers."""
    if charset != "utf-8":  # ASCII and Latin-1 have one byte for each character
        return reply.translate(_C0_C1_MASKED)
    reply = reply.translate(_C0_MASKED)
    return _C1_IN_UTF_8.sub(b"?", reply) if b"\xc2" in reply else reply


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
