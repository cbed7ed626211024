"""Signals: what the daemon inherits of them, and what they do.

Process 1 of a container becomes the parent of all orphans, such as a child that a program of a backend leaves behind.
When they end, they stay as zombies until process 1 waits for them.
"""

import contextlib
import os
import signal
from collections.abc import Callable

from fingerd.server.loop import EventLoop

_PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}  # by itself; programs that it starts do not
_STOP = (signal.SIGTERM, signal.SIGINT)
_WNOTHREAD = 0x20000000  # of waitid(2): only for children of the calling thread


def reset_signals() -> None:
    """Give every ignored signal its default action, and block none (daemon(7)).

    With SIGCHLD ignored the kernel forgets the exit status of programs; with SIGTERM blocked nothing but SIGKILL ends
    the daemon; and programs inherit both.
    """
    for number in signal.valid_signals() - _PYTHON_IGNORES:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def handle_signals(loop: EventLoop, stop: Callable[[], object], reload: Callable[[], object]) -> None:
    """SIGTERM and SIGINT stop, SIGHUP reloads, SIGCHLD reaps; the wake-up descriptor ends the wait of the loop.

    Called by the loop's thread, which must be the main one.
    """
    signal.set_wakeup_fd(loop.wakeup_write, warn_on_full_buffer=False)
    for number in _STOP:
        signal.signal(number, lambda *_: stop())
    signal.signal(signal.SIGHUP, lambda *_: reload())
    if os.getpid() == 1:
        # Not in the handler: it may interrupt a backend of another package that waits for a program of its own.
        signal.signal(signal.SIGCHLD, lambda *_: loop.call_soon_threadsafe(reap_orphans))
        loop.call_soon_threadsafe(reap_orphans)  # those that have ended meanwhile


def ignore_signals() -> None:
    """Ignore the signals that stop and reload."""
    for number in (*_STOP, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def reap_orphans() -> None:
    """Wait for children of this thread, the main one, that have ended; it has started none, so they are orphans.

    The kernel makes orphans children of the main thread. A program that a worker has started, and waits for, is the
    child of that worker: it is neither seen nor reaped here.
    """
    with contextlib.suppress(ChildProcessError):
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | _WNOTHREAD):
            pass
