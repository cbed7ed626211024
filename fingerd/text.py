"""Untrusted text on its way to terminals and logs: decoding, truncating, masking."""

import re
import unicodedata

ANSWER_CUT = "[answer cut]"  # the last line of a truncated text

UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")  # control characters except tab and line feed: masked in answers
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # escaped for logs and terminals
_SURROGATE = re.compile("[\ud800-\udfff]")
_BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]")  # line ends, tabs and form feeds


def read_text(line: bytes) -> str:
    """Decode bytes as UTF-8, or as Latin-1 if they are not valid UTF-8."""
    return decode_line(line)[0]


def decode_line(line: bytes) -> tuple[str, str]:
    """Decode bytes as ``read_text`` does; returns the text and its charset."""
    try:
        return line.decode(), "utf-8"
    except UnicodeDecodeError:
        return line.decode("latin-1"), "latin-1"


def is_text(text: str) -> bool:
    """Whether the text can be encoded in UTF-8, which has no lone surrogates."""
    return not _SURROGATE.search(text)


def is_same_name(name: str, other: str) -> bool:
    """Whether two names are equal, byte for byte after NFC: case, width, spaces and look-alikes count."""
    return name == other or unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)


def strip_line_end(line: bytes) -> bytes:
    """The line without its line end: CR LF, LF or CR."""
    return line.removesuffix(b"\n").removesuffix(b"\r")


def mark_cut(text: str) -> str:
    """A truncated text up to its last complete line, or its only line, followed by the line ``[answer cut]``."""
    complete, newline, rest = text.rpartition("\n")
    return f"{complete if newline else rest}\n{ANSWER_CUT}\n"


def read_cut(data: bytes, limit: int) -> str:
    """Decode the first ``limit`` bytes and mark the cut. No UTF-8 character is split, nor one of several lines."""
    end = limit
    while end > max(limit - 4, 0) and end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return mark_cut(read_text(data[:end]))


def one_line(text: str) -> str:
    """The text in one line: line ends and tabs become spaces, other control characters ``?``."""
    return text if text.isprintable() else UNSAFE.sub("?", _BREAKS.sub(" ", text))


def escape_controls(text: str) -> str:
    """The text with control characters, line ends included, and surrogates as Python escape sequences."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
