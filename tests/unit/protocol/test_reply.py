"""Replies: encoding and truncation as tables, and what holds for any text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.protocol.reply import CRLF, cut_reply, encode_reply
from fingerd.text import ANSWER_CUT, UNSAFE

REPLIES = {
    "one line": ("Happy and well", "utf-8", b"Happy and well\r\n"),
    "one line with its end": ("Happy and well\n", "utf-8", b"Happy and well\r\n"),
    "nothing": ("", "utf-8", b"\r\n"),
    "an empty line": ("\n", "utf-8", b"\r\n"),
    "line feeds": ("a\nb\n", "utf-8", b"a\r\nb\r\n"),
    "carriage returns": ("a\rb\r", "utf-8", b"a\r\nb\r\n"),
    "both": ("a\r\nb\r\n", "utf-8", b"a\r\nb\r\n"),
    "all three": ("a\nb\rc\r\nd", "utf-8", b"a\r\nb\r\nc\r\nd\r\n"),
    "empty lines stay": ("a\n\nb\n\n", "utf-8", b"a\r\n\r\nb\r\n\r\n"),
    "a tab passes": ("a\tb", "utf-8", b"a\tb\r\n"),
    "control characters": ("\0\x07\x08\x0b\x0c\x0e\x1b[2J\x1f", "utf-8", b"???????[2J?\r\n"),
    "DEL and C1": ("\x7f\x80\x9b\x9f", "utf-8", b"????\r\n"),
    "a lone surrogate": ("a\ud800b", "utf-8", b"a?b\r\n"),
    "UTF-8": ("ü€😀", "utf-8", b"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\r\n"),
    "Latin-1": ("ü€", "latin-1", b"\xfc?\r\n"),
    "ASCII": ("ü€x", "ascii", b"??x\r\n"),
}

CLOSING = ANSWER_CUT.encode() + CRLF

CUT_REPLIES = {
    "a reply within the limit is unchanged": (b"a" * 62 + CRLF, 64, b"a" * 62 + CRLF),
    "a longer one is cut at the end of a line": (b"one\r\ntwo\r\n" + b"x" * 99 + CRLF, 64, b"one\r\ntwo\r\n" + CLOSING),
    "lines as many as fit": ((b"a" * 23 + CRLF) * 3, 64, (b"a" * 23 + CRLF) * 2 + CLOSING),
    "an empty first line is a line": (CRLF + b"x" * 99 + CRLF, 64, CRLF + CLOSING),
    "one long line is cut inside": (b"x" * 99 + CRLF, 64, b"x" * 48 + CRLF + CLOSING),
    "but not inside of two bytes": (b"x" + "ü".encode() * 50 + CRLF, 64, b"x" + "ü".encode() * 23 + CRLF + CLOSING),
    "nor of four": (b"x" + "😀".encode() * 30 + CRLF, 64, b"x" + "😀".encode() * 11 + CRLF + CLOSING),
    "no space for any of it": (b"x" * 99 + CRLF, 16, CLOSING),
    "no space even for the closing line": (b"x" * 99 + CRLF, 1, CLOSING),
    "no space for any of several lines": (b"one\r\ntwo\r\n", 8, CLOSING),
    "no space for the first two bytes": ("ü".encode() * 50 + CRLF, 17, CLOSING),
    "no space for Latin-1": ("°".encode("latin-1") * 50 + CRLF, 16, CLOSING),
}


@pytest.mark.parametrize(("text", "charset", "reply"), REPLIES.values(), ids=REPLIES.keys())
def test_an_answer_is_encoded(text: str, charset: str, reply: bytes) -> None:
    assert encode_reply(text, charset) == reply


@pytest.mark.parametrize(("reply", "limit", "cut"), CUT_REPLIES.values(), ids=CUT_REPLIES.keys())
def test_a_long_reply_is_cut(reply: bytes, limit: int, cut: bytes) -> None:
    assert cut_reply(reply, limit) == cut


TEXTS = st.text(st.characters(exclude_categories=()), max_size=300)  # lone surrogates too


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_every_line_of_any_answer_ends_with_crlf_and_has_no_control_character(text: str, charset: str) -> None:
    reply = encode_reply(text, charset)
    assert reply.endswith(CRLF)
    for line in reply.decode(charset).split("\r\n"):
        assert not any(_is_control(character) for character in line)


@settings(deadline=None)
@given(TEXTS)
def test_any_answer_keeps_all_printable_characters(text: str) -> None:
    reply = encode_reply(text).decode()
    assert _printable(reply) == _printable("".join("?" if _is_masked(character) else character for character in text))


@settings(deadline=None)
@given(TEXTS, st.integers(64, 400))
def test_no_truncated_reply_exceeds_the_limit_or_splits_a_character(text: str, limit: int) -> None:
    reply = encode_reply(text)
    cut = cut_reply(reply, limit)
    assert len(cut) <= limit
    cut.decode()
    if cut != reply:
        assert cut.endswith(CRLF + CLOSING)
        assert reply.startswith(cut.removesuffix(CLOSING).removesuffix(CRLF))


def _is_control(character: str) -> bool:
    return character != "\t" and (character < " " or "\x7f" <= character <= "\x9f")


def _is_masked(character: str) -> bool:
    return (_is_control(character) and character not in "\r\n") or "\ud800" <= character <= "\udfff"


def _printable(text: str) -> str:
    return "".join(character for character in text if character not in "\r\n")


@pytest.mark.parametrize("charset", ["utf-8", "ascii", "latin-1"])
@given(text=TEXTS)
def test_controls_are_masked_as_characters_are(charset: str, text: str) -> None:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    masked = [UNSAFE.sub("?", line).encode(charset, "replace") for line in lines]
    assert encode_reply(text, charset) == CRLF.join(masked) + CRLF
    assert encode_reply(text, charset, colors="\x1b" not in text) == CRLF.join(masked) + CRLF
