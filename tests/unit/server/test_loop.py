"""The event loop: readers, timers, and calls from other threads."""

import math
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fingerd.server.loop import CALLBACKS_MAX, EventLoop
from tests.helpers.daemons import TIMEOUT


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()


def run_for(loop: EventLoop, seconds: float) -> None:
    loop.run_while(lambda: True, seconds)


def test_a_reader_is_called_with_its_descriptor_and_events(loop: EventLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen = []

        def read(descriptor: int, events: int) -> None:
            seen.append((descriptor, events, ours.recv(10)))
            loop.stop()

        loop.add_reader(ours.fileno(), read)
        theirs.send(b"bob")
        loop.run_forever()
        assert seen == [(ours.fileno(), select.EPOLLIN, b"bob")]


def test_a_removed_reader_is_not_called_even_for_an_event_that_is_pending(loop: EventLoop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called = []

    def read(descriptor: int, _: int) -> None:
        called.append(descriptor)
        for ours, _theirs in pairs:
            loop.remove_reader(ours.fileno())

    for ours, theirs in pairs:
        loop.add_reader(ours.fileno(), read)
        theirs.send(b"x")
    loop.run_while(lambda: not called, TIMEOUT)
    assert len(called) == 1  # both were ready
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_a_modified_reader_waits_for_the_other_events(loop: EventLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen = []

        def note(_: int, events: int) -> None:
            seen.append(events)
            loop.stop()

        loop.add_reader(ours.fileno(), note)
        theirs.send(b"x")
        loop.modify_reader(ours.fileno(), 0)
        run_for(loop, 0.02)
        assert seen == []
        loop.modify_reader(ours.fileno(), select.EPOLLOUT)
        loop.run_forever()
        assert seen == [select.EPOLLOUT]


def test_timers_fire_once_in_the_order_of_their_times(loop: EventLoop) -> None:
    fired = []

    def end() -> None:
        fired.append("late")
        loop.stop()

    late = loop.add_timer(end)
    early = loop.add_timer(lambda: fired.append("early"))
    unset = loop.add_timer(lambda: fired.append("unset"))
    begun = time.monotonic()
    late.start(0.06)
    early.start(0.02)
    loop.run_forever()
    assert fired == ["early", "late"]
    assert time.monotonic() - begun >= 0.06
    assert early.when == late.when == unset.when == math.inf


def test_a_timer_that_is_set_keeps_the_earlier_time(loop: EventLoop) -> None:
    timer = loop.add_timer(lambda: None)
    timer.start(10)
    first = timer.when
    timer.start(20)
    assert timer.when == first
    timer.start(5)
    assert timer.when < first


def test_a_timer_may_set_itself_again(loop: EventLoop) -> None:
    fired = []

    def fire() -> None:
        fired.append(time.monotonic())
        if len(fired) < 3:
            timer.start(0.01)
        else:
            loop.stop()

    timer = loop.add_timer(fire)
    timer.start(0)
    loop.run_forever()
    assert fired[2] - fired[0] >= 0.02


def test_a_timer_is_not_delayed_by_readers_that_are_always_ready(loop: EventLoop) -> None:
    pairs = [socket.socketpair() for _ in range(50)]
    calls = []

    def read(_: int, __: int) -> None:
        calls.append(0)
        time.sleep(0.001)

    for ours, theirs in pairs:
        loop.add_reader(ours.fileno(), read)
        theirs.send(b"x")
    fired_after = []

    def fire() -> None:
        fired_after.append(len(calls))
        loop.stop()

    loop.add_timer(fire).start(0.005)
    loop.run_forever()
    assert fired_after[0] < len(pairs)  # in the midst of the events of one poll
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_the_heartbeat_beats_at_once_and_then_every_so_many_seconds(loop: EventLoop) -> None:
    beats = []

    def beat() -> None:
        beats.append(time.monotonic())
        if len(beats) == 3:
            loop.stop()

    loop.set_heartbeat(0.02, beat)
    begun = time.monotonic()
    loop.run_forever()
    assert beats[2] - begun >= 0.04


def test_calls_from_other_threads_are_made_in_order_on_the_loop_s_thread(loop: EventLoop) -> None:
    seen = []

    def call() -> None:
        for number in range(100):
            loop.call_soon_threadsafe(lambda number: seen.append((number, threading.get_ident())), number)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=call)
    thread.start()
    loop.run_forever()
    thread.join(TIMEOUT)
    assert seen == [(number, threading.get_ident()) for number in range(100)]


def test_a_call_that_a_callback_adds_is_made_too(loop: EventLoop) -> None:
    loop.call_soon_threadsafe(loop.call_soon_threadsafe, loop.stop)
    loop.run_forever()


def test_an_exception_of_a_callback_is_logged_and_ends_neither_the_loop_nor_other_callbacks(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    called = []

    def fail(*_: object) -> None:
        called.append("fail")
        raise LookupError("a bug")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.call_soon_threadsafe(fail)
        loop.call_soon_threadsafe(called.append, "callback")
        loop.add_timer(fail).start(0)
        loop.add_timer(lambda: called.append("timer")).start(0.01)
        loop.add_reader(ours.fileno(), fail, select.EPOLLIN | select.EPOLLONESHOT)
        theirs.send(b"x")
        loop.run_while(lambda: len(called) < 5, TIMEOUT)
    assert sorted(called) == ["callback", "fail", "fail", "fail", "timer"]
    assert caplog.text.count("internal error in a callback, please report") == 3
    assert caplog.text.count("LookupError: a bug") == 3


def test_run_forever_ends_when_its_condition_does_not_hold(loop: EventLoop) -> None:
    left = [3]

    def count() -> None:
        left[0] -= 1
        timer.start(0)

    timer = loop.add_timer(count)
    timer.start(0)
    loop.run_forever(lambda: left[0])
    assert left == [0]


def test_run_while_ends_after_its_seconds_and_stop_does_not_end_it(loop: EventLoop) -> None:
    loop.stop()
    begun = time.monotonic()
    run_for(loop, 0.05)
    assert time.monotonic() - begun >= 0.05


def test_the_loop_runs_again_after_reset(loop: EventLoop) -> None:
    loop.stop()
    loop.run_forever()
    loop.reset()
    timer = loop.add_timer(loop.stop)
    timer.start(0)
    loop.run_forever()
    assert timer.when == math.inf  # it has fired


def test_a_signal_handler_may_stop_the_loop(loop: EventLoop) -> None:
    previous = signal.signal(signal.SIGUSR1, lambda *_: loop.stop())
    try:
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        loop.run_forever()
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_wake_may_be_called_any_number_of_times(loop: EventLoop) -> None:
    for _ in range(70_000):  # more than the pipe takes
        loop.wake()
    loop.add_timer(loop.stop).start(0)
    loop.run_forever()


def test_wake_and_stop_do_nothing_once_the_loop_is_closed(loop: EventLoop) -> None:
    loop.close()
    reader, writer = os.pipe()  # perhaps with the numbers of the wake-up pipe
    loop.wake()
    loop.stop()
    loop.call_soon_threadsafe(print)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)


def test_the_loop_s_descriptors_are_closed_with_it() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    loop = EventLoop()
    assert len(loop.descriptors()) == 3
    loop.close()
    loop.close()  # a second time does nothing
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_slow_turn_is_counted_and_warned_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    loop = EventLoop()
    left = [0.03, 0.05, 0.03, 0.0]

    def turn() -> None:
        time.sleep(left.pop(0))
        loop.call_soon_threadsafe(turn if left else loop.stop)

    loop.call_soon_threadsafe(turn)
    loop.run_forever()
    loop.close()
    assert loop.slow_turns >= 3
    assert caplog.text.count("slow event loop: turns of more than 20 ms: 1 since") == 1


def test_waiting_is_no_slow_turn() -> None:
    loop = EventLoop()
    loop.add_timer(loop.stop).start(0.1)
    loop.run_forever()
    loop.close()
    assert loop.slow_turns == 0


def test_many_callbacks_do_not_keep_timers_from_their_turn() -> None:
    loop = EventLoop()
    calls: list[str] = []
    timer = loop.add_timer(lambda: calls.append("timer"))
    for _ in range(3 * CALLBACKS_MAX):
        loop.call_soon_threadsafe(calls.append, "callback")
    loop.call_soon_threadsafe(loop.stop)
    timer.start(0)
    loop.run_forever()
    loop.close()
    assert len(calls) == 3 * CALLBACKS_MAX + 1
    assert calls.index("timer") <= CALLBACKS_MAX
