"""Filtering the bytes from a server for a terminal (RFC 1288 3.3). No I/O.

Bytes are read as UTF-8, and as Latin-1 where they are not UTF-8. A character that may not be shown becomes one ``?``,
so that nothing is removed silently and columns stay aligned.
"""

import codecs
import io
import re

_FILTERED = re.compile("[^\t\n -~]")  # all but tab, line feed, and 32 to 126
_SPACES = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # str.isprintable() is False for all but " "
_LATIN_1 = "fingerd-latin-1"  # the name of the codec error handler


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    """A codec error handler: decodes the invalid bytes as Latin-1."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - the decoder's promise
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(_LATIN_1, _as_latin_1)


def mask(text: str, international: bool, controls: bool) -> str:
    """The text with ``?`` for each character that may not be shown.

    Tab, line feed and 32 to 126 are always shown, all other characters below 32 with ``controls``. Characters above 126
    are shown with ``international`` if they are visible: not DEL, C1 controls (128 to 159), format and direction
    characters, private or unassigned ones.
    """

    def replacement(match: re.Match[str]) -> str:
        character = match[0]
        visible = character.isprintable() or _SPACES.match(character)
        return character if (controls if character < " " else international and visible) else "?"

    return _FILTERED.sub(replacement, text)


class TerminalFilter:
    """Turns the chunks of an answer into bytes that may be written to the user's terminal.

    ``international`` and ``controls`` are the user's two options (RFC 1288 3.3), ``charset`` is that of the locale; a
    character that it cannot encode becomes ``?``. CR LF, LF and CR end a line, and are written as LF. With
    ``controls``, a lone CR is a control character.
    """

    def __init__(self, international: bool, controls: bool, charset: str) -> None:
        self.international = international
        self.controls = controls
        self.at_line_start = True
        try:
            self.charset = codecs.lookup(charset).name
        except LookupError:
            self.charset = "ascii"
        utf8 = codecs.getincrementaldecoder("utf-8")(_LATIN_1)
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=not controls)  # keeps partial characters and a CR

    def show(self, received: bytes, final: bool = False) -> bytes:
        """The bytes to write for a chunk. ``final`` flushes what was kept, and ends an incomplete line."""
        text = self._decoder.decode(received, final).replace("\r\n", "\n")
        text = mask(text, self.international, self.controls)
        if text:
            self.at_line_start = text.endswith("\n")
        if final and not self.at_line_start:
            self.at_line_start = True
            text += "\n"
        return text.encode(self.charset, "replace")
