"""The porch: one thread with all clients who have not finished asking, or not finished listening.

A parked client costs a descriptor and a small object, no thread. The thread
that serves also welcomes, reads, writes the rest of long answers, sees every
client off in one way, and turns out those whose time is over. Clients of one
kind have deadlines of one length, so every dict here is in the order of its
deadlines, and a look at the clock reads no further than those who are late.
"""

import contextlib
import math
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import chain, islice, takewhile
from typing import Protocol

from fingerd.server.acceptor import Door, Threshold
from fingerd.server.connection import Connection
from fingerd.server.limits import Limits

ASKING = select.EPOLLIN | select.EPOLLONESHOT  # silent again as soon as there is a line, until it is answered
PASSING = select.EPOLLOUT | select.EPOLLONESHOT
LATE = 500  # turned out in one go
IDLE = 3600.0  # seconds between two looks at nothing
LOOK = 0.005  # seconds between two looks at a crew that has work
SWEEP = 0.25  # seconds between two looks at the clock
LAST_SECONDS = 1.0  # at the end, for those who are between the crew and the porch
LAST_WORD_SECONDS = 0.2  # at the end, for those who have come a moment ago, and whose line is on its way
LINE_END_BYTES = 2
REST = 0.005  # seconds after our FIN in which nearly every client sends its own; to be woken by each takes more time
LINGER_SECONDS = 2.0  # for the FIN of all others


class Host(Threshold, Protocol):
    """What the porch asks of its server; the names are socketserver's where that has one."""

    @property
    def reads(self) -> str:
        """What is wanted of a client: a query, a line, anything or nothing."""
        ...

    def verify_request(self, request: Connection, client_address: tuple[str, int]) -> bool: ...

    def process_request(self, request: Connection, client_address: tuple[str, int]) -> None: ...

    def handle_error(self, request: Connection, client_address: tuple[str, int]) -> None: ...

    def shutdown_request(self, request: Connection) -> None: ...

    def release(self, request: Connection) -> None:
        """The client has all that it gets: it does not count among its own any more."""
        ...

    def close_request(self, request: Connection) -> None: ...

    def crew_waits(self) -> bool:
        """Whether answers wait for a thread of the crew."""
        ...

    def look_at_crew(self) -> None:
        """Give the crew more threads if it is stuck."""
        ...

    def give_up(self, now: float) -> None:
        """Tell the clients whose answer was due before ``now`` that there is none."""
        ...


class Porch:
    """All parked connections of one server. Other threads may call ``call``, ``come_back``, ``ring`` and ``stop``."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._asking: dict[int, Connection] = {}  # by descriptor, in the order of their deadlines, as all below
        self._silent: dict[int, Connection] = {}  # the same ones, who has been silent longest first
        self._held: dict[int, Connection] = {}  # nothing that they say is wanted
        self._writing: dict[int, Connection] = {}  # the kernel did not take all of their answer
        self._passing: dict[int, Connection] = {}  # a part of their answer waits for them; the crew has the rest
        self._resting: dict[int, Connection] = {}  # they have their answer and our FIN, and nobody watches them
        self._lingering: dict[int, Connection] = {}  # they took longer, and are watched
        self._returning: deque[Connection] = deque()  # answered by the crew
        self._errands: deque[Callable[[], None]] = deque()  # from other threads
        self._with_crew = 0  # handed over, and not yet come back
        self._stopping = self._rung = False
        self._next_look = self._next_sweep = self._next_beat = 0.0
        self._beat: Callable[[], None] | None = None
        self._beat_seconds = 0.0
        self._epoll = select.epoll()
        self._bell, self.bell_rope = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self.door = Door(host, self._epoll, self._admit, self._make_room)

    def descriptors(self) -> tuple[int, ...]:
        """Its own descriptors, which must stay open."""
        return self._epoll.fileno(), self._bell, self.bell_rope

    def ring(self) -> None:
        """Wake the porch; harmless in a signal handler."""
        with contextlib.suppress(OSError):  # it rings already, or nobody is here any more
            os.write(self.bell_rope, b"!")

    def stop(self) -> None:
        """Let ``run`` come to its end; harmless in a signal handler."""
        self._stopping = True
        self.ring()

    def call(self, errand: Callable[[], None]) -> None:
        """Have the errand run on the porch's thread, between two clients."""
        self._errands.append(errand)
        self.ring()

    def keep_beating(self, seconds: float, beat: Callable[[], None]) -> None:
        """Call ``beat`` every so many seconds for as long as the porch turns; before it runs."""
        self._beat_seconds, self._beat = seconds, beat

    def come_back(self, request: Connection) -> None:
        """From the crew: the answer is there, the rest is the porch's."""
        self._returning.append(request)
        if not self._rung:
            self._rung = True
            self.ring()

    def run(self, last_call: Callable[[], None], only: Connection | None = None) -> None:
        """Serve until ``stop``, then let running answers come to their end; ``last_call`` is called in between.

        Where there is an ``only`` client, it is served alone, and that is it.
        """
        self.door.open()
        try:
            if only:
                self._admit(only)
            while not self._stopping and (only is None or self._is_occupied()):
                self._round()
        finally:
            self.door.close()
            last_call()
        end = time.monotonic() + LAST_WORD_SECONDS
        while self._asking and time.monotonic() < end:
            self._round()
        for request in [*self._asking.values(), *self._held.values()]:
            request.outcome, request.curt = "dropped", True
            request.discard()  # unread bytes would make a reset of the close
            self._host.shutdown_request(request)
        end = time.monotonic() + self._host.limits.drain_seconds
        while self._is_occupied() and time.monotonic() < end:
            self._round()
        self._host.give_up(math.inf)
        end = time.monotonic() + LAST_SECONDS
        while self._with_crew and time.monotonic() < end:  # answered a moment ago, and on their way back
            self._round()
        for request in [*self._writing.values(), *self._resting.values(), *self._lingering.values()]:
            request.outcome = "timeout" if request.unsent else request.outcome
            self._close(request)
        self._stopping = False

    def close(self) -> None:
        """Give its descriptors back."""
        if not self._epoll.closed:
            self._epoll.close()
            rope, self.bell_rope = self.bell_rope, -1
            os.close(rope)
            os.close(self._bell)

    def _is_occupied(self) -> bool:
        return bool(self._asking or self._held or self._writing or self._resting or self._lingering or self._with_crew)

    def _round(self) -> None:
        """Wait for events, answer them, and look at the crew and the clock when it is time for that."""
        busy = self._host.crew_waits()
        wait = LOOK if busy else SWEEP if self.door.is_waiting or self._is_occupied() else IDLE
        if self._resting:
            wait = min(wait, REST)
        if self._beat:
            wait = min(wait, self._beat_seconds)
        for descriptor, event in self._epoll.poll(wait):
            if descriptor in self.door.listeners:
                self.door.welcome(descriptor)
            elif request := self._asking.get(descriptor):
                self._hear(request)
            elif request := self._lingering.get(descriptor) or self._held.get(descriptor):
                self._ignore(request, event)
            elif request := self._writing.get(descriptor):
                self._write(request, event)
            elif request := self._passing.get(descriptor):
                self.pass_on(request)
            elif descriptor == self._bell:
                self._answer_bell()
        self._look_at_clock(busy)

    def _look_at_clock(self, busy: bool) -> None:
        """Do what it is time for; ``busy``, if the crew may be stuck."""
        now = time.monotonic()
        if self._resting:
            self._wake_rested(now)
        if not busy:
            self._next_look = now + LOOK
        elif now >= self._next_look:
            self._next_look = now + LOOK
            self._host.look_at_crew()
        if self._beat and now >= self._next_beat:
            self._next_beat = now + self._beat_seconds
            self._beat()
        if now >= self._next_sweep:
            self._next_sweep = now if self._turn_out(now) else now + SWEEP
            self._host.give_up(now)
            self.door.look()
        elif self.door.is_shut:
            self.door.look_whether_somebody_left()

    def _admit(self, request: Connection) -> None:
        """Give an accepted client what the backend has for it: a hearing, a seat, or a close."""
        host, limits, takes = self._host, self._host.limits, self._host.reads
        if not host.verify_request(request, request.address):
            host.shutdown_request(request)
        elif takes == "nothing":
            request.outcome = "dropped"
            host.shutdown_request(request)
        elif takes == "anything":
            self._seat(request, self._held, select.EPOLLIN, limits.read_seconds)
        elif request.hear(limits.query_bytes + LINE_END_BYTES):
            self._process(request)
        else:
            self._silent[request.descriptor] = request
            self._seat(request, self._asking, ASKING, limits.read_seconds)

    def _sit(self, request: Connection, where: dict[int, Connection], seconds: float) -> None:
        request.deadline = time.monotonic() + seconds
        request.seat = where
        where[request.descriptor] = request

    def _seat(self, request: Connection, where: dict[int, Connection], events: int, seconds: float) -> None:
        self._sit(request, where, seconds)
        self._watch(request, events)

    def _watch(self, request: Connection, events: int) -> None:
        if request.watched:
            self._epoll.modify(request.descriptor, events)
        else:
            self._epoll.register(request.descriptor, events)
            request.watched = True

    def _unseat(self, request: Connection) -> None:
        if request.seat is not None:
            del request.seat[request.descriptor]
            if request.seat is self._asking:
                del self._silent[request.descriptor]
            request.seat = None

    def _make_room(self) -> bool:
        """Close who has been silent longest, or one who has its answer; false where all are being served.

        Nobody is closed where somebody is gone already, and only was not looked at yet.
        """
        before = self._host.connected
        self._wake_rested(math.inf)
        if self._host.connected < before:
            return True
        request = next(chain(self._silent.values(), self._held.values()), None)
        if request:
            request.outcome = "dropped"
        else:
            request = next(iter(self._lingering.values()), None)
        if request:
            self._close(request)
        return request is not None

    def _hear(self, request: Connection) -> None:
        if request.hear(self._host.limits.query_bytes + LINE_END_BYTES):
            self._unseat(request)
            self._process(request)
        else:
            self._silent[request.descriptor] = self._silent.pop(request.descriptor)
            self._epoll.modify(request.descriptor, ASKING)

    def _process(self, request: Connection) -> None:
        """There is a line, or the client is gone."""
        if request.outcome or not request.received:
            request.outcome = "hung-up"
            return self._host.shutdown_request(request)
        try:
            self._host.process_request(request, request.address)
        except Exception:
            self._host.handle_error(request, request.address)
            self._host.shutdown_request(request)
        self._with_crew += request.handed_over

    def _ignore(self, request: Connection, event: int) -> None:
        """Throw away what a client says who is not asked, until it has said all."""
        if request.discard():
            return
        if request.descriptor in self._held:
            if request.drain_left <= 0 and event == select.EPOLLIN:  # it may talk on, but to nobody
                return self._epoll.modify(request.descriptor, 0)
            request.outcome = "hung-up"
        self._close(request)

    def _write(self, request: Connection, event: int) -> None:
        """More of the answer can be sent, or the client says something, which must not block it from listening."""
        if event & ~select.EPOLLOUT and not request.discard():
            self._epoll.modify(request.descriptor, select.EPOLLOUT)
        request.send()
        if not request.unsent:
            self._unseat(request)
            self._half_close(request, may_rest=False)

    def _answer_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 4096)
        self._rung = False  # before looking, so that nobody who comes now is overlooked
        while self._returning:
            self.see_off(self._returning.popleft())
        while self._errands:
            self._errands.popleft()()

    def change_limits(self, old: Limits, new: Limits) -> None:
        """Let those who are here have the new deadlines; each kind keeps its order."""
        for where, more in (
            (self._asking, new.read_seconds - old.read_seconds),
            (self._held, new.read_seconds - old.read_seconds),
            (self._writing, new.write_seconds - old.write_seconds),
        ):
            for request in where.values():
                request.deadline += more

    def pass_on(self, request: Connection) -> None:
        """Send the parts that are there of an answer that is still coming, as fast as the client takes them."""
        request.send_parts()
        if request.parts and not (request.leaving or request.curt):
            self._passing[request.descriptor] = request
            self._watch(request, PASSING)
        else:
            self._passing.pop(request.descriptor, None)

    def see_off(self, request: Connection) -> None:
        """Send the answer, half-close, wait for the client's FIN, close: so that no reset overtakes the answer."""
        if request.leaving:
            return
        request.leaving = True
        self._with_crew -= request.handed_over
        may_rest = request.seat is not self._held  # who asked is not watched after the line
        self._unseat(request)
        if request.parts is not None:
            self._passing.pop(request.descriptor, None)
            request.gather()
        if request.unsent:
            request.send()
            if request.unsent:
                return self._seat(
                    request, self._writing, select.EPOLLIN | select.EPOLLOUT, self._host.limits.write_seconds
                )
        self._half_close(request, may_rest)

    def _half_close(self, request: Connection, may_rest: bool) -> None:
        """Say that there is no more; ``may_rest``, if nobody watches the client now."""
        if request.curt:
            return self._close(request)
        try:
            request.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client has closed already
            return self._close(request)
        self._host.release(request)
        if may_rest:
            self._sit(request, self._resting, REST)
        else:
            self._seat(request, self._lingering, select.EPOLLIN, LINGER_SECONDS)

    def _wake_rested(self, now: float) -> None:
        """Close those whose FIN has come meanwhile, and wait for the others."""
        for request in _late(self._resting, now):
            self._unseat(request)
            if request.discard():
                self._seat(request, self._lingering, select.EPOLLIN, LINGER_SECONDS)
            else:
                self._close(request)

    def _close(self, request: Connection) -> None:
        request.leaving = True
        self._unseat(request)
        self._host.close_request(request)

    def _turn_out(self, now: float) -> bool:
        """Close whose time is over; true where there are more of them than can be closed in a moment."""
        asking, held, writing, lingering = (
            _late(where, now) for where in (self._asking, self._held, self._writing, self._lingering)
        )
        for request in [*asking, *writing]:
            request.outcome = "timeout"
            self._close(request)
        for request in held:
            request.outcome = "dropped"
            self.see_off(request)
        for request in lingering:
            self._close(request)
        return LATE in map(len, (asking, held, writing, lingering))


def _late(requests: dict[int, Connection], now: float) -> list[Connection]:
    """Those whose deadline is over, but not more than can be turned out in a moment."""
    return list(islice(takewhile(lambda request: request.deadline <= now, requests.values()), LATE))
