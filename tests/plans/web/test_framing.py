"""Where a request ends, and what its body is."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.http.framing import MAX_HEAD_BYTES
from fingerd.plans.web.framing import CHUNK_BYTES, MAX_FRAMING_BYTES, RequestReader

LINE = b"PUT /~zoe/plan HTTP/1.1\r\n"
MAX = 1000


def request(*fields: bytes, body: bytes = b"", line: bytes = LINE) -> bytes:
    return line + b"Host: a\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return request(b"Transfer-Encoding: chunked", body=body)


def read(*parts: bytes) -> RequestReader:
    """What was read of a request that comes in these parts."""
    reader = RequestReader(MAX)
    for part in parts:
        reader.feed(part)
    return reader


def split(raw: bytes, size: int) -> list[bytes]:
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def result(reader: RequestReader) -> tuple[bytes, bytes, bool, int]:
    """The head, the body, whether it is complete, and the status of what is wrong with it."""
    return reader.head, bytes(reader.body), reader.is_complete, reader.problem.status if reader.problem else 0


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
    "as many chunks as there are bytes": (chunked(b"1\r\nx\r\n" * MAX + b"0\r\n\r\n"), b"x" * MAX),
    "300 lines": (chunked(b"3\r\nab\n\r\n" * 300 + b"0\r\n\r\n"), b"ab\n" * 300),
    "a form": (request(b"Content-Length: 3", body=b"a=b", line=b"POST / HTTP/1.1\r\n"), b"a=b"),
    "line ends of LF": (b"PUT / HTTP/1.1\nContent-Length: 2\n\nab", b"ab"),
}


@pytest.mark.parametrize(("raw", "body"), WHOLE.values(), ids=WHOLE)
def test_a_whole_request_and_nothing_after_it(raw: bytes, body: bytes) -> None:
    head = raw[: -len(raw.partition(b"\n\n" if b"\r" not in raw else b"\r\n\r\n")[2]) or None]
    for parts in ([raw], [raw + b"PUT"], split(raw, 1), split(raw + b"PUT", 1), split(raw, 7), [raw[:-1], raw[-1:]]):
        assert result(read(*parts)) == (head, body, True, 0)
    for size in range(1, len(raw), 1 if len(raw) < 200 else 97):
        assert not read(raw[:size]).is_complete


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
    head = raw[: raw.index(b"\r\n\r\n") + 4]
    for parts in ([raw], [raw + b"PUT"], split(raw, 1), split(raw, 7)):
        assert result(read(*parts)) == (head, b"", True, status)


@pytest.mark.parametrize("line", [b"1", b"00000001", b"1;" + b"x" * 32])
def test_the_bytes_between_chunks_are_bounded_and_not_the_chunks(line: bytes) -> None:
    reader = RequestReader(1 << 20)
    reader.feed(chunked(b""))
    count = MAX_FRAMING_BYTES // len(line + b"\r\n\r\n")
    assert not reader.feed((line + b"\r\nx\r\n") * count)
    assert reader.feed(line + b"\r\nx\r\n")
    assert reader.problem
    assert (reader.problem.status, reader.problem.text) == (413, "The body is in too many and too small chunks")


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"put"])
def test_other_methods_have_no_body(method: bytes) -> None:
    raw = request(b"Content-Length: 3", line=method + b" / HTTP/1.1\r\n")
    assert result(read(raw + b"abc")) == result(read(*split(raw, 1))) == (raw, b"", True, 0)


def test_a_head_that_is_too_long_ends_there() -> None:
    assert not read(LINE + b"x" * (MAX_HEAD_BYTES - len(LINE))).is_complete
    late = LINE + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\nContent-Length: 3\r\n\r\nabc"
    for raw in (LINE + b"x" * 2 * MAX_HEAD_BYTES, late):
        for parts in ([raw], split(raw, 100)):
            assert result(read(*parts)) == (raw[: MAX_HEAD_BYTES + 1], b"", True, 0)


@pytest.mark.parametrize("start", [b"\x16\x03\x01", b"GET /\r\n", b"\r\n"])
def test_what_is_no_request_ends_at_once(start: bytes) -> None:
    assert read(*split(start, 1), b"\r\n").is_complete


def test_a_client_that_waits_is_told_to_go_on() -> None:
    waiting = request(b"Content-Length: 3", b"Expect: 100-continue")
    assert read(waiting).is_awaited
    assert read(*split(waiting, 1)).is_awaited
    for other in (
        waiting[:-1],  # not complete
        request(b"Content-Length: 3"),
        request(b"Content-Length: 3", b"Expect: 200"),
        request(b"X: Expect: 100-continue"),
        request(b"Content-Length: 30", body=b"\r\nExpect: 100-continue\r\n\r\n"),
        waiting.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        assert not read(other).is_awaited, other


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.integers(1, 2000), st.binary(max_size=20))
def test_any_chunks_are_put_together(chunks: list[bytes], size: int, after: bytes) -> None:
    raw = chunked(b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n")
    assert result(read(*split(raw + after, size))) == (chunked(b""), b"".join(chunks), True, 0)
    assert not read(*split(raw[:-1], size)).is_complete


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_after_a_head_end_in_one_place(body: bytes, size: int) -> None:
    """However they come: what is complete, or refused, is so in every division."""
    assert result(read(*split(chunked(body), size))) == result(read(chunked(body)))


def test_a_part_costs_its_own_length_however_much_is_there() -> None:
    """Counted in steps of the interpreter, and not in time."""
    reader = RequestReader(1 << 20)
    reader.feed(chunked(b"")[:-2] + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 70) for n in range(90)) + b"\r\n")
    parts, sizes = b"1\r\na\r\n" * 5000, []
    for start in range(0, len(parts), 6000):
        seen = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal seen
            seen += 1

        sys.setprofile(count)
        reader.feed(parts[start : start + 6000])
        assert not reader.is_awaited
        sys.setprofile(None)
        sizes.append(seen)
    assert len(reader.body) == 5000
    assert max(sizes) == min(sizes)
