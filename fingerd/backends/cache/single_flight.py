"""Single-flight: concurrent calls with the same key share the result of one of them."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from fingerd.errors import BackendError

Result = TypeVar("Result")


class _Flight(Generic[Result]):
    """A call in progress, and how it ended."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline  # the leader's
        self.done = threading.Event()
        self.result: Result | None = None
        self.cause = ""  # of a failure that concerns the followers too


class SingleFlight(Generic[Result]):
    """Calls a function, which never returns None, in one thread at a time for each key: its leader. Followers wait."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Result]] = {}
        self._lock = threading.Lock()

    def do(self, key: Hashable, deadline: float, fn: Callable[[], Result], has_fallback: bool = False) -> Result:
        """The result of ``fn``, or of the leader that is calling its own for ``key``.

        BackendError if there is none by the deadline (``time.monotonic()`` seconds), or if the leader raised it before
        its own deadline. After any other failure of the leader, followers try again. A caller that has a fallback does
        not: it gets BackendError then, and at the leader's deadline.
        """
        own = _Flight[Result](deadline)
        while (now := time.monotonic()) < deadline:
            with self._lock:
                flight = self._flights.setdefault(key, own)
            if flight is own:
                return self._lead(key, flight, fn)
            limit = min(deadline, flight.deadline) if has_fallback else deadline
            flight.done.wait(min(limit - now, threading.TIMEOUT_MAX))
            if flight.result is not None:
                return flight.result
            if flight.cause:
                raise BackendError(flight.cause)
            if has_fallback:
                break
        raise BackendError("cache: timed out waiting for the look-up of another query")

    def _lead(self, key: Hashable, flight: _Flight[Result], fn: Callable[[], Result]) -> Result:
        try:
            flight.result = fn()
            return flight.result
        except BackendError as error:
            if time.monotonic() < flight.deadline:  # else it may only be the leader's time that was too short
                flight.cause = str(error)
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.done.set()
