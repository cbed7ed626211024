"""Text as it comes from strangers and goes to terminals and logs: decoding, cutting, masking."""

import re

ANSWER_CUT = "[answer cut]"  # the line that closes a text whose rest is missing

UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and the line feed: masked in answers
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # what no terminal and no log should get
_BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]")  # what ends a line, or moves in it


def read_text(line: bytes) -> str:
    """The text of a client's bytes: UTF-8, or Latin-1 where they are not UTF-8."""
    return decode_line(line)[0]


def decode_line(line: bytes) -> tuple[str, str]:
    """The text of a client's bytes, and the charset that they were in."""
    try:
        return line.decode(), "utf-8"
    except UnicodeDecodeError:
        return line.decode("latin-1"), "latin-1"


def is_text(text: str) -> bool:
    """Whether it can be written in UTF-8, which has no half of a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def strip_line_end(line: bytes) -> bytes:
    """The line without its CR LF or bare LF, where it has one."""
    return line.removesuffix(b"\n").removesuffix(b"\r")


def mark_cut(text: str) -> str:
    """A text whose rest is missing, up to its last whole line, closed by the words that say so."""
    whole, newline, rest = text.rpartition("\n")
    return f"{whole if newline else rest}\n{ANSWER_CUT}\n"


def read_cut(data: bytes, limit: int) -> str:
    """The text of the first ``limit`` bytes, no UTF-8 character and, if there are several lines, no line halved."""
    end = limit
    while end > max(limit - 4, 0) and end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return mark_cut(read_text(data[:end]))


def one_line(text: str) -> str:
    """The text as a part of one line: line ends and tabs as blanks, other control characters as ``?``."""
    return text if text.isprintable() else UNSAFE.sub("?", _BREAKS.sub(" ", text))


def escape_controls(text: str) -> str:
    """The text with its control characters, line ends among them, and its surrogates as escape sequences."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
