"""Closing connections that did not end by themselves: their time is over, another needs the place, the server stops."""

from fingerd.server.connection import Connection, State
from fingerd.server.steps import Connections


class Expiry:
    """Closes connections: by ``finish`` where they still get an answer, by ``close`` where not."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._queues = connections.queues

    def close_expired(self, now: float) -> bool:
        """Close the connections whose time is over; true where there are more than are closed in one go."""
        more = False
        for request, is_full_batch in self._queues.expired(now):
            more = more or is_full_batch
            try:
                self._close_expired(request)
            except BaseException:
                self._connections.fail(request)
        return more

    def _close_expired(self, request: Connection) -> None:
        """Close one, but not where this process is the one that is late: the client has done its part meanwhile."""
        connections = self._connections
        if request.state is State.HELD:
            request.outcome = "dropped"
            connections.finish(request)
        elif request.state is State.LINGERING:
            connections.close(request)
        elif request.state is State.WRITING:
            if not connections.write_on(request):
                connections.reset(request)
        elif not request.transport.read_on(request):
            request.outcome = "timeout"
            connections.close(request)

    def evict(self) -> bool:
        """Close one connection to make room; false where all are being answered."""
        request = self._queues.evictable()
        if request is None:
            return False
        if request.state is not State.LINGERING:
            request.outcome = "dropped"
        self._connections.close(request)
        return True

    def drop_unasked(self) -> None:
        """Close the connections whose request is not complete."""
        for request in (*self._queues.reading, *self._queues.held):
            request.outcome, request.abortive = "dropped", True
            self._connections.drain(request)  # unread bytes would make a reset of the close
            self._connections.finish(request)

    def close_all(self) -> None:
        """Close the connections whose answer is not taken, or whose client has not closed its side."""
        queues = self._queues
        for request in (*queues.writing, *queues.half_closed, *queues.flushing, *queues.lingering):
            request.outcome = "timeout" if request.out_buffer else request.outcome
            self._connections.close(request)
