"""The event loop: descriptors to callbacks, timers, and calls from other threads. It knows no Finger."""

import contextlib
import logging
import math
import os
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from fingerd.bugs import report_bug

log = logging.getLogger(__name__)

WAIT_SECONDS_MAX = 86_400.0  # epoll waits for 24 days at most
EVENTS_MAX = 256  # that are taken from the kernel in one turn
CALLBACKS_MAX = 256  # of other threads that are called in one turn
SLOW_TURN_SECONDS = 0.02  # all clients wait while the loop turns
SLOW_WARNING_SECONDS = 60.0  # between two warnings of slow turns

Reader = Callable[[int, int], object]  # is called with the descriptor and its epoll events


class Timer:
    """Calls a callback once it is ``when`` (``time.monotonic()``); infinity while it is not set."""

    __slots__ = ("callback", "when")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.when = math.inf

    def start(self, seconds: float) -> None:
        """Set the timer, if it is not set for an earlier time."""
        self.when = min(self.when, time.monotonic() + seconds)


class EventLoop:
    """One thread's loop. Only ``call_soon_threadsafe``, ``wake`` and ``stop`` may be called by other threads."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._timers: list[Timer] = []  # few, so that all are looked at
        self._callbacks: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._wake_pending = self._stopping = False
        self.slow_turns = 0  # that took longer than SLOW_TURN_SECONDS
        self._slow_turns_told = 0
        self._slowest = 0.0  # seconds, of those that were not told
        self._next_slow_warning = -math.inf
        self._wakeup_read, self.wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.add_reader(self._wakeup_read, self._drain_wakeup)

    def descriptors(self) -> tuple[int, ...]:
        """The loop's own descriptors, which must stay open."""
        return self._epoll.fileno(), self._wakeup_read, self.wakeup_write

    def add_reader(self, descriptor: int, callback: Reader, events: int = select.EPOLLIN) -> None:
        """Call ``callback(descriptor, events)`` when one of the events occurs."""
        self._readers[descriptor] = callback
        self._epoll.register(descriptor, events)

    def modify_reader(self, descriptor: int, events: int) -> None:
        """Wait for other events of a descriptor; 0 for none."""
        self._epoll.modify(descriptor, events)

    def remove_reader(self, descriptor: int) -> None:
        """Stop waiting for a descriptor that stays open."""
        if self._readers.pop(descriptor, None):
            with contextlib.suppress(OSError):  # the loop or the descriptor is closed already
                self._epoll.unregister(descriptor)

    def forget_reader(self, descriptor: int) -> None:
        """Forget a descriptor that is about to be closed, which takes it out of the kernel's set."""
        self._readers.pop(descriptor, None)

    def add_timer(self, callback: Callable[[], object]) -> Timer:
        """A timer that is not set yet, which the loop looks at from now on."""
        self._timers.append(Timer(callback))
        return self._timers[-1]

    def set_heartbeat(self, seconds: float, beat: Callable[[], object]) -> None:
        """Call ``beat`` every so many seconds for as long as the loop turns."""

        def beat_again() -> None:
            timer.start(seconds)
            beat()

        timer = self.add_timer(beat_again)
        timer.start(0)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """Have the loop's thread call ``callback(*args)``, in the order of these calls."""
        self._callbacks.append((callback, args))
        if not self._wake_pending:
            self._wake_pending = True
            self.wake()

    def wake(self) -> None:
        """End the loop's wait; safe in a signal handler."""
        with contextlib.suppress(OSError):  # the pipe is full, or the loop is closed
            os.write(self.wakeup_write, b"!")

    def stop(self) -> None:
        """Make ``run_forever`` return; safe in a signal handler."""
        self._stopping = True
        self.wake()

    def run_forever(self, condition: Callable[[], object] | None = None) -> None:
        """Handle events until ``stop``, or until the condition no longer holds."""
        if condition is None:
            self._run(None, math.inf)
        else:
            self._run(lambda: not self._stopping and condition(), math.inf)

    def run_while(self, condition: Callable[[], object], seconds: float) -> None:
        """Handle events while the condition holds, for at most so many seconds; ``stop`` does not end this."""
        self._run(condition, time.monotonic() + seconds)

    def reset(self) -> None:
        """Forget ``stop``, so that the loop can run again."""
        self._stopping = False

    def _run(self, condition: Callable[[], object] | None, end: float) -> None:
        """Timers are looked at after each event once one is due, so that many events at once do not delay them."""
        readers, monotonic, begun = self._readers, time.monotonic, math.inf
        while (not self._stopping if condition is None else condition()) and (now := monotonic()) < end:
            if now - begun > SLOW_TURN_SECONDS:
                self._note_slow_turn(now - begun, now)
            due = end if end - now < WAIT_SECONDS_MAX else now + WAIT_SECONDS_MAX
            for timer in self._timers:
                if timer.when < due:  # noqa: PLR1730 - this costs each turn a third of what min() costs
                    due = timer.when
            ready = self._epoll.poll(max(due - now, 0), EVENTS_MAX)
            begun = monotonic()
            for descriptor, events in ready:
                try:
                    if reader := readers.get(descriptor):  # none where a callback has just removed it
                        reader(descriptor, events)
                except BaseException as error:
                    report_bug(error, "in a callback")
                if monotonic() >= due:
                    self._run_timers()
            if monotonic() >= due:
                self._run_timers()

    def _note_slow_turn(self, seconds: float, now: float) -> None:
        self.slow_turns += 1
        self._slowest = max(self._slowest, seconds)
        if now >= self._next_slow_warning:
            log.warning(
                "slow event loop: turns of more than %d ms: %d since the last warning, the longest %d ms",
                round(SLOW_TURN_SECONDS * 1000),
                self.slow_turns - self._slow_turns_told,
                round(self._slowest * 1000),
            )
            self._slow_turns_told = self.slow_turns
            self._slowest = 0.0
            self._next_slow_warning = now + SLOW_WARNING_SECONDS

    def _run_timers(self) -> None:
        now = time.monotonic()
        for timer in self._timers:
            if timer.when <= now:
                timer.when = math.inf
                try:
                    timer.callback()
                except BaseException as error:
                    report_bug(error, "in a callback")

    def _drain_wakeup(self, *event: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup_read, 4096)
        self._wake_pending = False  # before the callbacks are taken, so that none is left behind
        for _ in range(min(len(self._callbacks), CALLBACKS_MAX)):
            callback, args = self._callbacks.popleft()
            try:
                callback(*args)
            except BaseException as error:
                report_bug(error, "in a callback")
        if self._callbacks:  # events and timers have their turn first
            self.wake()

    def close(self) -> None:
        """Release the descriptors; no callback is called any more."""
        if not self._epoll.closed:
            self._epoll.close()
            self._readers.clear()
            writer, self.wakeup_write = self.wakeup_write, -1
            os.close(writer)
            os.close(self._wakeup_read)
