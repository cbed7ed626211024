"""The wire format: cases from RFC 1288 as tables, and what holds for any bytes and any text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.errors import QueryError
from fingerd.protocol.query import Query, parse_query
from fingerd.protocol.reply import CRLF, cut_reply, encode_reply
from fingerd.text import ANSWER_CUT, mark_cut, read_text, strip_line_end

QUERIES = {
    "nothing but a line end is the list": (b"\r\n", Query()),
    "nothing at all is the list": (b"", Query()),
    "blanks alone are the list": (b" \t \r\n", Query()),
    "a username": (b"bob\r\n", Query("bob")),
    "a bare line feed ends a line": (b"bob\n", Query("bob")),
    "a line that ends with the input": (b"bob", Query("bob")),
    "a carriage return at the end of the input": (b"bob\r", Query("bob")),
    "blanks at either end": (b" \tbob\t \r\n", Query("bob")),
    "the case of a name is kept": (b"BoB\r\n", Query("BoB")),
    "inner blanks belong to the name": (b"alice  bob\tcarol\r\n", Query("alice  bob\tcarol")),
    "verbose": (b"/W bob\r\n", Query("bob", verbose=True)),
    "verbose in lower case": (b"/w bob\r\n", Query("bob", verbose=True)),
    "verbose at the end": (b"bob /W\r\n", Query("bob", verbose=True)),
    "verbose in lower case at the end": (b"bob\t/w\r\n", Query("bob", verbose=True)),
    "verbose at both ends": (b"/W bob /w\r\n", Query("bob", verbose=True)),
    "verbose twice": (b"/W /W bob\r\n", Query("bob", verbose=True)),
    "verbose after a tab": (b"/W\tbob\r\n", Query("bob", verbose=True)),
    "the verbose list": (b"/W\r\n", Query(verbose=True)),
    "the verbose list with a blank": (b"/W \r\n", Query(verbose=True)),
    "a name that begins like verbose": (b"/Wbob\r\n", Query("/Wbob")),
    "a name that ends like verbose": (b"bob/W\r\n", Query("bob/W")),
    "verbose between two names": (b"alice /W bob\r\n", Query("alice /W bob")),
    "another option": (b"/X bob\r\n", Query("/X bob")),
    "a lone slash": (b"/\r\n", Query("/")),
    "a name like a path": (b"../etc/passwd\r\n", Query("../etc/passwd")),
    "a name like an option": (b"-l\r\n", Query("-l")),
    "forwarding": (b"bob@example.org\r\n", Query("bob", ("example.org",))),
    "forwarding along a route": (b"bob@one@two\r\n", Query("bob", ("one", "two"))),
    "forwarding a list": (b"@example.org\r\n", Query("", ("example.org",))),
    "forwarding a verbose list": (b"/W @example.org\r\n", Query("", ("example.org",), verbose=True)),
    "forwarding with verbose at the end": (b"bob@example.org /W\r\n", Query("bob", ("example.org",), verbose=True)),
    "blanks around the at sign": (b"bob @ one @\ttwo\r\n", Query("bob", ("one", "two"))),
    "forwarding to an address": (b"bob@[2001:db8::7]\r\n", Query("bob", ("[2001:db8::7]",))),
    "verbose that touches an at sign is a name": (b"/W@example.org\r\n", Query("/W", ("example.org",))),
    "UTF-8": ("jürgen\r\n".encode(), Query("jürgen")),
    "Latin-1": ("jürgen\r\n".encode("latin-1"), Query("jürgen")),
    "a space that is no blank": ("\N{NO-BREAK SPACE}bob\r\n".encode(), Query("\N{NO-BREAK SPACE}bob")),
    "telnet: an option is offered": (b"\xff\xfb\x18bob\r\n", Query("bob")),
    "telnet: options inside of the name": (b"b\xff\xfd\x06o\xff\xfe\x01b\r\n", Query("bob")),
    "telnet: an interrupt": (b"\xff\xf4\xff\xfd\x06bob\r\n", Query("bob")),
    "telnet: a subnegotiation": (b"\xff\xfa\x18\x00xterm\xff\xf0bob\r\n", Query("bob")),
    "telnet: a subnegotiation that never ends": (b"bob\xff\xfa\x18\x00xterm\r\n", Query("bob")),
    "telnet: two are the byte 255": (b"bob\xff\xff\r\n", Query("bobÿ")),
    "telnet: one at the very end": (b"bob\xff\r\n", Query("bob")),
    "telnet: an option cut off": (b"bob\xff\xfb", Query("bob")),
}

MALFORMED = {
    "NUL": b"bo\0b\r\n",
    "escape": b"\x1b[2J\r\n",
    "a bell after the name": b"bob\x07\r\n",
    "DEL": b"bob\x7f\r\n",
    "a carriage return inside": b"bob\rcarol\r\n",
    "two carriage returns at the end": b"bob\r\r\n",
    "a line feed inside": b"bob\ncarol\r\n",
    "a control character of C1 in UTF-8": "bob\x9b2J\r\n".encode(),
    "a control character of C1 in Latin-1": b"bob\x9b2J\r\n",
    "an at sign alone": b"@\r\n",
    "no host": b"bob@\r\n",
    "no host but blanks": b"bob@ \t\r\n",
    "no host before verbose": b"bob@ /W\r\n",
    "no last host": b"bob@one@\r\n",
    "no first host": b"bob@@two\r\n",
    "a host of two words": b"bob@one two\r\n",
    "a host of two words with a tab": b"bob@one\ttwo\r\n",
}

ENCODED_QUERIES = {
    "list": (Query(), b"\r\n"),
    "verbose list": (Query(verbose=True), b"/W\r\n"),
    "user": (Query("bob"), b"bob\r\n"),
    "verbose user": (Query("bob", verbose=True), b"/W bob\r\n"),
    "route": (Query("bob", ("one", "two")), b"bob@one@two\r\n"),
    "verbose list of another host": (Query("", ("one",), verbose=True), b"/W @one\r\n"),
    "beyond ASCII": (Query("jürgen"), b"j\xc3\xbcrgen\r\n"),
}

LINE_ENDS = {
    "CR LF": (b"bob\r\n", b"bob"),
    "LF": (b"bob\n", b"bob"),
    "CR": (b"bob\r", b"bob"),
    "none": (b"bob", b"bob"),
    "one of two": (b"bob\r\n\r\n", b"bob\r\n"),
    "only at the end": (b"\r\nbob", b"\r\nbob"),
    "nothing": (b"", b""),
}

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
    "what fits stays": (b"a" * 62 + CRLF, 64, b"a" * 62 + CRLF),
    "what does not is cut at a line's end": (b"one\r\ntwo\r\n" + b"x" * 99 + CRLF, 64, b"one\r\ntwo\r\n" + CLOSING),
    "lines as many as fit": ((b"a" * 23 + CRLF) * 3, 64, (b"a" * 23 + CRLF) * 2 + CLOSING),
    "an empty first line is a line": (CRLF + b"x" * 99 + CRLF, 64, CRLF + CLOSING),
    "one long line is cut inside": (b"x" * 99 + CRLF, 64, b"x" * 48 + CRLF + CLOSING),
    "but not inside of two bytes": (b"x" + "ü".encode() * 50 + CRLF, 64, b"x" + "ü".encode() * 23 + CRLF + CLOSING),
    "nor of four": (b"x" + "😀".encode() * 30 + CRLF, 64, b"x" + "😀".encode() * 11 + CRLF + CLOSING),
    "no room for any of it": (b"x" * 99 + CRLF, 16, CLOSING),
    "no room at all": (b"x" * 99 + CRLF, 1, CLOSING),
}

MARKED = {
    "whole lines": ("one\ntwo\n", "one\ntwo\n[answer cut]\n"),
    "half a line": ("one\ntwo\nthr", "one\ntwo\n[answer cut]\n"),
    "one half line is kept": ("on", "on\n[answer cut]\n"),
    "nothing": ("", "\n[answer cut]\n"),
}


@pytest.mark.parametrize(("line", "query"), QUERIES.values(), ids=QUERIES.keys())
def test_a_line_is_read_as_the_query_that_it_means(line: bytes, query: Query) -> None:
    assert parse_query(line) == query


@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_line_that_is_no_query_is_an_error_that_repeats_nothing_of_it(line: bytes) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(line)
    assert str(caught.value) in ("control characters", "not a host name")


@pytest.mark.parametrize(("query", "line"), ENCODED_QUERIES.values(), ids=ENCODED_QUERIES.keys())
def test_a_query_is_written_as_its_line(query: Query, line: bytes) -> None:
    assert query.encode() == line
    assert parse_query(line) == query


@pytest.mark.parametrize(
    ("query", "is_list"),
    [(Query(), True), (Query(verbose=True), True), (Query("bob"), False), (Query("", ("one",)), False)],
    ids=["nothing", "verbose", "user", "host"],
)
def test_a_query_without_user_and_host_is_for_the_list(query: Query, is_list: bool) -> None:
    assert query.is_list is is_list


def test_the_right_most_host_is_used_up_when_a_query_is_forwarded() -> None:
    assert parse_query(b"/W bob@one@two").forwarded() == ("two", Query("bob", ("one",), verbose=True))
    assert Query("", ("one",)).forwarded() == ("one", Query())


@pytest.mark.parametrize(("line", "stripped"), LINE_ENDS.values(), ids=LINE_ENDS.keys())
def test_one_line_end_is_stripped(line: bytes, stripped: bytes) -> None:
    assert strip_line_end(line) == stripped


@pytest.mark.parametrize(("text", "charset", "reply"), REPLIES.values(), ids=REPLIES.keys())
def test_an_answer_is_made_ready_for_the_wire(text: str, charset: str, reply: bytes) -> None:
    assert encode_reply(text, charset) == reply


@pytest.mark.parametrize(("reply", "limit", "cut"), CUT_REPLIES.values(), ids=CUT_REPLIES.keys())
def test_a_long_reply_is_cut(reply: bytes, limit: int, cut: bytes) -> None:
    assert cut_reply(reply, limit) == cut


@pytest.mark.parametrize(("text", "marked"), MARKED.values(), ids=MARKED.keys())
def test_a_text_without_its_rest_says_so(text: str, marked: str) -> None:
    assert mark_cut(text) == marked


# Bytes that mean something in a query, more often than chance would have it.
LINES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [b"/W", b"/w", b" ", b"\t", b"@", b"bob", b"/", b"\xff", b"\xfa", b"\xf0", b"\xfb", b"\xc3\xbc", b"\r\n"]
        ),
        max_size=12,
    ).map(b"".join),
)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=300)  # lone surrogates too


@settings(deadline=None)
@given(LINES)
def test_any_bytes_are_a_query_that_reads_back_as_itself_or_an_error(line: bytes) -> None:
    try:
        query = parse_query(line)
    except QueryError:
        return
    assert parse_query(query.encode()) == query
    assert not any(ord(character) < 32 and character != "\t" for character in query.username)


@settings(deadline=None)
@given(LINES)
def test_any_bytes_are_some_text(line: bytes) -> None:
    assert read_text(line).encode() == line or read_text(line).encode("latin-1") == line


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_every_line_of_any_answer_is_clean_and_ended(text: str, charset: str) -> None:
    reply = encode_reply(text, charset)
    assert reply.endswith(CRLF)
    for line in reply.decode(charset).split("\r\n"):
        assert not any(_is_control(character) for character in line)


@settings(deadline=None)
@given(TEXTS)
def test_any_answer_keeps_all_that_can_be_printed(text: str) -> None:
    reply = encode_reply(text).decode()
    assert _printable(reply) == _printable("".join("?" if _is_masked(character) else character for character in text))


@settings(deadline=None)
@given(TEXTS, st.integers(64, 400))
def test_no_cut_reply_is_longer_than_the_limit_or_has_half_a_character(text: str, limit: int) -> None:
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
