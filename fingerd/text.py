"""Untrusted text on its way to terminals and logs: decoding, truncating, masking."""

import codecs
import re
import unicodedata
from collections.abc import Iterable

ANSWER_CUT = "[answer cut]"  # the last line of a truncated text

UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")  # control characters except tab and line feed: masked in answers
SGR_RESET = "\x1b[0m"  # ends all colors and styles of a terminal
_SGR = "\x1b\\[[0-9;]{0,64}m"  # a color or style of ECMA-48; longer ones are none
UNSAFE_UNCOLORED = re.compile(f"(?!{_SGR}){UNSAFE.pattern}")  # as UNSAFE, but for colors and styles
_COLORED = re.compile(_SGR)
_RESETS = (SGR_RESET, "\x1b[m")
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # escaped for logs and terminals
_SURROGATE = re.compile("[\ud800-\udfff]")
_BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]")  # line ends, tabs and form feeds

WINDOWS_1252 = codecs.lookup("cp1252").name  # loaded now: a chroot has no modules
AS_WINDOWS_1252 = "fingerd-windows-1252"  # an error handler of codecs: invalid bytes of UTF-8 are read as windows-1252


def read_text(data: bytes) -> str:
    """Decode bytes of an unknown charset as UTF-8, or as windows-1252 if they are not valid UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return read_windows_1252(data)


def read_windows_1252(data: bytes) -> str:
    """Decode bytes as windows-1252, in which they are never C1 controls; its five undefined bytes become ``?``."""
    return data.decode(WINDOWS_1252, "replace").replace("\ufffd", "?")


def _invalid_as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - the decoder's promise
    return read_windows_1252(error.object[error.start : error.end]), error.end


codecs.register_error(AS_WINDOWS_1252, _invalid_as_windows_1252)


def decode_line(line: bytes) -> tuple[str, str]:
    """Decode bytes as UTF-8 or windows-1252; returns the text and its charset, which encodes it to the same bytes.

    Raises UnicodeDecodeError for a byte that is undefined in windows-1252.
    """
    try:
        return line.decode(), "utf-8"
    except UnicodeDecodeError:
        return line.decode(WINDOWS_1252), WINDOWS_1252


def is_text(text: str) -> bool:
    """Whether the text can be encoded in UTF-8, which has no lone surrogates."""
    return not _SURROGATE.search(text)


def to_nfc(name: str) -> str:
    """The form in which names are compared and are keys: NFC, in which a letter with an accent is one character."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_same_name(name: str, other: str) -> bool:
    """Whether two names are equal, byte for byte after NFC: case, width, spaces and look-alikes count."""
    return name == other or to_nfc(name) == to_nfc(other)


def spellings(name: str) -> tuple[str, ...]:
    """The forms in which a source that compares bytes may have the name: NFC, and NFD if that differs."""
    if name.isascii():
        return (name,)
    return tuple(dict.fromkeys((to_nfc(name), unicodedata.normalize("NFD", name))))


def is_one_of(name: str, names: Iterable[str]) -> bool:
    """Whether this is one of the names, as ``is_same_name`` compares them; ``weather:*`` is any that begins so."""
    composed = to_nfc(name)
    return any(
        composed.startswith(each[:-1]) if each.endswith("*") else composed == each for each in map(to_nfc, names)
    )


def first_line(data: bytes) -> bytes:
    """The bytes before the first line end: CR LF, LF, CR or CR NUL."""
    return data.partition(b"\n")[0].partition(b"\r")[0]


def mark_cut(text: str) -> str:
    """A truncated text up to its last complete line, or its only line, followed by the line ``[answer cut]``."""
    complete, newline, rest = text.rpartition("\n")
    return f"{complete if newline else rest}\n{ANSWER_CUT}\n"


def read_cut(data: bytes, limit: int) -> str:
    """Decode the first ``limit`` bytes and mark the cut. No UTF-8 character is split, nor one of several lines."""
    return mark_cut(read_text(whole_characters(data, limit)))


def whole_characters(data: bytes, limit: int) -> bytes:
    """At most the first ``limit`` bytes, of which the last ones are no part of a UTF-8 character that goes on."""
    end = limit
    while end > max(limit - 4, 0) and end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end]


def one_line(text: str) -> str:
    """The text in one line: line ends and tabs become spaces, other control characters ``?``."""
    return text if text.isprintable() else UNSAFE.sub("?", _BREAKS.sub(" ", text))


def end_colors(text: str) -> str:
    """The text with a reset at its end, before its line end, if it has colors or styles and does not end in one."""
    if "\x1b" not in text or not _COLORED.search(text):
        return text
    end = len(text.rstrip("\r\n"))
    return text if text.endswith(_RESETS, 0, end) else f"{text[:end]}{SGR_RESET}{text[end:]}"


def without_colors(text: str) -> str:
    """The text without its colors and styles."""
    return _COLORED.sub("", text) if "\x1b" in text else text


def escape_controls(text: str) -> str:
    """The text with control characters, line ends included, and surrogates as Python escape sequences."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
