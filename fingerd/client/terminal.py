"""Filtering the bytes from a server for a terminal (RFC 1288 3.3). No I/O.

Bytes are read as UTF-8, and as windows-1252 where they are not UTF-8. A character that may not be shown becomes one
``?``, so that nothing is removed silently and columns stay aligned.
"""

import codecs
import io
import re

from fingerd.text import AS_WINDOWS_1252

# Above 126, by code points and not by the tables of this Python: what a later version of Unicode assigns is shown.
_DANGEROUS = (
    "\x7f-\x9f"  # DEL and C1 controls
    "\u061c\u200e\u200f\u2028-\u202e"  # writing direction; separators of lines and paragraphs
    "\u2065-\u206f"  # invisible: unassigned, writing direction, deprecated format controls
    "\ud800-\udfff"  # surrogates, which are not characters
    "\ue000-\uf8ff"  # private
    "\ufdd0-\ufdef"  # noncharacters
    "\ufff0-\ufffb\ufffe\uffff"  # invisible: unassigned, annotations; noncharacters
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0xF0000, 0x10000))
    + "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # invisible: tags, unassigned
    "\U000f0000-\U0010ffff"  # private
)
_EMOJI = "[\u2600-\u27bf\U0001f000-\U0001faff]\ufe0f?"
_TAGS = "".join(map(chr, range(0xE0020, 0xE0080)))  # a flag such as Wales' is an emoji and tags that spell gbwls
_FILTERED = re.compile(f"{_EMOJI}[{_TAGS}]+|[^\t\n -~]")  # all but tab, line feed, and 32 to 126
_MASKED = re.compile(f"[{_DANGEROUS}]")
_EMOJI_AT_END = re.compile(f"{_EMOJI}\\Z")


def mask(text: str, international: bool, controls: bool) -> str:
    """The text with ``?`` for each character that may not be shown.

    Tab, line feed and 32 to 126 are always shown, all other characters below 32 with ``controls``. Characters above 126
    are shown with ``international``, also joiners and other harmless format characters, and tags after an emoji. Never
    shown are DEL, C1 controls (128 to 159), characters that change the writing direction, private ones, noncharacters,
    surrogates, and invisible characters without a meaning.
    """

    def replacement(match: re.Match[str]) -> str:
        character = match[0]
        if character < " ":
            return character if controls else "?"
        if not international:
            return "?" * len(character)
        return "?" if _MASKED.match(character) else character

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
        utf8 = codecs.getincrementaldecoder("utf-8")(AS_WINDOWS_1252)
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=not controls)  # keeps partial characters and a CR
        self._emoji = ""  # at the end of what was shown, where the next chunk may begin with its tags

    def show(self, received: bytes, final: bool = False) -> bytes:
        """The bytes to write for a chunk. ``final`` flushes what was kept, and ends an incomplete line."""
        text = self._decoder.decode(received, final).replace("\r\n", "\n")
        if text:
            self.at_line_start = text.endswith("\n")
            text = self._masked(text)
        if final and not self.at_line_start:
            self.at_line_start = True
            text += "\n"
        return text.encode(self.charset, "replace")

    def _masked(self, text: str) -> str:
        """The text as ``mask`` returns it after what was shown before."""
        before, text = self._emoji, self._emoji + text
        base = text.rstrip(_TAGS)
        tagged = _EMOJI_AT_END.search(base, max(len(base) - 2, 0))
        self._emoji = tagged[0] if tagged else ""
        return mask(text, self.international, self.controls)[len(before) :]
