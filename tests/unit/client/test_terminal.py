"""Filtering answers for a terminal (RFC 1288 3.3)."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.client.terminal import _SPACES, TerminalFilter, mask

PLAIN = {9, 10, *range(32, 127)}
HARMLESS = "café Ж 漢字 עברית 🙂 e\u0301 \xa0\u3000"


def shown(
    *chunks: bytes, international: bool = False, controls: bool = False, charset: str = "utf-8", final: bool = True
) -> bytes:
    """What is written for an answer in these chunks."""
    terminal = TerminalFilter(international, controls, charset)
    written = b"".join(map(terminal.show, chunks))
    return written + terminal.show(b"", final=True) if final else written


CHUNKS = st.lists(
    st.one_of(st.binary(max_size=20), st.text(max_size=10).map(lambda text: text.encode("utf-8", "replace")))
)


@given(CHUNKS)
def test_only_plain_characters_tabs_and_line_ends_are_shown(chunks: list[bytes]) -> None:
    for charset in ("utf-8", "ascii", "iso8859-1"):
        assert set(shown(*chunks, charset=charset)) <= PLAIN


@given(CHUNKS)
def test_with_controls_all_below_32_are_shown_and_none_above_126(chunks: list[bytes]) -> None:
    written = shown(*chunks, controls=True)
    assert all(byte < 127 for byte in written)
    received = b"".join(chunks).replace(b"\r\n", b"\n")
    kept = [byte for byte in received if byte < 32]
    added = bool(received) and not written[: len(written) - 1].endswith(b"\n") and not received.endswith(b"\n")
    assert [byte for byte in written if byte < 32] == kept + [10] * added


@given(CHUNKS)
def test_only_visible_international_characters_are_shown(chunks: list[bytes]) -> None:
    for character in shown(*chunks, international=True).decode():
        assert character in "\t\n" or unicodedata.category(character)[0] in "LMNPSZ"
        assert unicodedata.category(character) not in ("Zl", "Zp")


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_visible_characters_are_unchanged(text: str) -> None:
    assert shown(text.encode(), international=True, final=False).decode() == text


@given(CHUNKS, st.booleans(), st.booleans())
def test_the_chunks_of_an_answer_do_not_change_the_output(
    chunks: list[bytes], international: bool, controls: bool
) -> None:
    whole = b"".join(chunks)
    expected = shown(whole, international=international, controls=controls)
    assert shown(*chunks, international=international, controls=controls) == expected
    single = [whole[place : place + 1] for place in range(len(whole))]
    assert shown(*single, international=international, controls=controls) == expected


@pytest.mark.parametrize("charset", ["utf-8", "ascii", "iso8859-1", "iso8859-15", "koi8-r", "euc_jp", "no-charset"])
def test_no_control_character_is_written_in_any_charset(charset: str) -> None:
    received = bytes(range(256)) + "".join(map(chr, range(0x20, 0x3100))).encode()
    written = shown(received, international=True, charset=charset)
    assert not any((byte < 32 and byte not in b"\t\n") or byte == 127 for byte in written)
    if charset.startswith("iso"):
        assert not any(0x80 <= byte < 0xA0 for byte in written)


ANSWERS = {
    "line ends": (b"a\r\nb\nc\rd\r\n", {}, b"a\nb\nc\nd\n"),
    "no line end": (b"a", {}, b"a\n"),
    "nothing": (b"", {}, b""),
    "a title": (b"\x1b]0;owned\x07\r\n", {}, b"?]0;owned?\n"),
    "C1 in UTF-8": ("\x9b31mred".encode(), {}, b"?31mred\n"),
    "C1 in UTF-8, international": ("\x9b31mred".encode(), {"international": True}, b"?31mred\n"),
    "C1 as bytes, international": (b"\x9b31mred", {"international": True}, b"?31mred\n"),
    "an overlong escape": (b"\xc0\x9b31m", {"international": True}, "À?31m\n".encode()),
    "one ? for a character": ("Zoë 漢字".encode(), {}, b"Zo? ??\n"),
    "UTF-8": (HARMLESS.encode(), {"international": True}, f"{HARMLESS}\n".encode()),
    "Latin-1": ("Zoë".encode("latin-1"), {"international": True}, "Zoë\n".encode()),
    "UTF-8 and Latin-1": ("Zoë ".encode() + b"Zo\xeb", {"international": True}, "Zoë Zoë\n".encode()),
    "UTF-8 for Latin-1": ("Zoë Ж".encode(), {"international": True, "charset": "iso8859-1"}, b"Zo\xeb ?\n"),
    "UTF-8 for ASCII": ("Zoë".encode(), {"international": True, "charset": "ANSI_X3.4-1968"}, b"Zo?\n"),
    "direction and format": ("a\u202eb\u2066c\u200fd\ufeffe\xad".encode(), {"international": True}, b"a?b?c?d?e?\n"),
    "separators": ("a\u2028b\u2029c\x85d".encode(), {"international": True}, b"a?b?c?d\n"),
    "private and unassigned": ("\ue000\uffff\U000e0041".encode(), {"international": True}, b"???\n"),
    "DEL": (b"\x7f", {"international": True, "controls": True}, b"?\n"),
    "controls": (b"\x1b[1mb\x07\r\n\rc", {"controls": True}, b"\x1b[1mb\x07\n\rc\n"),
    "a carriage return at the end": (b"ab\r", {"controls": True}, b"ab\r\n"),
    "C1 with controls": (b"\xc2\x9b\x9b", {"controls": True}, b"??\n"),
    "an incomplete character at the end": ("Zoë".encode()[:-1], {"international": True}, "ZoÃ\n".encode()),
}  # fmt: skip


@pytest.mark.parametrize(("received", "options", "written"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_written_for_an_answer(received: bytes, options: dict[str, bool], written: bytes) -> None:
    assert shown(received, **options) == written  # type: ignore[arg-type]  # charset is a text


def test_chunks_are_shown_at_once_but_for_incomplete_characters() -> None:
    terminal = TerminalFilter(True, False, "utf-8")
    assert terminal.show(b"a\r") == b"a"
    assert terminal.show(b"\nb\xc3") == b"\nb"
    assert terminal.show(b"\xab\n") == "ë\n".encode()
    assert terminal.show(b"", final=True) == b""


def test_every_unicode_space_is_shown() -> None:
    every = {chr(number) for number in range(127, sys.maxunicode) if unicodedata.category(chr(number)) == "Zs"}
    assert {character for character in map(chr, range(sys.maxunicode)) if _SPACES.match(character)} == every
    assert mask("".join(every), True, False) == "".join(every)
