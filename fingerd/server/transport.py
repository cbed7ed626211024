"""The transport: reading requests, sending answers, half-closing, lingering and closing.

A connection here costs a descriptor and a small object, no thread. Each state
lasts for one length of time, so the connections of a state are in the order
of their deadlines; :mod:`fingerd.server.expiry` closes those that are late.
"""

import math
import select
import socket
import time
from collections.abc import Callable
from socket import MSG_DONTWAIT, MSG_MORE

from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import ANSWERING, FIN_GRACE_SECONDS, HALF_CLOSED, LINGER_SECONDS, NEW, Connection, State
from fingerd.server.expiry import Expiry
from fingerd.server.framing import Framing
from fingerd.server.loop import EventLoop
from fingerd.server.queues import DEADLINE_CHECK_SECONDS, Queues
from fingerd.server.steps import ServerSteps

# One-shot: a connection is not watched while its request is answered.
READ_EVENTS = select.EPOLLIN | select.EPOLLONESHOT
CHUNK_EVENTS = select.EPOLLOUT | select.EPOLLONESHOT
WRITE_EVENTS = select.EPOLLIN | select.EPOLLOUT
READ_BYTES = 1 << 16

# As plain numbers: joining two flags of an enumeration takes longer than the rest of a send.
_RECEIVE = int(MSG_DONTWAIT)
_SEND = int(MSG_DONTWAIT | MSG_MORE)  # the FIN goes out with the last bytes
_SEND_NOW = int(MSG_DONTWAIT)


class Transport:
    """All connections of one server, on the loop's thread.

    ``disconnect`` is called with the limit key of each connection that is
    counted, once its client has the whole answer.
    """

    def __init__(
        self, server: ServerSteps, loop: EventLoop, framing: Framing, disconnect: Callable[[str], None]
    ) -> None:
        self._server = server
        self._loop = loop
        self._framing = framing
        self._disconnect = disconnect
        self.queues = Queues()
        self.expiry = Expiry(self.queues, self.finish, self._close, _drain)
        self.answering = 0  # requests whose answer is not complete
        self._find_end = framing.find_end
        self._limits = server.active.limits
        self.use_config(server.active)
        self._watched: dict[int, Connection] = {}  # by descriptor
        self._expiry_timer = loop.add_timer(self._on_expiry_timer)
        self._grace_timer = loop.add_timer(self._on_grace_timer)
        self._on_ready = self._on_event  # one bound method for all descriptors

    @property
    def is_occupied(self) -> bool:
        """Whether there is any connection."""
        return self.answering > 0 or bool(self.queues)

    def use_config(self, active: ActiveConfig) -> None:
        """Let its limits hold, also for the connections that are here."""
        self.queues.shift_deadlines(self._limits, active.limits)
        self._limits, self._reads = active.limits, active.reads
        self._request_bytes = self._framing.max_bytes(active.limits)

    def on_accepted(self, request: Connection) -> None:
        """Take over a connection that was accepted and may stay."""
        if self._reads == "nothing":
            request.outcome = "dropped"
            self._server.shutdown_request(request)
        elif self._reads == "anything":
            self._enter(request, State.HELD, self._limits.read_seconds)
            self._watch(request, select.EPOLLIN)
        elif self._receive(request):
            self._dispatch(request)
        else:
            self._enter(request, State.READING, self._limits.read_seconds)
            self.queues.by_last_read[request] = None
            self._watch(request, READ_EVENTS)

    def _receive(self, request: Connection) -> bool:
        """Read what is there; true when there is nothing to wait for: a whole request, the end, or a reset."""
        try:
            data = request.socket.recv(max(self._request_bytes - len(request.received), 1), _RECEIVE)
        except BlockingIOError:
            return False
        except OSError:
            request.outcome = "hung-up"
            return True
        received = request.received = request.received + data if request.received else data
        end = self._find_end(received)
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
        self.answering += 1
        if request.outcome or not request.received:
            request.outcome = "hung-up"
            return self._server.shutdown_request(request)
        request.received_at = time.monotonic()
        try:
            self._server.process_request(request, request.address)
        except Exception:
            self._server.handle_error(request, request.address)
            self._server.shutdown_request(request)

    def _on_event(self, descriptor: int, events: int) -> None:
        request = self._watched[descriptor]
        if (state := request.state) is State.READING:
            if self._receive(request):
                self._leave(request)
                self._dispatch(request)
            else:
                self.queues.by_last_read[request] = self.queues.by_last_read.pop(request)
                self._loop.modify_reader(descriptor, READ_EVENTS)
        elif state is State.WRITING:
            self._on_writable(request, events)
        elif state is ANSWERING:
            self.flush_chunks(request)
        else:
            self._ignore_input(request, events)

    def _ignore_input(self, request: Connection, events: int) -> None:
        """Drop what a client sends that is not read any more, up to its FIN."""
        if _drain(request):
            return
        if request.state is State.HELD:
            if request.drain_left <= 0 and events == select.EPOLLIN:  # it may go on sending, unread
                return self._loop.modify_reader(request.descriptor, 0)
            request.outcome = "hung-up"
        self._close(request)

    def flush_chunks(self, request: Connection) -> None:
        """Send the parts that are there of an answer that is still coming, as fast as the client takes them."""
        while request.chunks and not (request.closing or request.abortive):
            chunk = request.chunks[0]
            try:
                sent = request.socket.send(chunk, _SEND_NOW)
            except BlockingIOError:
                return self._watch(request, CHUNK_EVENTS)
            except OSError:
                request.outcome, request.abortive = "hung-up", True
                return
            request.sent += sent
            if sent < len(chunk):
                request.chunks[0] = chunk[sent:]
            else:
                request.chunks.popleft()

    def finish(self, request: Connection) -> None:
        """Send the answer, half-close, wait for the client's FIN, close: so that no reset overtakes the answer."""
        if request.closing:
            return
        request.closing = True
        was_watched = request.state is State.HELD
        self._leave(request)
        if request.chunks:
            request.join_chunks()
        if request.out_buffer:
            self._send(request)
            if request.out_buffer:
                self._enter(request, State.WRITING, self._limits.write_seconds)
                return self._watch(request, WRITE_EVENTS)
        self._half_close(request, was_watched)

    def _send(self, request: Connection) -> None:
        """Give the kernel as much of the answer as it takes."""
        try:
            sent = request.socket.send(request.out_buffer, _SEND)
        except BlockingIOError:
            return
        except OSError:
            request.outcome, request.out_buffer, request.abortive = "hung-up", b"", True
            return
        request.sent += sent
        request.out_buffer = memoryview(request.out_buffer)[sent:] if sent < len(request.out_buffer) else b""

    def _on_writable(self, request: Connection, events: int) -> None:
        """The kernel takes more; or the client sends something, which must not keep it from reading."""
        if events & ~select.EPOLLOUT and not _drain(request):
            self._loop.modify_reader(request.descriptor, select.EPOLLOUT)
        self._send(request)
        if not request.out_buffer:
            self._leave(request)
            self._half_close(request, was_watched=True)

    def _half_close(self, request: Connection, was_watched: bool) -> None:
        """Send our FIN; a client that is not watched is left alone for a moment, in which most send theirs."""
        if request.abortive:
            return self._close(request)
        try:
            request.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client has closed already
            return self._close(request)
        if was_watched:
            self._linger(request)
        else:
            self._enter(request, HALF_CLOSED, FIN_GRACE_SECONDS)
            if self._grace_timer.when == math.inf:
                self._grace_timer.when = request.deadline
        self._uncount(request)

    def _linger(self, request: Connection) -> None:
        self._enter(request, State.LINGERING, LINGER_SECONDS)
        self._watch(request, select.EPOLLIN)

    def _on_grace_timer(self) -> None:
        if first := self._check_half_closed(time.monotonic()):
            self._grace_timer.when = first.deadline

    def _check_half_closed(self, now: float) -> Connection | None:
        """Close the clients whose FIN has come meanwhile, and watch the others; the first whose time is not over."""
        half_closed = self.queues.half_closed
        while (request := next(iter(half_closed), None)) and request.deadline <= now:
            self._leave(request)
            if _drain(request):
                self._linger(request)
            else:
                self._close(request)
        return request

    def evict(self) -> bool:
        """Close one connection to make room; none where one has closed already and was only not looked at yet."""
        occupied = len(self.queues.half_closed) + len(self.queues.lingering)
        self._check_half_closed(math.inf)
        return len(self.queues.half_closed) + len(self.queues.lingering) < occupied or self.expiry.evict()

    def _close(self, request: Connection) -> None:
        request.closing = True
        self._leave(request)
        request.state = State.CLOSED
        if request.watched:
            del self._watched[request.descriptor]
            self._loop.forget_reader(request.descriptor)
        self._uncount(request)
        self._server.close_request(request)

    def _uncount(self, request: Connection) -> None:
        if request.is_counted:
            request.is_counted = False
            self._disconnect(request.limit_key)

    def _enter(self, request: Connection, state: State, seconds: float) -> None:
        request.state = state
        request.deadline = time.monotonic() + seconds
        self.queues.of[state][request] = None
        if self._expiry_timer.when == math.inf:
            self._expiry_timer.when = request.deadline - seconds + DEADLINE_CHECK_SECONDS

    def _leave(self, request: Connection) -> None:
        """Take it out of what its state has it in."""
        state, request.state = request.state, NEW
        if state is ANSWERING:
            self.answering -= 1
            return
        self.queues.of[state].pop(request, None)
        if state is State.READING:
            del self.queues.by_last_read[request]

    def _on_expiry_timer(self) -> None:
        more = self.expiry.close_expired(time.monotonic())
        if self.queues:
            self._expiry_timer.start(0 if more else DEADLINE_CHECK_SECONDS)

    def _watch(self, request: Connection, events: int) -> None:
        if request.watched:
            self._loop.modify_reader(request.descriptor, events)
        else:
            request.watched = True
            self._watched[request.descriptor] = request
            self._loop.add_reader(request.descriptor, self._on_ready, events)


def _drain(request: Connection) -> bool:
    """Read and drop what has come in; false when no more will come, or too much came."""
    try:
        size = len(request.socket.recv(READ_BYTES, _RECEIVE))
    except BlockingIOError:
        return True
    except OSError:
        return False
    request.drain_left -= size
    return size > 0 and request.drain_left > 0
