"""The transport: takes over accepted connections and reads their requests, until each is complete.

A connection here costs a descriptor and a small object, no thread. What
follows on the request, up to the close, is :mod:`fingerd.server.delivery`.
"""

import select
import time
from socket import MSG_DONTWAIT

from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import ANSWERING, READING, Connection, State
from fingerd.server.delivery import Delivery
from fingerd.server.loop import EventLoop
from fingerd.server.steps import FrontDoor, ServerSteps

READ_EVENTS = select.EPOLLIN | select.EPOLLONESHOT  # one-shot: not watched while the request is answered

RECEIVE = int(MSG_DONTWAIT)  # as a plain number: a flag of an enumeration takes longer


class Transport:
    """The connections of one front door whose requests are not complete, on the loop's thread.

    An unexpected error while one client is served ends its connection, and no
    other.
    """

    verifies_late = False  # whether ``verify_request`` is called by the transport, once it knows the client

    def __init__(self, server: ServerSteps, loop: EventLoop, door: FrontDoor, delivery: Delivery) -> None:
        self._server = server
        self._loop = loop
        self.door = door
        self.delivery = delivery
        self._framing = framing = door.framing
        self._queues = delivery.queues
        self._find_end = framing.find_end
        self.use_config(server.active)
        self._on_ready = self._on_readable  # one bound method for all descriptors

    def use_config(self, active: ActiveConfig) -> None:
        """Let its limits hold, also for the connections that are here."""
        self.door.use_config(active)
        self._limits = active.limits
        self._reads = "query" if self.door.is_monitoring else active.reads
        self._asks = self._reads not in ("nothing", "anything")
        self._request_bytes = self._framing.max_bytes(active.limits)

    def on_accepted(self, request: Connection) -> None:
        """Take over a connection that was accepted and may stay."""
        try:
            if not self._asks:
                self._ignore(request)
            elif self._receive(request):
                self._dispatch(request)
            else:
                self._await_rest(request)
        except BaseException:
            self.delivery.fail(request)

    def _ignore(self, request: Connection) -> None:
        """Nothing is asked of this backend: close the connection, or hold it and read whatever comes."""
        if self._reads == "nothing":
            request.outcome = "dropped"
            self._server.shutdown_request(request)
        else:
            self.delivery.enter(request, State.HELD, self._limits.read_seconds)
            self.delivery.watch(request, select.EPOLLIN)

    def _await_rest(self, request: Connection) -> None:
        """Read on when more of the request comes."""
        self.delivery.enter(request, State.READING, self._limits.read_seconds)
        self._queues.by_last_read[request] = None
        self.delivery.watch(request, READ_EVENTS, self._on_ready)

    def _receive(self, request: Connection) -> bool:
        """Read what is there; true when there is nothing to wait for: a whole request, the end, or a reset."""
        try:
            data = request.socket.recv(max(self._request_bytes - len(request.received), 1), RECEIVE)
        except BlockingIOError:
            return False
        except OSError:
            request.outcome = "hung-up"
            return True
        received = request.received = request.received + data if request.received else data
        end = self._find_end(received)
        if end < 0:
            end = self._framing.find_other_end(received)
        if end >= 0:
            request.line = received[: end + 1]
        elif not data or len(received) >= self._request_bytes:
            request.line = received
        else:
            return False
        return True

    def _dispatch(self, request: Connection) -> None:
        """The request is complete, or the client is gone."""
        request.state = ANSWERING
        self.delivery.answering += 1
        if request.outcome or not request.received:
            return self._end_unasked(request)
        request.received_at = time.monotonic()
        try:
            self._server.process_request(request, request.address)
        except Exception:
            self._server.handle_error(request, request.address)
            self._server.shutdown_request(request)

    def _end_unasked(self, request: Connection) -> None:
        """There is no request."""
        request.outcome = "hung-up"
        self._server.shutdown_request(request)

    def _on_readable(self, descriptor: int, events: int) -> None:
        request = self.delivery.watched[descriptor]
        if request.state is not READING:  # parts of its answer are sent already
            return self.delivery.on_event(descriptor, events)
        try:
            if not self.read_on(request):
                self._queues.by_last_read[request] = self._queues.by_last_read.pop(request)
                self._loop.modify_reader(descriptor, READ_EVENTS)
        except BaseException:
            self.delivery.fail(request)

    def read_on(self, request: Connection) -> bool:
        """Read what has come of a request, and have it answered if it is complete; false if it is not."""
        if not self._receive(request):
            return False
        self.delivery.leave(request)
        self._dispatch(request)
        return True
