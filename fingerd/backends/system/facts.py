"""What the sources of facts have in common: whether a file has changed, what all ask for, and what is left out."""

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


@lru_cache(256)
def leave_out(what: str, why: str) -> None:
    """Log that something is not told, and why; once for each reason, however often it is met."""
    log.warning("%s left out: %s", what, why)


class Shared(Generic[T]):
    """Something that is made when it is asked for, and then told to all who ask for some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._made: tuple[float, T] | None = None
        self._lock = threading.Lock()

    def get(self, make: Callable[[], T]) -> T:
        """It, not older than that. While one thread makes it, the others wait.

        ``make`` is not kept: a method of who has this would be a reference cycle.
        """
        with self._lock:
            if self._made is None or time.monotonic() >= self._made[0]:
                self._made = time.monotonic() + self._seconds, make()
            return self._made[1]


def signature(path: str) -> object:
    """What changes with the file; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size, status.st_dev
