"""What another RUIP says, on its way to a client: bytes in as they come, clean lines out as soon as they may go."""

import codecs

from fingerd.protocol.reply import CRLF, cut_reply, encode_reply
from fingerd.text import ANSWER_CUT, read_text

_CLOSING = ANSWER_CUT.encode() + CRLF
_MOST_SHRUNK = 4  # bytes of UTF-8 that may become one "?"


class Relay:
    """One answer. All that goes out is together what ``cut_reply`` would make of the whole, and no more than it may be.

    A line goes out once it is whole, and once there is surely room for it and
    for the words that the answer was cut. Each line is UTF-8, or Latin-1.
    """

    def __init__(self, charset: str, limit: int) -> None:
        self._charset = charset
        self._limit = limit  # bytes
        self._told = 0  # of these
        self._held = b""  # clean lines that have to wait, until it is known whether the answer is to be cut
        self._rest = bytearray()  # of a line whose end has not come

    @property
    def is_full(self) -> bool:
        """Whether all that may still come would be cut."""
        return self._told + len(self._held) > self._limit or len(self._rest) > _MOST_SHRUNK * self._limit

    def take(self, data: bytes) -> bytes:
        """What can go out, now that this has come."""
        end = data.rfind(b"\n") + 1
        if end:
            self._held += self._clean(_read_lines(bytes(self._rest) + data[:end]))
            self._rest.clear()
        self._rest += data[end:]
        return self._tell(self._room())

    def end(self, is_cut: bool = False) -> bytes:
        """The rest; ``is_cut``, if more would have come, which is told then."""
        if self._rest:
            rest = bytes(self._rest)
            self._held += self._clean(_read_part(rest) if is_cut else _read_lines(rest))
        if is_cut:
            self._held += _CLOSING
        if len(self._held) <= self._limit - self._told:
            return self._held
        return self._tell(self._room()) + _CLOSING if self._told else cut_reply(self._held, self._limit)

    def _room(self) -> int:
        """Bytes for lines, beside the words that the answer was cut."""
        return max(self._limit - len(_CLOSING) - self._told, 0)

    def _tell(self, room: int) -> bytes:
        """The first of the lines that are held, as many as there is room for."""
        end = self._held.rfind(CRLF, 0, room) + len(CRLF)
        if end < len(CRLF):
            return b""
        lines, self._held = self._held[:end], self._held[end:]
        self._told += end
        return lines

    def _clean(self, text: str) -> bytes:
        return encode_reply(text, self._charset)


def _read_lines(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(map(read_text, data.splitlines(keepends=True)))


def _read_part(data: bytes) -> str:
    """The text of a line whose end is missing, without the half of a character that may stand there."""
    try:
        return codecs.utf_8_decode(data, "strict", False)[0]
    except UnicodeDecodeError:
        return data.decode("latin-1")
