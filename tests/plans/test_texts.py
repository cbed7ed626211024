"""What a text has to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.plans.errors import TextError, TextTooLongError
from fingerd.plans.texts import MAX_PROBLEMS, checked, max_input
from fingerd.protocol.reply import encode_reply
from fingerd.safe_files import decode_file


def problems(data: bytes, field: str = "plan", colors: bool = False) -> str:
    with pytest.raises(TextError) as caught:
        checked(data, field, 100_000, colors=colors)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (b"", b""),
        (b"no line end", b"no line end"),
        (b"\xef\xbb\xbfmark\r\nand\r\n\r\nlines\r\n", b"mark\nand\n\nlines\n"),
        ("Zoë\t→ 🌊\u200d\u2028\n".encode(), "Zoë\t→ 🌊\u200d\u2028\n".encode()),
    ],
)
def test_texts_are_stored_with_lf_and_without_a_mark(given: bytes, stored: bytes) -> None:
    assert checked(given, "plan", 1000, colors=False) == stored


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"\xff\xfeh\0i\0", "line 1, column 1"),
        (b"one\ntwo \xe9\n", "line 2, column 5"),
        ("Zoë → ".encode() + b"\xe2\x86", "line 1, column 7"),
        (b"\xed\xa0\x80", "line 1, column 1"),
    ],
)
def test_what_is_not_utf_8_is_named_by_its_place(data: bytes, place: str) -> None:
    assert problems(data) == f"plan: {place}: not UTF-8 text"


@pytest.mark.parametrize("character", ["\0", "\a", "\b", "\v", "\f", "\r", "\x1b", "\x7f", "\x80", "\x9b"])
def test_each_control_character_is_named_with_its_place(character: str) -> None:
    found = problems(f"ë\nto{character}day\n".encode())
    hint = "; colors need reply.colors" if character == "\x1b" else ""
    assert found == f"plan: line 2, column 3: control character U+{ord(character):04X}{hint}"


def test_many_problems_are_not_all_named() -> None:
    assert len(problems(b"\a\n" * 50_000).split("\n")) == MAX_PROBLEMS
    assert len(problems(b"x\n" * 50_000, "links").split("\n")) == MAX_PROBLEMS


def test_colors_pass_where_the_daemon_lets_them_pass() -> None:
    red = b"\x1b[31mred\x1b[0m\n"
    for field in ("plan", "project"):
        assert checked(red, field, 100, colors=True) == red
        assert "reply.colors" in problems(red, field)
        assert "U+001B" in problems(b"\x1b]0;title\a", field, colors=True)
    assert problems(red, "name", colors=True).startswith("name: line 1, column 1: control character U+001B")


def test_a_text_is_as_long_as_the_daemon_reads() -> None:
    assert len(checked(b"x\r\n" * 50, "plan", 100, colors=False)) == 100
    for data in (b"x" * 101, "ë".encode() * 51):
        with pytest.raises(TextTooLongError, match="longer than the 100 bytes"):
            checked(data, "plan", 100, colors=False)
    longest = b"\xef\xbb\xbf" + b"\r\n" * 100
    assert len(longest) < max_input(100)
    with pytest.raises(TextTooLongError):
        checked((longest + b"\r\n")[: max_input(100)], "plan", 100, colors=False)


def test_links_are_checked_as_the_daemon_reads_them() -> None:
    assert checked(b"profile\nme https://example.org/\n", "links", 1000, colors=False)
    assert problems(b"profile\n\nme javascript:alert(1)\n", "links").startswith("links: line 3 is no link")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_refused_or_shown_by_the_daemon_as_they_were_written(data: bytes) -> None:
    try:
        stored = checked(data, "plan", 1000, colors=False)
    except TextError:
        return
    text = decode_file(stored)
    assert text == stored.decode().removeprefix("\ufeff")
    assert encode_reply(text).decode() == f"{text.removesuffix(chr(10))}\n".replace("\n", "\r\n")
