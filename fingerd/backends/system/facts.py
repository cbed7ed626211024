"""What the sources share: warnings that are logged once, values that are cached for some seconds, file signatures."""

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
def warn_once(source: str, reason: str) -> None:
    """Log that a source cannot be read; once for each reason, until ``warn_once.cache_clear()``."""
    log.warning("%s unavailable: %s", source, reason)


class CachedValue(Generic[T]):
    """A value that is made on demand and then returned to all threads for some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cached: tuple[float, T] | None = None
        self._lock = threading.Lock()

    def get(self, make: Callable[[], T]) -> T:
        """The value, made no longer ago than that. While one thread makes it, the others wait."""
        # make is not stored: a bound method of this object's owner would be a reference cycle.
        with self._lock:
            if self._cached is None or time.monotonic() >= self._cached[0]:
                self._cached = time.monotonic() + self._seconds, make()
            return self._cached[1]


def signature(path: str) -> object:
    """A value that changes with the file; None if the file does not exist or is empty."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ino, status.st_size, status.st_dev) if status.st_size else None
