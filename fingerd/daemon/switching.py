"""How soon a thread that computes gives the interpreter to the event loop's thread."""

import sys
import threading
from types import TracebackType

SHORT_SECONDS = 0.001  # that a thread may keep it


class ShortTurns:
    """While something takes much CPU time, all threads have short turns; a context manager, for all threads.

    Only then: each switch costs threads that mostly wait, for a database say, as much as a short call.
    """

    def __init__(self) -> None:
        self._usual = sys.getswitchinterval()
        self._lock = threading.Lock()
        self._count = 0

    def change(self, begins: bool) -> None:
        """Something begins that takes much CPU time, or it ends."""
        with self._lock:
            self._count += 1 if begins else -1
            sys.setswitchinterval(SHORT_SECONDS if self._count else self._usual)

    def __enter__(self) -> None:
        self.change(True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.change(False)
