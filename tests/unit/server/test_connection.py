"""A connection as data: what handlers of ``socketserver`` read from it and write to it."""

from collections import deque

from fingerd.server.connection import State
from tests.unit.server.support import make_connection


def test_the_request_can_be_read_as_a_file() -> None:
    connection = make_connection(State.ANSWERING)
    connection.line = b"bob\r\n"
    assert connection.makefile().readline() == b"bob\r\n"
    assert connection.makefile("rb", 0).read() == b"bob\r\n"


def test_what_is_written_is_appended_until_the_connection_is_closing() -> None:
    connection = make_connection(State.ANSWERING)
    connection.write(b"one ")
    connection.sendall(b"two")
    connection.closing = True
    connection.write(b" three")
    assert connection.out_buffer == b"one two"


def test_what_is_written_comes_after_what_the_kernel_has_not_taken() -> None:
    connection = make_connection(State.ANSWERING)
    connection.out_buffer = memoryview(b"xone ")[1:]
    connection.write(b"two")
    assert bytes(connection.out_buffer) == b"one two"


def test_chunks_that_are_not_sent_come_before_the_rest_of_the_answer() -> None:
    connection = make_connection(State.ANSWERING)
    connection.chunks = deque([b"one ", b"two "])
    connection.out_buffer = b"three"
    connection.join_chunks()
    assert connection.out_buffer == b"one two three"
    assert not connection.chunks
    connection.join_chunks()
    assert connection.out_buffer == b"one two three"


def test_connections_are_compared_by_identity() -> None:
    assert len({make_connection(State.NEW), make_connection(State.NEW)}) == 2
