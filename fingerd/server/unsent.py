"""Large answers that clients have not taken: how many bytes of them there are, and when one is sent at last.

The kernel takes an answer long before the client does, and tells nobody when
the client has it. So an answer counts until the kernel has sent it, which is
looked at by a timer, at intervals that grow. One sum is kept of all answers;
beyond its limit the client is closed that took something longest ago.
"""

import heapq
import math
import select
import time
from itertools import count

from fingerd.server.connection import ANSWERING, FLUSHING, Connection
from fingerd.server.loop import EventLoop
from fingerd.server.socket_options import reset_when_closed, unsent_bytes
from fingerd.server.steps import Connections

TRACKED_BYTES = 4096  # of an answer; the kernel of any client takes a smaller one unread
CHECK_SECONDS_MIN, CHECK_SECONDS_MAX = 0.005, 1.0  # between two looks at one answer, twice as long each time
OUR_FIN = 1  # byte that it counts as
_RESET_EVENTS = select.EPOLLONESHOT  # a reset is reported whatever the events


class UnsentAnswers:
    """The large answers of one server that are not sent, on the loop's thread."""

    def __init__(self, loop: EventLoop, connections: Connections) -> None:
        self.total = 0  # bytes
        self.limit = 0  # of them
        self._connections = connections
        self._by_progress: dict[Connection, None] = {}  # the one that took something longest ago first
        self._checks: list[tuple[float, int, Connection, float]] = []  # a heap: when, tie-breaker, which, interval
        self._numbers = count()
        self._timer = loop.add_timer(self._on_timer)

    def update(self, request: Connection) -> int:
        """Count what a client has not taken yet; how many bytes that is. Above the limit the slowest are dropped."""
        unsent = request.buffered + unsent_bytes(request.descriptor)
        if unsent < request.unsent or not request.unsent:
            self._by_progress.pop(request, None)
        if unsent:
            self._by_progress[request] = None
        self.total += unsent - request.unsent
        request.unsent = unsent
        while self.total > self.limit and self._by_progress:
            self._drop(next(iter(self._by_progress)))
        return unsent

    def forget(self, request: Connection) -> None:
        """The client has its answer, or is closed."""
        self._by_progress.pop(request, None)
        self.total -= request.unsent
        request.unsent = 0

    def _drop(self, request: Connection) -> None:
        """This client has taken nothing for the longest time, and too many bytes are unsent."""
        self.forget(request)
        if request.state is ANSWERING:  # a worker still adds to the answer
            request.outcome, request.abortive = "timeout", True
            request.drop_chunks()
            reset_when_closed(request.socket)
        else:
            self._connections.reset(request)

    def wait(self, request: Connection, deadline: float) -> None:
        """Wait until the kernel has sent the answer, whose FIN is queued."""
        request.state, request.deadline = FLUSHING, deadline
        self._connections.queues.flushing[request] = None
        if request.watched:
            self._connections.watch(request, _RESET_EVENTS)
        self.update(request)
        self._check_later(request, CHECK_SECONDS_MIN)

    def check(self, request: Connection) -> None:
        """Wait for the client's FIN, or close it, if it has taken the answer; reset it if that takes too long."""
        connections = self._connections
        is_open = connections.drain(request)
        is_sent = request.abortive or self.update(request) <= OUR_FIN
        if request.state is not FLUSHING:  # it was the slowest
            return
        if is_sent:
            connections.leave(request)
            self.forget(request)
            if is_open:
                connections.linger(request)
            else:
                connections.close(request)
        elif request.deadline <= time.monotonic():
            connections.reset(request)

    def _check_later(self, request: Connection, seconds: float) -> None:
        heapq.heappush(self._checks, (time.monotonic() + seconds, next(self._numbers), request, seconds))
        self._timer.when = self._checks[0][0]

    def _on_timer(self) -> None:
        now = time.monotonic()
        while self._checks and self._checks[0][0] <= now:
            _, _, request, seconds = heapq.heappop(self._checks)
            if request.state is FLUSHING:
                try:
                    self.check(request)
                except BaseException:
                    self._connections.fail(request)
            if request.state is FLUSHING:
                self._check_later(request, min(2 * seconds, CHECK_SECONDS_MAX))
        self._timer.when = self._checks[0][0] if self._checks else math.inf
