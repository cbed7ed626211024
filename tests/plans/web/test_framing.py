"""Where a request ends, and what its body is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.http.framing import MAX_HEAD_BYTES
from fingerd.plans.web.framing import CHUNK_BYTES, CONTINUE, MAX_CHUNKS, BodyFraming, Framed, frame
from fingerd.server.limits import Limits

LINE = b"PUT /~zoe/plan HTTP/1.1\r\n"
MAX = 1000


def request(*fields: bytes, body: bytes = b"", line: bytes = LINE) -> bytes:
    return line + b"Host: a\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return request(b"Transfer-Encoding: chunked", body=body)


def end_of(received: bytes) -> int:
    """Where the framing finds the end, as a length; 0 where more must come."""
    framing = BodyFraming(MAX)
    end = framing.find_end(received)
    return (end if end >= 0 else framing.find_other_end(received)) + 1


WHOLE = {
    "a length": (request(b"Content-Length: 3", body=b"abc"), b"abc"),
    "no length but zero": (request(b"Content-Length: 0"), b""),
    "zeros": (request(b"content-length:0003", body=b"abc"), b"abc"),
    "the longest": (request(b"Content-Length: 1000", body=b"x" * MAX), b"x" * MAX),
    "chunks": (chunked(b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"), b"abcd"),
    "no chunk": (chunked(b"0\r\n\r\n"), b""),
    "a chunk like an end": (chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), b"0\r\n\r\n"),
    "capitals and zeros": (chunked(b"00A\r\n0123456789\r\n000\r\n\r\n"), b"0123456789"),
    "extensions": (chunked(b'3;a=b\r\nabc\r\n1 ; c="d e"\r\nd\r\n0;x\r\n\r\n'), b"abcd"),
    "as many chunks as may be": (chunked(b"1\r\nx\r\n" * MAX_CHUNKS + b"0\r\n\r\n"), b"x" * MAX_CHUNKS),
    "a form": (request(b"Content-Length: 3", body=b"a=b", line=b"POST / HTTP/1.1\r\n"), b"a=b"),
    "line ends of LF": (b"PUT / HTTP/1.1\nContent-Length: 2\n\nab", b"ab"),
}


@pytest.mark.parametrize(("raw", "body"), WHOLE.values(), ids=WHOLE)
def test_a_whole_request_and_nothing_after_it(raw: bytes, body: bytes) -> None:
    for size in range(1, len(raw), 1 if len(raw) < 200 else 7):
        assert end_of(raw[:size]) == 0, raw[:size]
    framed = frame(raw + b"PUT", MAX)
    assert framed is not None
    assert (framed.end, framed.problem, framed.body_of(raw)) == (len(raw), None, body)
    assert end_of(raw + b"PUT") == len(raw) <= BodyFraming(MAX).max_bytes(Limits())


REFUSED = {
    "no length": (request(), 411),
    "too long": (request(b"Content-Length: 1001"), 413),
    "far too long": (request(b"Content-Length: 999999999999"), 413),
    "a number that is none": (request(b"Content-Length: 9" * 1 + b"9" * 30), 400),
    "a plus": (request(b"Content-Length: +3"), 400),
    "a minus": (request(b"Content-Length: -3"), 400),
    "other digits": (request("Content-Length: \u0663".encode()), 400),
    "hexadecimal": (request(b"Content-Length: 0x3"), 400),
    "an underscore": (request(b"Content-Length: 1_0"), 400),
    "an empty length": (request(b"Content-Length:"), 400),
    "a list": (request(b"Content-Length: 3, 3"), 400),
    "two lengths": (request(b"Content-Length: 3", b"Content-Length: 3"), 400),
    "two different lengths": (request(b"Content-Length: 3", b"Content-Length: 4"), 400),
    "a length and chunks": (request(b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400),
    "chunks and a length": (request(b"Transfer-Encoding: chunked", b"Content-Length: 0"), 400),
    "two codings": (request(b"Transfer-Encoding: gzip, chunked"), 400),
    "chunked twice": (request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "another coding": (request(b"Transfer-Encoding: xchunked"), 400),
    "identity": (request(b"Transfer-Encoding: identity"), 400),
    "a coding after a vertical tab": (request(b"Transfer-Encoding: \x0bchunked"), 400),
    "no size": (chunked(b"\r\n"), 400),
    "letters": (chunked(b"xyz\r\nabc\r\n"), 400),
    "a negative size": (chunked(b"-1\r\n"), 400),
    "a size with a prefix": (chunked(b"0x3\r\nabc\r\n"), 400),
    "a size with a blank before": (chunked(b" 3\r\nabc\r\n"), 400),
    "a size with an underscore": (chunked(b"1_0\r\n"), 400),
    "a size of many digits": (chunked(b"0" * 20 + b"3\r\nabc\r\n"), 400),
    "a size beyond all": (chunked(b"ffffffff\r\n"), 413),
    "sizes that are too much together": (chunked(b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n"), 413),
    "too many chunks": (chunked(b"1\r\nx\r\n" * (MAX_CHUNKS + 1)), 413),
    "a chunk that is longer than it says": (chunked(b"3\r\nabcd\r\n"), 400),
    "a chunk that ends with LF": (chunked(b"3\r\nabc\n1\r\n"), 400),
    "a size that ends with LF": (chunked(b"3\nabc\r\n0\r\n\r\n"), 400),
    "a size that ends with CR": (chunked(b"3\rabc\r\n0\r\n\r\n"), 400),
    "a control character in an extension": (chunked(b"3;\x01\r\nabc\r\n"), 400),
    "an extension without an end": (chunked(b"3;" + b"x" * CHUNK_BYTES), 400),
    "a trailer": (chunked(b"0\r\nX: y\r\n\r\n"), 400),
}


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED)
def test_a_body_that_is_not_read_ends_where_that_is_clear(raw: bytes, status: int) -> None:
    framed = frame(raw, MAX)
    assert framed
    assert framed.problem
    assert framed.problem.status == status
    assert framed.head == raw[: raw.index(b"\r\n\r\n") + 4]
    assert framed.body_of(raw) == b""
    again = frame(raw[: framed.end], MAX)  # as the front door sees it
    assert again
    assert again.problem
    assert again.problem.status == status


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"put"])
def test_other_methods_have_no_body(method: bytes) -> None:
    raw = request(b"Content-Length: 3", line=method + b" / HTTP/1.1\r\n")
    assert frame(raw + b"abc", MAX) == Framed(raw, len(raw))


def test_a_head_that_is_too_long_ends_there() -> None:
    assert end_of(LINE + b"x" * (MAX_HEAD_BYTES - len(LINE))) == 0
    assert end_of(LINE + b"x" * 2 * MAX_HEAD_BYTES) == MAX_HEAD_BYTES + 1
    late = LINE + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\nContent-Length: 3\r\n\r\nabc"
    assert end_of(late) == MAX_HEAD_BYTES + 1


@pytest.mark.parametrize("start", [b"\x16\x03\x01", b"GET /\r\n", b"\r\n"])
def test_what_is_no_request_ends_at_once(start: bytes) -> None:
    assert end_of(start) in (0, len(start))
    assert end_of(start + b"\r\n") > 0


def test_a_client_that_waits_is_told_to_go_on() -> None:
    waiting = request(b"Content-Length: 3", b"Expect: 100-continue")
    assert BodyFraming.interim(waiting) == CONTINUE
    for other in (
        waiting[:-1],  # not complete
        request(b"Content-Length: 3"),
        request(b"Content-Length: 3", b"Expect: 200"),
        request(b"X: Expect: 100-continue"),
        request(b"Content-Length: 30", body=b"\r\nExpect: 100-continue\r\n\r\n"),
        waiting.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        assert BodyFraming.interim(other) == b"", other


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.integers(0, 2000), st.binary(max_size=20))
def test_any_chunks_are_put_together(chunks: list[bytes], cut: int, after: bytes) -> None:
    raw = chunked(b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n")
    framed = frame(raw + after, MAX)
    assert framed
    assert (framed.end, framed.problem, framed.body_of(raw + after)) == (len(raw), None, b"".join(chunks))
    assert frame(raw[: min(cut, len(raw) - 1)], MAX) is None


@given(st.binary(max_size=200))
def test_any_bytes_after_a_head_end_in_one_place(body: bytes) -> None:
    """However they come: what is complete, or refused, stays so when more comes, and nothing is read past the end."""
    raw = chunked(body)
    whole = frame(raw, MAX)
    for size in range(len(raw)):
        part = frame(raw[:size], MAX)
        if part and not part.problem:
            assert whole == part
        elif part:
            assert whole
            assert whole.problem
