"""Untrusted text: decoding, line ends, truncation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.text import (
    AS_WINDOWS_1252,
    decode_line,
    escape_controls,
    first_line,
    is_one_of,
    is_same_name,
    is_text,
    mark_cut,
    one_line,
    read_cut,
    read_text,
    spellings,
    to_nfc,
)

LINE_ENDS = {
    "CR LF": (b"bob\r\n", b"bob"),
    "LF": (b"bob\n", b"bob"),
    "CR": (b"bob\r", b"bob"),
    "none": (b"bob", b"bob"),
    "CR NUL": (b"bob\r\0", b"bob"),
    "two": (b"bob\r\n\r\n", b"bob"),
    "LF before CR": (b"bob\ncarol\r\n", b"bob"),
    "CR before LF": (b"bob\rcarol\r\n", b"bob"),
    "CR CR LF": (b"bob\r\r\n", b"bob"),
    "at the beginning": (b"\r\nbob", b""),
    "nothing": (b"", b""),
}

MARKED = {
    "whole lines": ("one\ntwo\n", "one\ntwo\n[answer cut]\n"),
    "half a line": ("one\ntwo\nthr", "one\ntwo\n[answer cut]\n"),
    "one half line is kept": ("on", "on\n[answer cut]\n"),
    "nothing": ("", "\n[answer cut]\n"),
}


@pytest.mark.parametrize(("line", "stripped"), LINE_ENDS.values(), ids=LINE_ENDS.keys())
def test_a_line_ends_at_the_first_line_end(line: bytes, stripped: bytes) -> None:
    assert first_line(line) == stripped


@pytest.mark.parametrize(("text", "marked"), MARKED.values(), ids=MARKED.keys())
def test_a_truncated_text_ends_with_a_line_that_says_so(text: str, marked: str) -> None:
    assert mark_cut(text) == marked


ANY_BYTES = st.binary(max_size=200) | st.text(max_size=200).map(str.encode)

DECODED = {
    "UTF-8": ("it’s “Zoë” €".encode(), "it’s “Zoë” €"),
    "quotes, a dash and the euro sign of windows-1252": (b"it\x92s \x93q\x94 \x96 100 \x80", "it’s “q” – 100 €"),
    "letters of windows-1252 that Latin-1 lacks": (b"\x8ei\x9eka \x9cuvre \x9f", "Žižka œuvre Ÿ"),
    "letters of both": (b"Zo\xeb \xff", "Zoë ÿ"),
    "bytes that windows-1252 does not define": (b"\x81\x8d\x8f\x90\x9d \xeb", "????? ë"),
    "half a character": ("Zoë".encode()[:-1], "ZoÃ"),
}


@pytest.mark.parametrize(("data", "text"), DECODED.values(), ids=DECODED)
def test_text_that_is_not_utf_8_is_windows_1252(data: bytes, text: str) -> None:
    assert read_text(data) == text


@settings(deadline=None)
@given(ANY_BYTES)
def test_bytes_that_are_not_utf_8_never_become_c1_controls(data: bytes) -> None:
    text = read_text(data)
    if text.encode() != data:
        assert len(text) == len(data)
        assert not any("\x80" <= character < "\xa0" for character in text)


@settings(deadline=None)
@given(ANY_BYTES)
def test_a_line_encodes_to_its_bytes_in_its_charset_or_has_an_undefined_byte(line: bytes) -> None:
    try:
        text, charset = decode_line(line)
    except UnicodeDecodeError:
        assert set(line) & set(b"\x81\x8d\x8f\x90\x9d")
    else:
        assert text.encode(charset) == line
        assert text == read_text(line)


def test_parts_of_a_text_that_are_not_utf_8_can_be_read_as_windows_1252() -> None:
    mixed = "Zoë ".encode() + b"it\x92s Zo\xeb\x81 " + "é".encode()[:1]
    assert mixed.decode("utf-8", AS_WINDOWS_1252) == "Zoë it’s Zoë? Ã"


CUT = {
    "at a line end": (b"one\ntwo\nthree\n", 8, "one\ntwo\n"),
    "in a line": (b"one\ntwo\nthree\n", 9, "one\ntwo\n"),
    "in the only line": (b"one two", 5, "one t\n"),
    "everything": (b"one", 3, "one\n"),
    "fewer bytes than the limit": (b"one", 9, "one\n"),
    "before a character of two bytes": ("aé".encode(), 1, "a\n"),
    "in a character of two bytes": ("aé".encode(), 2, "a\n"),
    "in a character of four bytes": ("a😀b".encode(), 4, "a\n"),
    "after a character of four bytes": ("a😀b".encode(), 5, "a😀\n"),
    "in the first character": ("😀".encode(), 3, "\n"),
    "in a row of continuation bytes, which is windows-1252": (b"\x80" * 9, 8, "€" * 4 + "\n"),
    "in windows-1252": (b"caf\xe9s", 4, "caf\xe9\n"),
}


@pytest.mark.parametrize(("data", "limit", "text"), CUT.values(), ids=CUT.keys())
def test_a_cut_splits_no_character_and_no_line_but_the_only_one(data: bytes, limit: int, text: str) -> None:
    assert read_cut(data, limit) == f"{text}[answer cut]\n"


def test_a_lone_surrogate_is_not_text() -> None:
    assert is_text("zoë 😀\0")
    assert not is_text("a\ud800")


ESCAPED = {
    "printable": ("zoë 王", "zoë 王", "zoë 王"),
    "line ends and tabs": ("a\tb\nc\rd\ve\ff\x85g\u2028h\u2029i", "a b c d e f g h i",
                           r"a\tb\nc\rd\x0be\x0cf\x85g\u2028h\u2029i"),
    "control characters": ("\0\x1b[2J\x7f\x9b", "??[2J??", r"\x00\x1b[2J\x7f\x9b"),
    "a lone surrogate": ("\ud800", "\ud800", r"\ud800"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "escaped"), ESCAPED.values(), ids=ESCAPED.keys())
def test_a_text_becomes_one_line_or_escape_sequences(text: str, line: str, escaped: str) -> None:
    assert one_line(text) == line
    assert escape_controls(text) == escaped


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        ("bob", ("ann", "bob"), True),
        ("bob", ("BOB", "bo", "bobb", "b*b"), False),
        ("weather:oslo", ("weather:*",), True),
        ("weather", ("weather:*",), False),
        ("", ("*",), True),
        ("", (), False),
        ("ren\u00e9 x", ("rene\u0301*",), True),
        ("rene\u0301", ("rene*",), False),
        ("a*", ("a**",), True),
        ("ab", ("a**",), False),
    ],
)
def test_a_name_is_one_of_some_whole_names_or_beginnings(name: str, names: tuple[str, ...], found: bool) -> None:
    assert is_one_of(name, names) is found


@pytest.mark.parametrize(
    ("name", "other", "is_same"),
    [
        ("ann", "ann", True),
        ("rené", "rene\u0301", True),
        ("\u212b", "A\u030a", True),
        ("e\u0323\u0302", "e\u0302\u0323", True),
        ("ann", "Ann", False),
        ("ann", "\uff41nn", False),
        ("ﬁn", "fin", False),
        ("ann", "ann ", False),
        ("rene", "rené", False),
    ],
)
def test_names_are_the_same_if_they_are_canonically_equivalent(name: str, other: str, is_same: bool) -> None:
    assert is_same_name(name, other) is is_same
    assert (to_nfc(name) == to_nfc(other)) is is_same
    assert (spellings(name) == spellings(other)) is is_same


def test_a_name_has_two_spellings_or_one() -> None:
    assert spellings("ann") == ("ann",)
    assert spellings("日本") == ("日本",)
    assert spellings("rené") == ("rené", "rene\u0301")
