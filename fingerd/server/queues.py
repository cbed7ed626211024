"""The connections of a server by their states, and in the order of their deadlines."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice, takewhile

from fingerd.server.connection import Connection, State
from fingerd.server.limits import Limits

DEADLINE_CHECK_SECONDS = 0.25  # between two looks at deadlines
EXPIRE_BATCH = 100  # connections of one state that are closed in one go


class DeadlineQueue(dict[Connection, None]):
    """Connections in the order of their deadlines: each is added with a later one than those before it."""

    def expired(self, now: float) -> Sequence[Connection]:
        """Those whose deadline has passed, at most EXPIRE_BATCH of them."""
        return list(islice(takewhile(lambda connection: connection.deadline <= now, self), EXPIRE_BATCH))

    def shift(self, seconds: float) -> None:
        """Move all deadlines by so many seconds."""
        for connection in self:
            connection.deadline += seconds


class Queues:
    """A queue for each state in which a connection waits for its client."""

    def __init__(self) -> None:
        self.reading, self.held, self.writing = DeadlineQueue(), DeadlineQueue(), DeadlineQueue()
        self.half_closed, self.lingering = DeadlineQueue(), DeadlineQueue()
        self.flushing: dict[Connection, None] = {}  # UnsentAnswers looks at these, and at their deadlines
        self.of: list[dict[Connection, None]] = [{} for _ in State]  # by state
        for state, queue in (
            (State.READING, self.reading),
            (State.HELD, self.held),
            (State.WRITING, self.writing),
            (State.HALF_CLOSED, self.half_closed),
            (State.FLUSHING, self.flushing),
            (State.LINGERING, self.lingering),
        ):
            self.of[state] = queue
        self.by_last_read: dict[Connection, None] = {}  # those of ``reading``, the longest silent first

    def __bool__(self) -> bool:
        return any(self.of)

    def expired(self, now: float) -> Iterator[tuple[Connection, bool]]:
        """The connections whose time is over, and whether there were too many of their state for one go."""
        for queue in (self.reading, self.held, self.writing, self.lingering):
            found = queue.expired(now)
            yield from ((connection, len(found) == EXPIRE_BATCH) for connection in found)

    def evictable(self) -> Connection | None:
        """Which connection to close for a new one: one that has its answer, a held one, the longest silent."""
        return next(chain(self.lingering, self.held, self.by_last_read), None)

    def shift_deadlines(self, old: Limits, new: Limits) -> None:
        """Give all connections the new time-outs; each queue keeps its order."""
        self.reading.shift(new.read_seconds - old.read_seconds)
        self.held.shift(new.read_seconds - old.read_seconds)
        self.writing.shift(new.write_seconds - old.write_seconds)
