"""What of a server's bytes may reach a terminal (RFC 1288 3.3). Pure.

Bytes are read as UTF-8, and as Latin-1 where they are not UTF-8. What may not
be shown becomes ``?``, one for each character, so that nothing is taken away
unseen and columns stay where they are.
"""

import codecs
import io
import re

_PLAIN = re.compile("[^\t\n -~]")  # all but tab, line end, and 32 to 126
_BLANKS = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # Python calls all but " " unprintable
_LATIN_1 = "fingerd-latin-1"  # how the decoder knows _as_latin_1


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    """For ``codecs``: the bytes that are no UTF-8, as Latin-1, and where to go on."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - the decoder's promise
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(_LATIN_1, _as_latin_1)


def mask(text: str, international: bool, controls: bool) -> str:
    """The text with ``?`` for each character that may not be shown.

    Tabs, line feeds and 32 to 126 always may; all others below 32 with
    ``controls``. Those above 126 may with ``international``, if they are
    characters to be seen: not DEL, the C1 controls 128 to 159, nor what is
    for format and direction, private, or no character at all.
    """

    def shown(match: re.Match[str]) -> str:
        character = match[0]
        if character < " ":
            return character if controls else "?"
        visible = international and (character.isprintable() or _BLANKS.match(character))
        return character if visible else "?"

    return _PLAIN.sub(shown, text)


class TerminalFilter:
    """Makes of an answer, as it comes, what may be written to the user's terminal.

    ``international`` and ``controls`` are the user's two options (RFC 1288
    3.3), ``charset`` that of the user's locale; what it cannot hold is ``?``.
    Line ends may come as CR LF, LF or CR, and go out as LF. With ``controls``
    a CR alone is one of the controls.
    """

    def __init__(self, international: bool, controls: bool, charset: str) -> None:
        self.international = international
        self.controls = controls
        self.at_line_start = True  # whether what comes next stands at the beginning of a line
        try:
            self.charset = codecs.lookup(charset).name
        except LookupError:
            self.charset = "ascii"
        utf8 = codecs.getincrementaldecoder("utf-8")(_LATIN_1)
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=not controls)  # holds back halves, and a last CR

    def show(self, received: bytes, final: bool = False) -> bytes:
        """What to write for the next bytes; ``final`` gives what was held back, and ends a line that has no end."""
        text = self._decoder.decode(received, final).replace("\r\n", "\n")
        text = mask(text, self.international, self.controls)
        if text:
            self.at_line_start = text.endswith("\n")
        if final and not self.at_line_start:
            self.at_line_start = True
            text += "\n"
        return text.encode(self.charset, "replace")
