"""Filtering answers for a terminal (RFC 1288 3.3)."""

import unicodedata
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.client.terminal import TerminalFilter, mask

PLAIN = {9, 10, *range(32, 127)}
DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
WALES = "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in "gbwls") + "\U000e007f"
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
        assert character in "\t\n" or unicodedata.category(character) not in ("Cc", "Co", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in DIRECTIONS


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
    "C1 as bytes, international": (b"\x9b31mred", {"international": True}, "›31mred\n".encode()),
    "an overlong escape": (b"\xc0\x9b31m", {"international": True}, "À›31m\n".encode()),
    "windows-1252": (b"it\x92s \x93q\x94 \x80", {"international": True}, "it’s “q” €\n".encode()),
    "undefined in windows-1252": (b"\x81\x8d\x8f\x90\x9d", {"international": True}, b"?????\n"),
    "UTF-8 and windows-1252": ("Zoë’s ".encode() + b"it\x92s", {"international": True}, "Zoë’s it’s\n".encode()),
    "one ? for a character": ("Zoë 漢字".encode(), {}, b"Zo? ??\n"),
    "UTF-8": (HARMLESS.encode(), {"international": True}, f"{HARMLESS}\n".encode()),
    "Latin-1": ("Zoë".encode("latin-1"), {"international": True}, "Zoë\n".encode()),
    "UTF-8 and Latin-1": ("Zoë ".encode() + b"Zo\xeb", {"international": True}, "Zoë Zoë\n".encode()),
    "UTF-8 for Latin-1": ("Zoë Ж".encode(), {"international": True, "charset": "iso8859-1"}, b"Zo\xeb ?\n"),
    "UTF-8 for ASCII": ("Zoë".encode(), {"international": True, "charset": "ANSI_X3.4-1968"}, b"Zo?\n"),
    "writing direction": ("a\u202eb\u2066c\u200fd\u061ce".encode(), {"international": True}, b"a?b?c?d?e\n"),
    "separators": ("a\u2028b\u2029c\x85d".encode(), {"international": True}, b"a?b?c?d\n"),
    "private, a noncharacter, a lone tag": ("\ue000\uffff\U000e0041".encode(), {"international": True}, b"???\n"),
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


WRITTEN = {
    "Persian with a zero width non-joiner": "می\u200cخواهم",
    "Hindi with a zero width joiner": "हिन्\u200dदी",
    "a joined emoji": "👩\u200d💻",
    "a joined emoji with a skin tone and a variation selector": "👩🏽\u200d❤\ufe0f\u200d👨🏿",
    "a keycap": "1\ufe0f\u20e3",
    "a flag of tags": f"{WALES}!",
    "two flags of tags": WALES * 2,
    "soft hyphens": "co\xadop",
    "a byte order mark": "\ufeffZoë",
    "Thai with zero width spaces": "สวัสดี\u200bชาว\u2060โลก",
    "Mongolian with its vowel separator": "ᠬᠠᠨ\u180eᠠ",
    "an Arabic number sign": "\u0600١٢",
    "unassigned in this Unicode, or the next": "🫨 \U0001faf9 \U00033480 \u0378",
    "every space": "".join(chr(code) for code in range(160, 0x3001) if unicodedata.category(chr(code)) == "Zs"),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_what_people_write_is_shown_unchanged(text: str) -> None:
    assert mask(text, True, False) == text
    single = [bytes([byte]) for byte in text.encode()]
    assert shown(*single, international=True).decode() == f"{text}\n"
    assert set(mask(text, False, False)) <= {"?", *map(chr, PLAIN)}
    assert len(mask(text, False, False)) == len(text)


NEVER = {
    "DEL and C1": range(0x7F, 0xA0),
    "bidirectional controls": (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
    "separators": (0x2028, 0x2029),
    "deprecated format controls": range(0x206A, 0x2070),
    "annotations": range(0xFFF9, 0xFFFC),
    "surrogates": range(0xD800, 0xE000),
    "private characters": (*range(0xE000, 0xF900), *range(0xF0000, 0xF0100), 0xFFFFD, 0x100000, 0x10FFFD),
    "noncharacters": (*range(0xFDD0, 0xFDF0), *(plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF))),
    "unassigned default-ignorable": (
        0x2065,
        *range(0xFFF0, 0xFFF9),
        *range(0xE0080, 0xE0100),
        *range(0xE01F0, 0xE1000),
    ),
    "tags without an emoji": range(0xE0000, 0xE0080),
}


@pytest.mark.parametrize("codes", NEVER.values(), ids=NEVER)
def test_what_is_never_shown(codes: Iterable[int]) -> None:
    for character in map(chr, codes):
        assert mask(f"a{character}b", True, True) == "a?b", hex(ord(character))


def test_everything_else_is_shown() -> None:
    never = {code for codes in NEVER.values() for code in codes}
    text = "".join(chr(code) for code in range(0xA0, 0xF0000) if code not in never)
    assert mask(text, True, False) == text


def test_tags_are_shown_after_an_emoji_only_however_the_answer_is_split() -> None:
    tags = WALES[1:]
    for before, is_shown in {"🏴": True, "🏴\ufe0f": True, "a": False, "🏴a": False, "🏴\n": False, "": False}.items():
        expected = f"{before}{tags if is_shown else '?' * len(tags)}\n"
        whole = f"{before}{tags}".encode()
        for split in range(len(whole) + 1):
            assert shown(whole[:split], whole[split:], international=True).decode() == expected
