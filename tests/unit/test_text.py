"""Untrusted text: decoding, line ends, truncation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.text import mark_cut, read_text, strip_line_end

LINE_ENDS = {
    "CR LF": (b"bob\r\n", b"bob"),
    "LF": (b"bob\n", b"bob"),
    "CR": (b"bob\r", b"bob"),
    "none": (b"bob", b"bob"),
    "one of two": (b"bob\r\n\r\n", b"bob\r\n"),
    "only at the end": (b"\r\nbob", b"\r\nbob"),
    "nothing": (b"", b""),
}

MARKED = {
    "whole lines": ("one\ntwo\n", "one\ntwo\n[answer cut]\n"),
    "half a line": ("one\ntwo\nthr", "one\ntwo\n[answer cut]\n"),
    "one half line is kept": ("on", "on\n[answer cut]\n"),
    "nothing": ("", "\n[answer cut]\n"),
}


@pytest.mark.parametrize(("line", "stripped"), LINE_ENDS.values(), ids=LINE_ENDS.keys())
def test_one_line_end_is_stripped(line: bytes, stripped: bytes) -> None:
    assert strip_line_end(line) == stripped


@pytest.mark.parametrize(("text", "marked"), MARKED.values(), ids=MARKED.keys())
def test_a_truncated_text_ends_with_a_line_that_says_so(text: str, marked: str) -> None:
    assert mark_cut(text) == marked


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_decode_and_encode_to_themselves(line: bytes) -> None:
    assert read_text(line).encode() == line or read_text(line).encode("latin-1") == line
