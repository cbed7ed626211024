"""The relay of another RUIP's answer: what is sent when, and where it is cut."""

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from fingerd.protocol.reply import cut_reply, encode_reply
from fingerd.ruip.relay import Relay
from fingerd.text import read_text

CUT = b"[answer cut]\r\n"

PIECES = st.lists(
    st.sampled_from(
        [b"a", b"line\r\n", b"\n", b"\r", b"\r\n", b"\xc3\xa9", b"\xc3", b"\xff", b"\x1b[2J", b"\t", "€".encode()]
    )
)


@given(PIECES, st.data(), st.integers(14, 80), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_the_pieces_add_up_to_the_cut_reply_of_the_whole_answer(
    pieces: list[bytes], data: st.DataObject, limit: int, charset: str
) -> None:
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    relay = Relay(charset, limit)
    output = b"".join(relay.feed(whole[start:end]) for start, end in itertools.pairwise([0, *cuts, len(whole)]))
    output += relay.finish()
    try:
        text = whole.decode()
    except UnicodeDecodeError:
        text = "".join(read_text(line) for line in whole.splitlines(keepends=True))
    assert output == (cut_reply(encode_reply(text, charset), limit) if whole else b"")


@given(PIECES, st.integers(64, 200))
def test_an_incomplete_answer_says_so_within_the_limit(pieces: list[bytes], limit: int) -> None:
    relay = Relay("utf-8", limit)
    output = b"".join(map(relay.feed, pieces)) + relay.finish(is_cut=True)
    assert output.endswith(CUT)
    assert len(output) <= limit
    assert not re.search(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]", output)
    output.decode()


def test_an_incomplete_character_at_the_end_of_an_incomplete_answer_is_dropped() -> None:
    relay = Relay("utf-8", 100)
    assert relay.feed("grün\r\ngrü".encode()[:-1]) == "grün\r\n".encode()
    assert relay.finish(is_cut=True) == b"gr\r\n" + CUT


def test_a_line_is_sent_once_it_is_complete_and_there_is_room_for_it() -> None:
    relay = Relay("utf-8", 30)
    assert relay.feed(b"one\r\ntw") == b"one\r\n"
    assert relay.feed(b"o\nthree") == b"two\r\n"
    assert relay.feed(b"\r\nfour\n") == b""  # a longer answer needs its room for the words that it is cut
    assert not relay.is_full
    assert relay.finish() == b"three\r\nfour\r\n"
    relay = Relay("utf-8", 30)
    assert relay.feed(b"one\ntwo\nthree\nfour\nfive\nsix\n") == b"one\r\ntwo\r\n"
    assert relay.is_full
    assert relay.finish() == CUT


def test_a_line_without_an_end_is_not_buffered_without_limit() -> None:
    relay = Relay("ascii", 100)
    for pieces in itertools.count(1):
        assert relay.feed(b"x" * 50) == b""
        if relay.is_full:
            break
    assert pieces < 10
    assert relay.finish() == b"x" * 84 + b"\r\n" + CUT


def test_an_answer_of_exactly_the_limit_is_sent_whole() -> None:
    relay = Relay("utf-8", 20)
    assert relay.feed(b"0123\r\n456789012345\r\n") == b"0123\r\n"
    assert not relay.is_full
    assert relay.finish() == b"456789012345\r\n"
    relay.feed(b"\n")
    assert relay.is_full


def test_characters_that_shrink_to_a_question_mark_may_fit() -> None:
    relay = Relay("ascii", 20)
    assert relay.feed("😀".encode() * 18) == b""
    assert not relay.is_full
    assert relay.finish() == b"?" * 18 + b"\r\n"


def test_an_empty_line_is_sent_at_once() -> None:
    assert Relay("utf-8", 80).feed(b"\n") == b"\r\n"


def test_below_the_length_of_the_cut_line_nothing_is_sent_early() -> None:
    relay = Relay("utf-8", 8)
    assert relay.feed(b"a\nb\nc\n") == b""
    assert relay.finish() == CUT
