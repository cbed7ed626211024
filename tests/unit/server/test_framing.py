"""Framing: what one whole request is."""

import pytest

from fingerd.server.finger_door import LineFraming
from fingerd.server.limits import Limits


@pytest.mark.parametrize(
    ("received", "end"),
    [
        (b"", -1),
        (b"bob", -1),
        (b"bob\r\n", 4),
        (b"\n", 0),
        (b"a\nb\n", 1),
        (b"bob\r", 3),
        (b"bob\r\0", 3),
        (b"\r", 0),
        (b"a\rb\r", 1),
    ],
)
def test_a_line_ends_at_a_line_feed_or_without_one_at_a_carriage_return(received: bytes, end: int) -> None:
    framing = LineFraming()
    assert (framing.find_end(received) if b"\n" in received else framing.find_other_end(received)) == end


def test_a_line_is_a_query_and_its_line_end() -> None:
    assert LineFraming().max_bytes(Limits(query_bytes=100)) == 102
