"""The framing of requests that may have a body: of a length that its head tells, or in chunks. Both are bounded."""

import re
from collections.abc import Callable
from http import HTTPStatus

from fingerd.http.framing import MAX_HEAD_BYTES, HeadFraming
from fingerd.http.request import HttpError, malformed
from fingerd.server.limits import Limits

METHODS_WITH_BODY = (b"PUT", b"POST")
MAX_FRAMING_BYTES = 1 << 16  # of all lines between the chunks of a body: some 13,000 chunks of one byte
CHUNK_BYTES = 48  # of the line before a chunk, with its end and an extension

_BODY_FIELD = re.compile(rb"(?im)^(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$")
_LENGTH = re.compile(rb"[0-9]{1,12}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~]{0,32})?\r\n")  # RFC 9112 7.1; its extension is ignored
_WAITS = re.compile(rb"(?im)^expect[ \t]*:[ \t]*100-continue[ \t]*\r?$")  # RFC 9110 10.1.1


class RequestReader:
    """Reads one request as its bytes come. A part of it costs its own length, however much is there already."""

    def __init__(self, max_body: int) -> None:
        self.head = b""  # as far as it is there
        self.body = bytearray()  # the same, without the lines between chunks
        self.is_complete = False
        self.is_awaited = False  # the client waits for a word before it sends the body
        self.problem: HttpError | None = None  # for which the body is not read
        self._max_body = max_body
        # Reads from a place on, up to the one that it returns. Bound methods would make a cycle, which keeps the body.
        self._read: Callable[[RequestReader, bytes, int], int] = RequestReader._read_head
        self._left = 0  # bytes of the body, or of the chunk, that are not there
        self._line = b""  # what is there of the line before or after a chunk
        self._framing_bytes = 0

    def feed(self, data: bytes) -> bool:
        """Read what has come; true if the request is complete, or is none. What follows it is ignored."""
        position = 0
        while position < len(data) and not self.is_complete:
            position = self._read(self, data, position)
        return self.is_complete

    def _read_head(self, data: bytes, position: int) -> int:
        known = len(self.head)
        head = self.head = self.head + data[: MAX_HEAD_BYTES + 1 - known]
        start = max(known - 2, 0)  # an empty line may have begun
        end = HeadFraming.find_end(head[start:]) + 1
        if not end:
            begins = b"\n" not in head[:known]
            self.is_complete = len(head) > MAX_HEAD_BYTES or (begins and HeadFraming.find_other_end(head) >= 0)
            return len(data)
        self.head = head[: start + end]
        self._begin_body()
        return start + end - known

    def _begin_body(self) -> None:
        if self.head.partition(b" ")[0] not in METHODS_WITH_BODY:
            self.is_complete = True
            return
        fields = _BODY_FIELD.findall(self.head)
        if not fields:
            return self._refuse(HttpError(HTTPStatus.LENGTH_REQUIRED, "A body is needed, and its length", "malformed"))
        name, value = fields[0]
        if len(fields) == 1 and name.lower() == b"transfer-encoding" and value.lower() == b"chunked":
            self._read = RequestReader._read_size
        elif len(fields) > 1 or name.lower() != b"content-length" or not _LENGTH.fullmatch(value):
            self._refuse(malformed("The length of the body is not clear"))
        elif int(value) > self._max_body:
            self._refuse_length()
        else:
            self._left = int(value)
            self._read = RequestReader._read_body
            self.is_complete = not self._left
        self.is_awaited = not self.is_complete and bool(_WAITS.search(self.head)) and b" HTTP/1.1" in self.head

    def _read_body(self, data: bytes, position: int) -> int:
        position = self._read_left(data, position)
        self.is_complete = not self._left
        return position

    def _read_left(self, data: bytes, position: int) -> int:
        stop = min(position + self._left, len(data))
        self.body += data[position:stop]
        self._left -= stop - position
        return stop

    # Chunks; no trailer may follow them.

    def _read_size(self, data: bytes, position: int) -> int:
        stop = position + CHUNK_BYTES - len(self._line)
        end = data.find(b"\n", position, stop) + 1 or min(stop, len(data))
        line = self._line = self._line + data[position:end]
        if not line.endswith(b"\n"):
            if len(line) >= CHUNK_BYTES:
                self._refuse_chunks()
            return end
        self._line = b""
        if not (match := _CHUNK.fullmatch(line)):
            self._refuse_chunks()
            return end
        self._left = int(match[1], 16)
        self._framing_bytes += len(line) + len(b"\r\n")
        if len(self.body) + self._left > self._max_body:
            self._refuse_length()
        elif self._framing_bytes > MAX_FRAMING_BYTES:
            text = "The body is in too many and too small chunks"
            self._refuse(HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, "too-long"))
        self._read = RequestReader._read_chunk if self._left else RequestReader._read_last_end
        return end

    def _read_chunk(self, data: bytes, position: int) -> int:
        position = self._read_left(data, position)
        if not self._left:
            self._read = RequestReader._read_end
        return position

    def _read_end(self, data: bytes, position: int) -> int:
        """The line end after a chunk."""
        stop = position + len(b"\r\n") - len(self._line)
        self._line += data[position:stop]
        if not b"\r\n".startswith(self._line):
            self._refuse_chunks()
        elif self._line == b"\r\n":
            self._line = b""
            self._read = RequestReader._read_size
        return min(stop, len(data))

    def _read_last_end(self, data: bytes, position: int) -> int:
        position = self._read_end(data, position)
        self.is_complete = self.is_complete or self._read == RequestReader._read_size
        return position

    # What is not read.

    def _refuse(self, problem: HttpError) -> None:
        self.problem, self.is_complete = problem, True
        self.body.clear()

    def _refuse_length(self) -> None:
        text = f"The request is longer than the {self._max_body} bytes that are read of one"
        self._refuse(HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, "too-long"))

    def _refuse_chunks(self) -> None:
        self._refuse(malformed("The body is not in chunks, as its head says"))


class BodyFraming(HeadFraming):
    """A request is complete with its body, or as soon as it is clear that it has none that is read."""

    def __init__(self, max_body: int) -> None:
        self.max_body = max_body

    def new_reader(self) -> RequestReader:
        """What reads the request of one connection."""
        return RequestReader(self.max_body)

    def max_bytes(self, limits: Limits) -> int:
        """A head and a body; the lines between chunks are not kept."""
        return MAX_HEAD_BYTES + self.max_body
