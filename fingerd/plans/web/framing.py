"""The framing of requests that may have a body: of a length that its head tells, or in chunks. Both are bounded."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from fingerd.http.framing import MAX_HEAD_BYTES, HeadFraming
from fingerd.http.request import HttpError, malformed
from fingerd.server.limits import Limits

METHODS_WITH_BODY = (b"PUT", b"POST")
MAX_CHUNKS = 256  # of one body: to find its end, they are gone through each time when more of it has come
CHUNK_BYTES = 48  # of the line before a chunk, with its end and an extension

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_BODY_FIELD = re.compile(rb"(?im)^(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$")
_LENGTH = re.compile(rb"[0-9]{1,12}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~]{0,32})?\r\n")  # RFC 9112 7.1; its extension is ignored
_WAITS = re.compile(rb"(?im)^expect[ \t]*:[ \t]*100-continue[ \t]*\r?$")  # RFC 9110 10.1.1


class Framed(NamedTuple):
    """A whole request in what was received, which may go on after ``end``: its head, and the parts of its body.

    Up to ``end`` is what shows a problem, too.
    """

    head: bytes
    end: int
    parts: tuple[tuple[int, int], ...] = ()  # from where to where
    problem: HttpError | None = None  # for which the body is not read

    def body_of(self, received: bytes) -> bytes:
        """The body, without the lines between chunks."""
        return b"".join(received[start:stop] for start, stop in self.parts)


def frame(received: bytes, max_body: int) -> Framed | None:
    """The request at the beginning of these bytes; None if more of it must come."""
    start = HeadFraming.find_end(received[: MAX_HEAD_BYTES + 1]) + 1
    if not start:
        is_too_long = len(received) > MAX_HEAD_BYTES
        return Framed(received[: MAX_HEAD_BYTES + 1], MAX_HEAD_BYTES + 1) if is_too_long else None
    head = received[:start]
    if head.partition(b" ")[0] not in METHODS_WITH_BODY:
        return Framed(head, start)
    fields = _BODY_FIELD.findall(head)
    if not fields:
        problem = HttpError(HTTPStatus.LENGTH_REQUIRED, "A body is needed, and its length", "malformed")
        return Framed(head, start, problem=problem)
    name, value = fields[0]
    if len(fields) == 1 and name.lower() == b"transfer-encoding" and value.lower() == b"chunked":
        return _frame_chunks(received, head, max_body)
    if len(fields) > 1 or name.lower() != b"content-length" or not _LENGTH.fullmatch(value):
        return Framed(head, start, problem=malformed("The length of the body is not clear"))
    if (end := start + int(value)) > start + max_body:
        return Framed(head, start, problem=_too_long(max_body))
    return Framed(head, end, ((start, end),)) if len(received) >= end else None


def _frame_chunks(received: bytes, head: bytes, max_body: int) -> Framed | None:
    """The request whose body is in chunks; no trailer may follow them."""
    parts: list[tuple[int, int]] = []
    position, size = len(head), 0
    while match := _CHUNK.match(received, position):
        length, start = int(match[1], 16), match.end()
        position, size = start + length, size + length
        if size > max_body or (length and len(parts) >= MAX_CHUNKS):
            return Framed(head, len(received), problem=_too_long(max_body))
        line_end = received[position : position + 2]
        if len(line_end) < 2:
            return None if b"\r\n".startswith(line_end) else _not_chunks(head, received)
        if line_end != b"\r\n":
            return _not_chunks(head, received)
        position += 2
        if not length:
            return Framed(head, position, tuple(parts))
        parts.append((start, start + length))
    rest = received[position : position + CHUNK_BYTES]
    return None if len(rest) < CHUNK_BYTES and b"\n" not in rest else _not_chunks(head, received)


def _not_chunks(head: bytes, received: bytes) -> Framed:
    return Framed(head, len(received), problem=malformed("The body is not in chunks, as its head says"))


def _too_long(max_body: int) -> HttpError:
    text = f"The request is longer than the {max_body} bytes that are read of one"
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, "too-long")


class BodyFraming:
    """A request is complete with its body, or as soon as it is clear that it has none that is read."""

    find_other_end: Callable[[bytes], int] = staticmethod(HeadFraming.find_other_end)

    def __init__(self, max_body: int) -> None:
        self.max_body = max_body

    def find_end(self, received: bytes) -> int:
        """The place of the last byte of the request, or -1."""
        framed = frame(received, self.max_body)
        return framed.end - 1 if framed else -1

    @staticmethod
    def interim(received: bytes) -> bytes:
        """The word for which a client waits before it sends a body; empty if it waits for none."""
        end = HeadFraming.find_end(received) + 1
        return CONTINUE if end and _WAITS.search(received, 0, end) and b" HTTP/1.1" in received[:end] else b""

    def max_bytes(self, limits: Limits) -> int:
        """A head, and a body in as many chunks as may be."""
        return MAX_HEAD_BYTES + self.max_body + MAX_CHUNKS * (CHUNK_BYTES + 2)
