"""Signals: what the daemon inherits of them, and what they do."""

import signal
from collections.abc import Callable

from fingerd.server.loop import EventLoop

_PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}  # by itself; programs that it starts do not
_STOP = (signal.SIGTERM, signal.SIGINT)


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
    """SIGTERM and SIGINT stop, SIGHUP reloads; the wake-up descriptor ends the wait of the loop."""
    signal.set_wakeup_fd(loop.wakeup_write, warn_on_full_buffer=False)
    for number in _STOP:
        signal.signal(number, lambda *_: stop())
    signal.signal(signal.SIGHUP, lambda *_: reload())


def ignore_signals() -> None:
    """Ignore the signals that stop and reload."""
    for number in (*_STOP, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
