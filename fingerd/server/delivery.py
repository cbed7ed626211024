"""Delivery: sending answers, half-closing, lingering and closing.

Each state lasts for one length of time, so the connections of a state are in the order of their deadlines;
:mod:`fingerd.server.expiry` closes those that are late. Those whose answer the kernel has not sent are looked at by
timers: :mod:`fingerd.server.unsent`.
"""

import math
import select
import socket
import sys
import time
from itertools import chain
from operator import attrgetter

from fingerd.bugs import report_bug
from fingerd.server.connection import ANSWERING, CLOSED, FLUSHING, HALF_CLOSED, NEW, Connection, State
from fingerd.server.expiry import Expiry
from fingerd.server.limits import ClientCounter, Limits
from fingerd.server.loop import EventLoop, Reader
from fingerd.server.queues import DEADLINE_CHECK_SECONDS, Queues
from fingerd.server.socket_options import reset_when_closed, unsent_bytes
from fingerd.server.steps import ServerSteps
from fingerd.server.unsent import OUR_FIN, TRACKED_BYTES, UnsentAnswers

FIN_GRACE_SECONDS = 0.005  # in which nearly every client sends its FIN after ours; to be woken by each costs more
LINGER_SECONDS = 2.0  # for the FIN of all others
CHUNK_EVENTS = select.EPOLLOUT | select.EPOLLONESHOT
WRITE_EVENTS = select.EPOLLIN | select.EPOLLOUT
READ_BYTES = 1 << 16

# As plain numbers: joining two flags of an enumeration takes longer than the rest of a send.
_RECEIVE = int(socket.MSG_DONTWAIT)
_SEND = int(socket.MSG_DONTWAIT | socket.MSG_MORE)  # the FIN goes out with the last bytes
_SEND_NOW = int(socket.MSG_DONTWAIT)

_is_monitoring = attrgetter("door.is_monitoring")


class Delivery:
    """The connections of one server from a complete request to the close, on the loop's thread.

    ``clients`` counts those that are open.
    """

    def __init__(self, server: ServerSteps, loop: EventLoop, clients: ClientCounter) -> None:
        self._server = server
        self._loop = loop
        self._clients = clients
        self.queues = Queues()
        self.expiry = Expiry(self)
        self.answering = 0  # requests whose answer is not complete
        self.watched: dict[int, Connection] = {}  # by descriptor
        self._unsent = UnsentAnswers(loop, self)
        self._expiry_timer = loop.add_timer(self._on_expiry_timer)
        self._grace_timer = loop.add_timer(self._on_grace_timer)
        self._on_ready = self.on_event  # one bound method for all descriptors
        self._limits = server.active.limits
        self.use_limits(self._limits)

    @property
    def is_occupied(self) -> bool:
        """Whether there is any connection, those that only monitor the server not counted."""
        return self.answering > 0 or not all(map(_is_monitoring, chain.from_iterable(self.queues.of)))

    @property
    def monitoring(self) -> int:
        """How many connections that are not being answered only monitor the server."""
        return sum(map(_is_monitoring, chain.from_iterable(self.queues.of)))

    @property
    def unsent_bytes(self) -> int:
        """Bytes of large answers that clients have not taken."""
        return self._unsent.total

    def use_limits(self, limits: Limits) -> None:
        """Let these limits hold from now on, also for the connections that are here."""
        self.queues.shift_deadlines(self._limits, limits)
        self._limits = limits
        self._unsent.limit = limits.unsent_bytes

    def on_event(self, descriptor: int, events: int) -> None:
        """Something happens to a connection whose request is complete, or is not read."""
        request = self.watched[descriptor]
        try:
            if (state := request.state) is State.WRITING:
                self._on_writable(request, events)
            elif state is ANSWERING:
                self.flush_chunks(request)
            elif state is FLUSHING:
                self._unsent.check(request)
            else:
                self._ignore_input(request, events)
        except BaseException:
            self.fail(request)

    def _ignore_input(self, request: Connection, events: int) -> None:
        """Drop what a client sends that is not read any more, up to its FIN."""
        if self.drain(request):
            return
        if request.state is State.HELD:
            if request.drain_left <= 0 and events == select.EPOLLIN:  # it may go on sending, unread
                return self._loop.modify_reader(request.descriptor, 0)
            request.outcome = "hung-up"
        self.close(request)

    def flush_chunks(self, request: Connection) -> None:
        """Send the parts that are there of an answer that is still coming, as fast as the client takes them."""
        while request.chunks and not (request.closing or request.abortive):
            chunk = request.chunks[0]
            try:
                sent = request.socket.send(chunk, _SEND_NOW)
            except BlockingIOError:
                self.watch(request, CHUNK_EVENTS)
                self._unsent.update(request)
                return
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
        try:
            request.closing = True
            was_watched = request.state is State.HELD
            self.leave(request)
            if request.chunks:
                request.join_chunks()
            if request.out_buffer and not request.abortive:
                self._send(request)
                if request.out_buffer:
                    self.enter(request, State.WRITING, self._limits.write_seconds)
                    self.watch(request, WRITE_EVENTS)
                    self._unsent.update(request)
                    return
            self._half_close(request, was_watched)
        except BaseException:  # a handler of somebody else's may have left anything as the answer
            self.fail(request)

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
        if events & ~select.EPOLLOUT and not self.drain(request):
            self._loop.modify_reader(request.descriptor, select.EPOLLOUT)
        if not self.write_on(request):
            self._unsent.update(request)

    def write_on(self, request: Connection) -> bool:
        """Send what the kernel takes now; half-close if that is the rest of the answer, else false."""
        self._send(request)
        if request.out_buffer:
            return False
        deadline = request.deadline
        self.leave(request)
        self._half_close(request, True, deadline)
        return True

    def _half_close(self, request: Connection, was_watched: bool, deadline: float = 0.0) -> None:
        """Send our FIN; a client that is not watched is left alone for a moment, in which most send theirs."""
        if request.abortive:
            return self.close(request)
        try:
            request.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client has closed already
            return self.close(request)
        if deadline:  # of an answer that the kernel did not take at once
            self._unsent.wait(request, deadline)
        elif was_watched:
            self.linger(request)
        else:
            self.enter(request, HALF_CLOSED, FIN_GRACE_SECONDS)
            if self._grace_timer.when == math.inf:
                self._grace_timer.when = request.deadline

    def linger(self, request: Connection) -> None:
        """The client has the answer: wait for its FIN."""
        self.enter(request, State.LINGERING, LINGER_SECONDS)
        self.watch(request, select.EPOLLIN)

    def _on_grace_timer(self) -> None:
        if first := self.check_half_closed(time.monotonic()):
            self._grace_timer.when = first.deadline

    def check_half_closed(self, now: float = math.inf) -> Connection | None:
        """Close the clients whose FIN has come meanwhile, and wait for the others; the first whose time is not over."""
        half_closed = self.queues.half_closed
        while (request := next(iter(half_closed), None)) and request.deadline <= now:
            self.leave(request)
            try:
                if request.sent >= TRACKED_BYTES and unsent_bytes(request.descriptor) > OUR_FIN:
                    self._unsent.wait(request, request.deadline + self._limits.write_seconds)
                elif self.drain(request):
                    self.linger(request)
                else:
                    self.close(request)
            except BaseException:
                self.fail(request)
        return request

    def evict(self) -> bool:
        """Close one connection to make room; none where one has closed already and was only not looked at yet."""
        connected = self._server.connected
        self.check_half_closed()
        return self._server.connected < connected or self.expiry.evict()

    def reset(self, request: Connection) -> None:
        """Close a client that has not taken its answer in time, and have the kernel forget the rest."""
        request.outcome = "timeout"
        request.sent = max(request.sent - unsent_bytes(request.descriptor), 0)
        reset_when_closed(request.socket)
        self.close(request)

    def fail(self, request: Connection) -> None:
        """Close a client after an unexpected error, which is being handled; it is logged."""
        if error := sys.exception():
            report_bug(error, "while serving a client")
        if request.state is not CLOSED:
            request.outcome = "error"
            self.close(request)

    def close(self, request: Connection) -> None:
        """Close a connection. Raises no error."""
        request.closing = True
        self.leave(request)
        request.state = CLOSED
        if request.watched:
            del self.watched[request.descriptor]
            self._loop.forget_reader(request.descriptor)
        if request.is_counted:
            request.is_counted = False
            self._clients.disconnect(request.limit_key, request.site_key)
        if request.unsent:
            self._unsent.forget(request)
        try:
            self._server.close_request(request)
        except BaseException as error:
            report_bug(error, "while closing a client")

    def enter(self, request: Connection, state: State, seconds: float) -> None:
        """Put a connection into a state that lasts so many seconds."""
        request.state = state
        request.deadline = time.monotonic() + seconds
        self.queues.of[state][request] = None
        if self._expiry_timer.when == math.inf:
            self._expiry_timer.when = request.deadline - seconds + DEADLINE_CHECK_SECONDS

    def leave(self, request: Connection) -> None:
        """Take it out of what its state has it in."""
        state, request.state = request.state, NEW
        if state is ANSWERING:
            self.answering -= 1
            return
        self.queues.of[state].pop(request, None)
        if state is State.READING:
            self.queues.by_last_read.pop(request, None)

    def _on_expiry_timer(self) -> None:
        more = self.expiry.close_expired(time.monotonic())
        if self.queues:
            self._expiry_timer.start(0 if more else DEADLINE_CHECK_SECONDS)

    def watch(self, request: Connection, events: int, callback: Reader | None = None) -> None:
        """Have the loop call ``callback``, or else ``on_event``, at these events of a connection."""
        if request.watched:
            self._loop.modify_reader(request.descriptor, events)
        else:
            request.watched = True
            self.watched[request.descriptor] = request
            self._loop.add_reader(request.descriptor, callback or self._on_ready, events)

    @staticmethod
    def drain(request: Connection) -> bool:
        """Read and drop what has come in; false when no more will come, or too much came."""
        try:
            size = len(request.socket.recv(READ_BYTES, _RECEIVE))
        except BlockingIOError:
            return True
        except OSError:  # a reset: nobody waits for an answer
            request.abortive = True
            return False
        request.drain_left -= size
        return size > 0 and request.drain_left > 0
