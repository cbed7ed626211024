"""Query lines: cases from RFC 1288 as tables, and what holds for any bytes."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.errors import QueryError, QueryTooLongError
from fingerd.protocol.query import Query, is_queryable, parse_query

QUERIES = {
    "a line end alone is the list": (b"\r\n", Query()),
    "no bytes are the list": (b"", Query()),
    "spaces alone are the list": (b" \t \r\n", Query()),
    "a username": (b"bob\r\n", Query("bob")),
    "a bare line feed ends a line": (b"bob\n", Query("bob")),
    "a line that ends with the input": (b"bob", Query("bob")),
    "a bare carriage return ends a line": (b"bob\r", Query("bob")),
    "a carriage return and NUL end a line": (b"bob\r\0", Query("bob")),
    "the first line counts, ended by a carriage return": (b"bob\rcarol\r\n", Query("bob")),
    "the first line counts, ended by a line feed": (b"bob\ncarol\r\n", Query("bob")),
    "two carriage returns end a line": (b"bob\r\r\n", Query("bob")),
    "a carriage return alone is the list": (b"\rbob\r\n", Query()),
    "a byte order mark": (b"\xef\xbb\xbfalice\r\n", Query("alice")),
    "a byte order mark before a name beyond ASCII": ("\ufeffzoë\r\n".encode(), Query("zoë")),
    "a byte order mark before windows-1252": (b"\xef\xbb\xbfzo\xeb\r\n", Query("zoë")),
    "a byte order mark alone is the list": (b"\xef\xbb\xbf\r\n", Query()),
    "a byte order mark before verbose": (b"\xef\xbb\xbf/W alice\r\n", Query("alice", verbose=True)),
    "a byte order mark before forwarding": (b"\xef\xbb\xbfalice@one\r\n", Query("alice", ("one",))),
    "byte order marks and spaces": (b" \xef\xbb\xbf \xef\xbb\xbf alice\r\n", Query("alice")),
    "a byte order mark inside the name is part of it": ("a\ufeffb\r\n".encode(), Query("a\ufeffb")),
    "spaces at either end": (b" \tbob\t \r\n", Query("bob")),
    "the case of a name is kept": (b"BoB\r\n", Query("BoB")),
    "inner spaces belong to the name": (b"alice  bob\tcarol\r\n", Query("alice  bob\tcarol")),
    "verbose": (b"/W bob\r\n", Query("bob", verbose=True)),
    "verbose in lower case": (b"/w bob\r\n", Query("bob", verbose=True)),
    "verbose at the end": (b"bob /W\r\n", Query("bob", verbose=True)),
    "verbose in lower case at the end": (b"bob\t/w\r\n", Query("bob", verbose=True)),
    "verbose at both ends": (b"/W bob /w\r\n", Query("bob", verbose=True)),
    "verbose twice": (b"/W /W bob\r\n", Query("bob", verbose=True)),
    "verbose after a tab": (b"/W\tbob\r\n", Query("bob", verbose=True)),
    "the verbose list": (b"/W\r\n", Query(verbose=True)),
    "the verbose list with a space": (b"/W \r\n", Query(verbose=True)),
    "a name that begins like verbose": (b"/Wbob\r\n", Query("/Wbob")),
    "a name that ends like verbose": (b"bob/W\r\n", Query("bob/W")),
    "verbose between two names": (b"alice /W bob\r\n", Query("alice /W bob")),
    "an unknown option": (b"/X bob\r\n", Query("/X bob")),
    "a lone slash": (b"/\r\n", Query("/")),
    "a name like a path": (b"../etc/passwd\r\n", Query("../etc/passwd")),
    "a name like an option": (b"-l\r\n", Query("-l")),
    "forwarding": (b"bob@example.org\r\n", Query("bob", ("example.org",))),
    "forwarding along a route": (b"bob@one@two\r\n", Query("bob", ("one", "two"))),
    "forwarding a list": (b"@example.org\r\n", Query("", ("example.org",))),
    "forwarding a verbose list": (b"/W @example.org\r\n", Query("", ("example.org",), verbose=True)),
    "forwarding with verbose at the end": (b"bob@example.org /W\r\n", Query("bob", ("example.org",), verbose=True)),
    "spaces around the at sign": (b"bob @ one @\ttwo\r\n", Query("bob", ("one", "two"))),
    "forwarding to an address": (b"bob@[2001:db8::7]\r\n", Query("bob", ("[2001:db8::7]",))),
    "verbose that touches an at sign is a name": (b"/W@example.org\r\n", Query("/W", ("example.org",))),
    "UTF-8": ("jürgen\r\n".encode(), Query("jürgen")),
    "windows-1252": (b"j\xfcrgen\r\n", Query("jürgen")),
    "windows-1252 that is not Latin-1": (b"o\x92brien \x8ei\x9eka\r\n", Query("o’brien Žižka")),
    "a no-break space is part of the name": ("\N{NO-BREAK SPACE}bob\r\n".encode(), Query("\N{NO-BREAK SPACE}bob")),
    "telnet: an option is offered": (b"\xff\xfb\x18bob\r\n", Query("bob")),
    "telnet: options inside the name": (b"b\xff\xfd\x06o\xff\xfe\x01b\r\n", Query("bob")),
    "telnet: an interrupt": (b"\xff\xf4\xff\xfd\x06bob\r\n", Query("bob")),
    "telnet: a subnegotiation": (b"\xff\xfa\x18\x00xterm\xff\xf0bob\r\n", Query("bob")),
    "telnet: a subnegotiation that never ends": (b"bob\xff\xfa\x18\x00xterm\r\n", Query("bob")),
    "telnet: IAC IAC is the byte 255": (b"bob\xff\xff\r\n", Query("bobÿ")),
    "telnet: IAC at the end": (b"bob\xff\r\n", Query("bob")),
    "telnet: a truncated option": (b"bob\xff\xfb", Query("bob")),
}

MALFORMED = {
    "NUL": b"bo\0b\r\n",
    "escape": b"\x1b[2J\r\n",
    "a bell after the name": b"bob\x07\r\n",
    "DEL": b"bob\x7f\r\n",
    "NUL at the end": b"bob\0\r\n",
    "a control character of C1 in UTF-8": "bob\x9b2J\r\n".encode(),
    **{
        f"a byte that windows-1252 does not define: {byte:#x}": b"zo\xeb%c\r\n" % byte
        for byte in b"\x81\x8d\x8f\x90\x9d"
    },
    "an at sign alone": b"@\r\n",
    "no host": b"bob@\r\n",
    "spaces as the host": b"bob@ \t\r\n",
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


@pytest.mark.parametrize(("line", "query"), QUERIES.values(), ids=QUERIES.keys())
def test_a_line_is_parsed_as_a_query(line: bytes, query: Query) -> None:
    assert parse_query(line) == query


@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_line_raises_an_error_without_its_text(line: bytes) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(line)
    assert str(caught.value) in ("control characters", "not a host name", "not text")


@pytest.mark.parametrize(("query", "line"), ENCODED_QUERIES.values(), ids=ENCODED_QUERIES.keys())
def test_a_query_is_encoded_as_a_line(query: Query, line: bytes) -> None:
    assert query.encode() == line
    assert parse_query(line) == query


@pytest.mark.parametrize(
    ("query", "is_list"),
    [(Query(), True), (Query(verbose=True), True), (Query("bob"), False), (Query("", ("one",)), False)],
    ids=["nothing", "verbose", "user", "host"],
)
def test_a_query_without_user_and_host_is_for_the_user_list(query: Query, is_list: bool) -> None:
    assert query.is_list is is_list


def test_the_right_most_host_is_removed_from_a_forwarded_query() -> None:
    assert parse_query(b"/W bob@one@two").forwarded() == ("two", Query("bob", ("one",), verbose=True))
    assert Query("", ("one",)).forwarded() == ("one", Query())


@pytest.mark.parametrize("name", ["zoë", "o’brien", "Žižka", "ÿ"])
@pytest.mark.parametrize("charset", ["utf-8", "windows-1252"])
def test_a_query_is_forwarded_in_the_bytes_in_which_it_came(name: str, charset: str) -> None:
    host, rest = parse_query(f"/W {name}@one@two\r\n".encode(charset).replace(b"\xff", b"\xff\xff")).forwarded()
    assert host == "two"
    assert rest.encode() == f"/W {name}@one\r\n".encode(charset).replace(b"\xff", b"\xff\xff")


# Random bytes, and the special bytes of a query more often than at random.
LINES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"/W",
                b"/w",
                b" ",
                b"\t",
                b"@",
                b"bob",
                b"/",
                b"\xff",
                b"\xfa",
                b"\xf0",
                b"\xfb",
                b"\xc3\xbc",
                b"\r\n",
                b"\r",
                b"\0",
                b"\xef\xbb\xbf",
            ]
        ),
        max_size=12,
    ).map(b"".join),
)


@settings(deadline=None)
@given(LINES)
def test_any_bytes_are_a_query_that_survives_encoding_or_an_error(line: bytes) -> None:
    try:
        query = parse_query(line)
    except QueryError:
        return
    assert parse_query(query.encode()) == query
    assert not any(ord(character) < 32 and character != "\t" for character in query.username)


QUERYABLE = ("bob", "BoB", "alice  bob", "Zoë", "/Wbob", "bob/W", "/X", "-l", "../etc/passwd", "weather:oslo", "\u202e")
NOT_QUERYABLE = (
    "",
    " ",
    " bob",
    "bob\t",
    "bob@example.org",
    "@",
    "/W",
    "/w bob",
    "bob /W",
    "bo\0b",
    "b\nob",
    "b\rob",
    "\ufeffbob",
    "\x9b",
    "\ud800",
)


@pytest.mark.parametrize("name", QUERYABLE)
def test_a_username_is_queryable_if_a_query_for_it_is_parsed_as_that_username(name: str) -> None:
    assert is_queryable(name)
    assert parse_query(Query(name).encode()) == Query(name)


@pytest.mark.parametrize("name", NOT_QUERYABLE)
def test_a_username_is_not_queryable_if_a_query_for_it_has_another_meaning_or_none(name: str) -> None:
    assert not is_queryable(name)


HOSTILE = [
    *(b"\xff", b"\xff\xfa", b"\xff\xfa\xff", b"\xff\xfb", b"\xff\xf0", b"\xff\xff", b"\xff\xfa\xf0", b"\xc3", b"\xe9"),
    *(
        b"@",
        b"a@",
        b"@ ",
        b" @ ",
        b" ",
        b"\t",
        b" \t",
        b"/w",
        b"/W ",
        b" /W",
        b"/W\t@",
        b"a ",
        b"\r",
        "\u0130".encode(),
    ),
]


@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_line_of_a_mebibyte_is_read_in_one_pass(part: bytes) -> None:
    # Not a measurement: quadratic time would be minutes.
    begun = time.monotonic()
    for around in (b"", b"bob", b"\xff\xfa"):
        with contextlib.suppress(QueryError):
            parse_query(around + part * ((1 << 20) // len(part)) + around)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r", b"\r\0", b"\r" + b"x" * 99 + b"\n"])
def test_the_line_end_does_not_count_towards_the_limit(end: bytes) -> None:
    assert parse_query(b"alice" + end, 5) == Query("alice")
    with pytest.raises(QueryTooLongError):
        parse_query(b"alice " + end, 5)
