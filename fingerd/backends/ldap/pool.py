"""A pool of connections to several equivalent servers; a connection is used by one thread at a time."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from fingerd.errors import BackendError
from fingerd.net.deadline import split_deadline

IDLE_SECONDS = 60.0  # after which an unused connection is closed: a firewall may have dropped it
DOWN_SECONDS = 30.0  # for which a failed server is tried after all others


class ConnectionLostError(BackendError):
    """A connection, or its server, failed; another one may work."""


class Connection(Protocol):
    """What the pool needs of a connection."""

    def close(self) -> None:
        """Close it; never blocks, never fails."""


C = TypeVar("C", bound=Connection)
T = TypeVar("T")
Operation = Callable[[C, float], T]  # what is done with a connection by a deadline; may raise ConnectionLostError


class _Server(Generic[C]):
    """One server: how to connect to it, its idle connections, and until when it counts as down."""

    def __init__(self, connect: Callable[[float], C]) -> None:
        self.connect = connect
        self.idle: deque[tuple[C, float]] = deque()  # with the time of the last use; the latest is at the right
        self.down_until = 0.0  # time.monotonic() seconds; 0 for a server that has not failed


class Pool(Generic[C]):
    """At most ``max_connections`` connections in use at once, made when they are needed.

    The servers are tried in order, those that failed recently last. Each has an equal share of the remaining time.
    """

    def __init__(self, connects: Sequence[Callable[[float], C]], max_connections: int) -> None:
        self._servers = [_Server(connect) for connect in connects]
        self._free = threading.Semaphore(max_connections)
        self._lock = threading.Lock()
        self._closed = False

    def run(self, operation: Operation[C, T], deadline: float) -> T:
        """The result of an operation; raises as checkout()."""
        with self.checkout(operation, deadline) as (_, result):
            return result

    @contextmanager
    def checkout(self, operation: Operation[C, T], deadline: float) -> Iterator[tuple[C, T]]:
        """A connection, and the result of its first operation, which is tried until a connection works.

        ConnectionLostError if none does in time. The connection returns to the pool afterwards, or is closed on error.
        """
        if not self._free.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise ConnectionLostError("ldap: no connection was free in time")
        try:
            server, connection, result = self._run_on_any(operation, deadline)
            try:
                yield connection, result
            except BaseException:  # GeneratorExit too: a list that is not read to its end
                connection.close()
                raise
            self._return(server, connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are returned."""
        with self._lock:
            self._closed = True
        self._drop_idle(self._servers)

    def _run_on_any(self, operation: Operation[C, T], deadline: float) -> tuple[_Server[C], C, T]:
        causes = []
        for server, server_deadline in split_deadline(self._by_preference(), deadline):
            try:
                connection, result = self._run_on(server, operation, server_deadline)
            except ConnectionLostError as error:
                server.down_until = time.monotonic() + DOWN_SECONDS
                causes.append(str(error))
                continue
            except BackendError:  # a server that refuses is up
                server.down_until = 0.0
                raise
            server.down_until = 0.0
            return server, connection, result
        raise ConnectionLostError("; ".join(causes))

    def _run_on(self, server: _Server[C], operation: Operation[C, T], deadline: float) -> tuple[C, T]:
        for idle in (self._take_idle(server), None):
            connection = idle or server.connect(deadline)
            try:
                return connection, operation(connection, deadline)
            except BaseException as error:
                connection.close()
                if not (idle and isinstance(error, ConnectionLostError) and time.monotonic() < deadline):
                    raise
            self._drop_idle([server])  # a restart or an idle timeout of the server: the others are lost as well
        raise AssertionError  # the second attempt returns or raises

    def _by_preference(self) -> list[_Server[C]]:
        """All servers, those that are down last. After DOWN_SECONDS a single thread at a time tries one again."""
        now = time.monotonic()
        with self._lock:
            up = [server for server in self._servers if server.down_until <= now]
            down = [server for server in self._servers if server.down_until > now]
            for server in up:
                if server.down_until:
                    server.down_until = now + DOWN_SECONDS
        return [*up, *down]

    def _take_idle(self, server: _Server[C]) -> C | None:
        """The idle connection that was used last, if any. Closes those that were idle for too long, of all servers."""
        self._drop_idle(self._servers, time.monotonic() - IDLE_SECONDS)
        with self._lock:
            return server.idle.pop()[0] if server.idle else None

    def _return(self, server: _Server[C], connection: C) -> None:
        self._drop_idle(self._servers, time.monotonic() - IDLE_SECONDS)
        with self._lock:
            if not self._closed:
                server.idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _drop_idle(self, servers: Iterable[_Server[C]], before: float = math.inf) -> None:
        """Close the idle connections that were last used before this time."""
        dropped = []
        with self._lock:
            for server in servers:
                while server.idle and server.idle[0][1] < before:
                    dropped.append(server.idle.popleft()[0])
        for connection in dropped:
            connection.close()
