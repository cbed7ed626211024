"""Connections to several servers that know the same: each is used by one thread at a time, and kept for the next."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from fingerd.errors import BackendError
from fingerd.net.deadline import split_deadline

KEPT_SECONDS = 60.0  # that a connection is kept without use: a firewall may have forgotten it after that
DOWN_SECONDS = 30.0  # that a server which has failed is asked after all others


class LostError(BackendError):
    """A connection, or its server, is of no use any more; another one may be."""


class Link(Protocol):
    """One connection."""

    def close(self) -> None:
        """Close it; does not wait, and does not fail."""


L = TypeVar("L", bound=Link)
T = TypeVar("T")


class _Server(Generic[L]):
    """How to connect to one server, what is kept of its connections, and until when it counts as down."""

    def __init__(self, connect: Callable[[float], L]) -> None:
        self.connect = connect
        self.kept: deque[tuple[L, float]] = deque()  # the one used last, and when, is at the right
        self.down_until = 0.0  # time.monotonic() seconds; 0 for a server that has not failed


class Pool(Generic[L]):
    """Up to ``most`` connections in use at once. None is made before it is needed.

    Servers are tried in their order; who has failed is tried last for a
    while. Every one that is tried has an equal share of the time that is left.
    """

    def __init__(self, name: str, connects: Sequence[Callable[[float], L]], most: int) -> None:
        self._name = name
        self._servers = [_Server(connect) for connect in connects]
        self._free = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def borrowed(self, begin: Callable[[L, float], T], due: float) -> Iterator[tuple[L, T]]:
        """A connection that works, and what ``begin`` has made with it until its own deadline, at most ``due``.

        ``begin`` raises LostError for a connection that does not work, which
        makes another one be tried; LostError where there is none left. The
        connection is kept where the block ends well, and closed otherwise.
        """
        if not self._free.acquire(timeout=max(due - time.monotonic(), 0)):
            raise LostError(f"{self._name}: no connection was free in time")
        try:
            server, link, made = self._begin(begin, due)
            try:
                yield link, made
            except BaseException:  # also where whoever reads page by page has enough
                link.close()
                raise
            self._keep(server, link)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what is kept, and whatever is given back later."""
        with self._lock:
            self._closed = True
        for server in self._servers:
            self._forget(server)

    def _begin(self, begin: Callable[[L, float], T], due: float) -> tuple[_Server[L], L, T]:
        causes = []
        for server, share in split_deadline(self._in_turn(), due):
            try:
                link, made = self._begin_at(server, begin, share)
            except LostError as error:
                server.down_until = time.monotonic() + DOWN_SECONDS
                causes.append(str(error))
                continue
            except BackendError:  # a server that refuses is there
                server.down_until = 0.0
                raise
            server.down_until = 0.0
            return server, link, made
        raise LostError("; ".join(causes))

    def _begin_at(self, server: _Server[L], begin: Callable[[L, float], T], due: float) -> tuple[L, T]:
        link = self._take(server)
        if link is not None:
            try:
                return link, _begun(link, begin, due)
            except LostError:
                if time.monotonic() >= due:
                    raise
                self._forget(server)  # it has been restarted, or closes who is silent: the others are lost, too
        link = server.connect(due)
        return link, _begun(link, begin, due)

    def _in_turn(self) -> list[_Server[L]]:
        """All servers, those that are down last. Only one thread at a time looks whether such a one is back."""
        now = time.monotonic()
        with self._lock:
            up = [server for server in self._servers if server.down_until <= now]
            down = [server for server in self._servers if server.down_until > now]
            for server in up:
                if server.down_until:
                    server.down_until = now + DOWN_SECONDS
        return [*up, *down]

    def _take(self, server: _Server[L]) -> L | None:
        """The kept connection that was used last, if any."""
        self._sweep()
        with self._lock:
            return server.kept.pop()[0] if server.kept else None

    def _keep(self, server: _Server[L], link: L) -> None:
        self._sweep()
        with self._lock:
            if not self._closed:
                server.kept.append((link, time.monotonic()))
                return
        link.close()

    def _sweep(self) -> None:
        """Close the connections that were kept for too long: of all servers, also of one that has only stood in."""
        old = time.monotonic() - KEPT_SECONDS
        stale = []
        with self._lock:
            for server in self._servers:
                while server.kept and server.kept[0][1] < old:
                    stale.append(server.kept.popleft()[0])
        for link in stale:
            link.close()

    def _forget(self, server: _Server[L]) -> None:
        with self._lock:
            links = [link for link, _ in server.kept]
            server.kept.clear()
        for link in links:
            link.close()


def _begun(link: L, begin: Callable[[L, float], T], due: float) -> T:
    try:
        return begin(link, due)
    except BaseException:
        link.close()
        raise
