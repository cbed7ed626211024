"""The answer of another RUIP on its way to a client: bytes go in as they arrive, clean lines come out early."""

import codecs
from functools import partial

from fingerd.protocol.reply import CRLF, CUT_LINE, cut_reply, encode_reply
from fingerd.text import read_text, read_windows_1252

_MAX_CHARACTER_BYTES = 4  # of UTF-8, which may become one "?"


class Relay:
    """One answer, of at most ``limit`` bytes. The output adds up to ``cut_reply`` of the whole answer.

    A line is sent once it is complete and there is room for it and for
    CUT_LINE. Each line is decoded as UTF-8, or else as windows-1252.
    """

    def __init__(self, charset: str, limit: int) -> None:
        self._encode = partial(encode_reply, charset=charset)
        self._limit = limit  # bytes
        self._sent = 0  # bytes
        self._pending = b""  # clean lines, held back until it is known whether the answer has to be cut
        self._partial = bytearray()  # the start of a line that is not complete

    @property
    def is_full(self) -> bool:
        """Whether everything that is still to come would be cut."""
        return self._sent + len(self._pending) > self._limit or len(self._partial) > _MAX_CHARACTER_BYTES * self._limit

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the answer; returns the lines that can be sent now."""
        end = data.rfind(b"\n") + 1
        if end:
            self._pending += self._encode(_decode_lines(bytes(self._partial) + data[:end]))
            self._partial.clear()
        self._partial += data[end:]
        return self._take_lines()

    def finish(self, is_cut: bool = False) -> bytes:
        """The rest of the answer, which ends in CUT_LINE if ``is_cut`` or if it exceeds the limit."""
        if self._partial:
            partial = bytes(self._partial)
            self._pending += self._encode(_decode_partial(partial) if is_cut else _decode_lines(partial))
        if is_cut:
            self._pending += CUT_LINE
        if self._sent + len(self._pending) <= self._limit:
            return self._pending
        return self._take_lines() + CUT_LINE if self._sent else cut_reply(self._pending, self._limit)

    def _take_lines(self) -> bytes:
        """Remove from the pending lines those for which there is room before CUT_LINE."""
        room = max(self._limit - len(CUT_LINE) - self._sent, 0)
        end = self._pending.rfind(CRLF, 0, room) + len(CRLF)
        if end < len(CRLF):
            return b""
        lines, self._pending = self._pending[:end], self._pending[end:]
        self._sent += end
        return lines


def _decode_lines(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(map(read_text, data.splitlines(keepends=True)))


def _decode_partial(data: bytes) -> str:
    """The text of an incomplete line, without an incomplete UTF-8 character at its end."""
    try:
        return codecs.utf_8_decode(data, "strict", False)[0]
    except UnicodeDecodeError:
        return read_windows_1252(data)
