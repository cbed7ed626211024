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
        self._is_closed = False
        self._freed = threading.Condition(self._lock)
        self._locks: dict[str, tuple[threading.Lock, list[None]]] = {}  # with an entry for each who holds or waits

    def close(self, seconds: float) -> None:
        """Give nobody a lock any more, and wait for those who have one or wait for one; so many seconds at most."""
        with self._lock:
            self._is_closed = True
            self._freed.wait_for(lambda: not self._locks, seconds)

    @contextlib.contextmanager
    def holding(self, login: str) -> Iterator[None]:
        """Hold the lock of a person. LockedError if others hold it for too long, or at the end."""
        with self._lock:
            if self._is_closed:
                raise LockedError("the service ends")
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
                    self._freed.notify_all()
