"""Exceptions that nothing expects: they are logged, and end neither the thread nor the process.

BaseException counts, not only Exception: a backend may raise SystemExit, GeneratorExit or asyncio.CancelledError.
"""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

log = logging.getLogger(__name__)


class BackendBugError(Exception):
    """A backend raised what it must not raise; the message names its class, the cause is chained."""


@contextlib.contextmanager
def bugs_in(backend: type, *allowed: type[Exception]) -> Iterator[None]:
    """Raise BackendBugError for whatever code of this backend raises, except for what is ``allowed``."""
    try:
        yield
    except allowed:
        raise
    except BackendBugError:  # of a member
        raise
    except BaseException as error:
        if _is_interrupt(error):
            raise
        raise BackendBugError(f"internal error in the backend {backend.__module__}.{backend.__qualname__}") from error


def report_bug(error: BaseException, what: str) -> None:
    """Log the exception that is being handled as an internal error, ``what`` being where or when it was raised.

    Raises nothing, so it is safe at the top of a thread. Only Ctrl+C passes, in a program that embeds the server.
    """
    if _is_interrupt(error):
        raise error
    with contextlib.suppress(BaseException):  # no memory to log it
        log.error("internal error %s, please report", what, exc_info=error)


def _is_interrupt(error: BaseException) -> bool:
    """Whether SIGINT may have raised it: the daemon has a handler of its own, in which nothing is raised."""
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
