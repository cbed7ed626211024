"""A lock for each person, for as long as somebody holds it or waits for it."""

import contextlib
import threading
from collections.abc import Iterator

from fingerd.plans.errors import LockedError

WAIT_SECONDS = 10.0  # for whom others hold up, such as one who waits for a lock of another process


class PersonLocks:
    """Makes changes of one person's files wait for each other: to look at a version and to replace it are two steps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, list[None]]] = {}  # with an entry for each who holds or waits

    @contextlib.contextmanager
    def holding(self, login: str) -> Iterator[None]:
        """Hold the lock of a person. LockedError if others hold it for too long."""
        with self._lock:
            lock, users = self._locks.setdefault(login, (threading.Lock(), []))
            users.append(None)
        try:
            if not lock.acquire(timeout=WAIT_SECONDS):
                raise LockedError(f"others have been changing {login} for {WAIT_SECONDS:g} seconds")
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                users.pop()
                if not users:
                    del self._locks[login]
