"""Closing connections that did not end by themselves: their time is over, another needs the place, the server stops."""

from collections.abc import Callable

from fingerd.server.connection import Connection, State
from fingerd.server.queues import Queues


class Expiry:
    """Closes connections of the queues, by ``finish`` where they still get an answer, by ``close`` where not."""

    def __init__(
        self,
        queues: Queues,
        finish: Callable[[Connection], None],
        close: Callable[[Connection], None],
        drain: Callable[[Connection], object],
    ) -> None:
        self._queues = queues
        self._finish = finish
        self._close = close
        self._drain = drain

    def close_expired(self, now: float) -> bool:
        """Close the connections whose time is over; true where there are more than are closed in one go."""
        more = False
        for request, is_full_batch in self._queues.expired(now):
            more = more or is_full_batch
            if request.state is State.HELD:
                request.outcome = "dropped"
                self._finish(request)
            else:
                request.outcome = request.outcome if request.state is State.LINGERING else "timeout"
                self._close(request)
        return more

    def evict(self) -> bool:
        """Close one connection to make room; false where all are being answered."""
        request = self._queues.evictable()
        if request is None:
            return False
        if request.state is not State.LINGERING:
            request.outcome = "dropped"
        self._close(request)
        return True

    def drop_unasked(self) -> None:
        """Close the connections whose request is not complete."""
        for request in (*self._queues.reading, *self._queues.held):
            request.outcome, request.abortive = "dropped", True
            self._drain(request)  # unread bytes would make a reset of the close
            self._finish(request)

    def close_all(self) -> None:
        """Close the connections whose answer is not taken, or whose client has not closed its side."""
        for request in (*self._queues.writing, *self._queues.half_closed, *self._queues.lingering):
            request.outcome = "timeout" if request.out_buffer else request.outcome
            self._close(request)
