"""Answers for the wire (RFC 1288 2.2): the fixed words, and any text as clean bytes, cut where it is too long."""

from fingerd.text import ANSWER_CUT, UNSAFE

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


def encode_reply(text: str, charset: str = "utf-8") -> bytes:
    """The answer as it goes out (RFC 1288 2.2): every line ended by CR LF, no control character but tab.

    Line ends may come in as CR LF, LF or CR. Other control characters, lone
    surrogates and whatever ``charset`` cannot hold go out as ``?``.
    """
    if not text.isprintable():
        text = UNSAFE.sub("?", text.replace("\r\n", "\n").replace("\r", "\n"))
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
