"""Expiry: how connections are closed that did not end by themselves, and what the log says of them."""

from functools import partialmethod
from typing import Any, cast

from fingerd.server.connection import Connection, State
from fingerd.server.expiry import Expiry
from fingerd.server.queues import EXPIRE_BATCH, Queues
from tests.unit.server.support import make_connection


class Closing:
    """Connections, and what has been done to them."""

    def __init__(self, *connections: Connection) -> None:
        self.queues = Queues()
        for connection in connections:
            connection.transport = self  # which reads on
            self.queues.of[connection.state][connection] = None
            if connection.state is State.READING:
                self.queues.by_last_read[connection] = None
        self.done: list[tuple[str, Connection]] = []
        self.prompt: set[Connection] = set()  # whose client has done its part meanwhile
        self.expiry = Expiry(cast(Any, self))

    def _remove(self, how: str, connection: Connection) -> None:
        self.done.append((how, connection))
        self.queues.of[connection.state].pop(connection)
        self.queues.by_last_read.pop(connection, None)

    finish = partialmethod(_remove, "finish")
    close = partialmethod(_remove, "close")
    reset = partialmethod(_remove, "reset")
    fail = partialmethod(_remove, "fail")

    def read_on(self, connection: Connection) -> bool:
        if connection in self.prompt:
            self._remove("read", connection)
        return connection in self.prompt

    def write_on(self, connection: Connection) -> bool:
        if connection in self.prompt:
            self._remove("write", connection)
        return connection in self.prompt

    def drain(self, connection: Connection) -> bool:
        self.done.append(("drain", connection))
        return True


def test_a_client_that_is_late_is_closed_as_timed_out() -> None:
    reading, writing = make_connection(State.READING, 1.0), make_connection(State.WRITING, 1.0)
    closing = Closing(reading, writing, make_connection(State.READING, 3.0))
    assert not closing.expiry.close_expired(2.0)
    assert closing.done == [("close", reading), ("reset", writing)]
    assert reading.outcome == "timeout"


def test_a_client_that_has_done_its_part_while_this_process_was_stopped_is_not_late() -> None:
    reading, writing = make_connection(State.READING, 1.0), make_connection(State.WRITING, 1.0)
    late = make_connection(State.READING, 1.0)
    closing = Closing(reading, late, writing)
    closing.prompt = {reading, writing}
    closing.expiry.close_expired(2.0)
    assert closing.done == [("read", reading), ("close", late), ("write", writing)]
    assert (reading.outcome, writing.outcome, late.outcome) == ("", "", "timeout")


def test_an_error_at_one_connection_ends_that_one_only() -> None:
    class Broken(Closing):
        def read_on(self, connection: Connection) -> bool:
            if connection is first:
                raise LookupError("a bug")
            return super().read_on(connection)

    first, second = make_connection(State.READING, 1.0), make_connection(State.READING, 1.0)
    closing = Broken(first, second)
    closing.expiry.close_expired(2.0)
    assert closing.done == [("fail", first), ("close", second)]


def test_a_held_client_is_finished_and_one_that_has_its_answer_keeps_its_outcome() -> None:
    held, lingering = make_connection(State.HELD, 1.0), make_connection(State.LINGERING, 1.0)
    lingering.outcome = "answered"
    closing = Closing(held, lingering)
    closing.expiry.close_expired(2.0)
    assert closing.done == [("finish", held), ("close", lingering)]
    assert (held.outcome, lingering.outcome) == ("dropped", "answered")


def test_what_is_left_of_a_full_batch_is_closed_next_time() -> None:
    closing = Closing(*(make_connection(State.READING, 1.0) for _ in range(EXPIRE_BATCH + 1)))
    assert closing.expiry.close_expired(2.0)
    assert len(closing.queues.reading) == 1
    assert not closing.expiry.close_expired(2.0)
    assert not closing.queues.reading


def test_one_connection_is_evicted_and_none_where_all_are_being_answered() -> None:
    reading, lingering = make_connection(State.READING), make_connection(State.LINGERING)
    lingering.outcome = "answered"
    closing = Closing(reading, lingering, make_connection(State.WRITING))
    assert [closing.expiry.evict() for _ in range(3)] == [True, True, False]
    assert closing.done == [("close", lingering), ("close", reading)]
    assert (reading.outcome, lingering.outcome) == ("dropped", "answered")


def test_connections_without_a_complete_request_are_dropped() -> None:
    reading, held = make_connection(State.READING), make_connection(State.HELD)
    closing = Closing(reading, held, make_connection(State.WRITING))
    closing.expiry.drop_unasked()
    assert closing.done == [("drain", reading), ("finish", reading), ("drain", held), ("finish", held)]
    assert (reading.outcome, reading.abortive) == (held.outcome, held.abortive) == ("dropped", True)


def test_at_the_end_only_those_whose_answer_is_not_taken_have_timed_out() -> None:
    states = State.WRITING, State.HALF_CLOSED, State.FLUSHING, State.LINGERING
    connections = [make_connection(state) for state in states]
    for connection in connections:
        connection.outcome = "answered"
    connections[0].out_buffer = b"the rest"
    closing = Closing(*connections)
    closing.expiry.close_all()
    assert closing.done == [("close", connection) for connection in connections]
    assert [connection.outcome for connection in connections] == ["timeout", "answered", "answered", "answered"]
