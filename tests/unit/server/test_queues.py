"""Queues: connections by state, in the order of their deadlines."""

import pytest

from fingerd.server.connection import Connection, State
from fingerd.server.limits import Limits
from fingerd.server.queues import EXPIRE_BATCH, DeadlineQueue, Queues
from tests.unit.server.support import make_connection


def waiting(queues: Queues, state: State, *deadlines: float) -> list[Connection]:
    """Connections that were added to the queue of their state."""
    connections = [make_connection(state, deadline) for deadline in deadlines]
    queues.of[state].update(dict.fromkeys(connections))
    if state is State.READING:
        queues.by_last_read.update(dict.fromkeys(connections))
    return connections


def test_connections_expire_in_the_order_of_their_deadlines() -> None:
    connections = [make_connection(State.READING, deadline) for deadline in (1.0, 2.0, 2.0, 3.0)]
    queue = DeadlineQueue(dict.fromkeys(connections))
    assert queue.expired(0.9) == []
    assert queue.expired(1.0) == connections[:1]
    assert queue.expired(2.5) == connections[:3]
    assert len(queue) == 4  # they are not removed


def test_no_more_than_one_batch_expires_at_once() -> None:
    queue = DeadlineQueue(dict.fromkeys(make_connection(State.READING, 1.0) for _ in range(EXPIRE_BATCH + 1)))
    assert len(queue.expired(2.0)) == EXPIRE_BATCH


def test_a_shift_moves_all_deadlines() -> None:
    connections = [make_connection(State.READING, deadline) for deadline in (1.0, 2.0)]
    queue = DeadlineQueue(dict.fromkeys(connections))
    queue.shift(-0.5)
    assert [connection.deadline for connection in connections] == [0.5, 1.5]


def test_queues_are_true_while_there_is_any_connection() -> None:
    queues = Queues()
    assert not queues
    for state in State:
        queues.of[state][make_connection(state)] = None
        assert queues
        queues.of[state].clear()
        assert not queues


def test_expired_connections_of_all_states_but_half_closed_are_found() -> None:
    """The transport looks at those that are half-closed more often, and by itself."""
    queues = Queues()
    expired = [
        connection
        for state in (State.READING, State.HELD, State.WRITING, State.LINGERING)
        for connection in waiting(queues, state, 1.0, 9.0)[:1]
    ]
    waiting(queues, State.HALF_CLOSED, 1.0)
    assert list(queues.expired(2.0)) == [(connection, False) for connection in expired]


def test_a_full_batch_is_reported() -> None:
    queues = Queues()
    waiting(queues, State.HELD, *[1.0] * (EXPIRE_BATCH + 1))
    waiting(queues, State.WRITING, 1.0)
    found = list(queues.expired(2.0))
    assert [is_full for _, is_full in found] == [True] * EXPIRE_BATCH + [False]


def test_one_that_has_its_answer_is_evicted_first_then_a_held_one_then_the_longest_silent() -> None:
    queues = Queues()
    for state in (State.WRITING, State.HALF_CLOSED, State.FLUSHING):
        waiting(queues, state, 1.0)
    assert queues.evictable() is None
    first, second = waiting(queues, State.READING, 1.0, 2.0)
    assert queues.evictable() is first
    queues.by_last_read[first] = queues.by_last_read.pop(first)  # it has just sent something
    assert queues.evictable() is second
    (held,) = waiting(queues, State.HELD, 1.0)
    assert queues.evictable() is held
    (lingering,) = waiting(queues, State.LINGERING, 1.0)
    assert queues.evictable() is lingering


@pytest.mark.parametrize(
    ("state", "seconds"),
    [(State.READING, 5.0), (State.HELD, 5.0), (State.WRITING, -1.0), (State.HALF_CLOSED, 0), (State.LINGERING, 0)],
)
def test_new_limits_move_the_deadlines_of_their_states(state: State, seconds: float) -> None:
    queues = Queues()
    (connection,) = waiting(queues, state, 100.0)
    queues.shift_deadlines(Limits(read_seconds=5, write_seconds=5), Limits(read_seconds=10, write_seconds=4))
    assert connection.deadline == 100.0 + seconds
