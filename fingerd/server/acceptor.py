"""The door: accepting clients, for as long as there is room and there are descriptors for them."""

import contextlib
import errno
import logging
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

from fingerd.server.connection import Connection
from fingerd.server.limits import Limits

log = logging.getLogger(__name__)

BATCH = 64  # newcomers welcomed in one go
CALM = 5.0  # seconds without a crowd before the log says that it is over


class Threshold(Protocol):
    """What the door asks of its server."""

    socket: socket.socket  # the listener that is ready

    @property
    def limits(self) -> Limits:
        """The limits of now."""
        ...

    @property
    def connected(self) -> int:
        """How many connections are open."""
        ...

    def get_request(self) -> tuple[Connection, tuple[str, int]]: ...


class Door:
    """The listening sockets of one server. Shut, it leaves newcomers in the kernel's queue."""

    def __init__(
        self, host: Threshold, epoll: select.epoll, admit: Callable[[Connection], None], make_room: Callable[[], bool]
    ) -> None:
        self._host = host
        self._epoll = epoll
        self._admit = admit
        self._make_room = make_room
        self.listeners: dict[int, socket.socket] = {}  # by descriptor
        self.is_shut = False
        self._crowd = 0  # it opens again as soon as fewer than these are connected
        self._full = self._poor = False  # what has been told of
        self._last_full = 0.0  # when it was

    def watch(self, listener: socket.socket) -> None:
        """Welcome clients of this listening socket too."""
        self.listeners[listener.fileno()] = listener

    def open(self) -> None:
        """Begin to welcome clients."""
        for descriptor in self.listeners:
            self._epoll.register(descriptor, select.EPOLLIN)

    def close(self) -> None:
        """Welcome nobody any more."""
        for descriptor in self.listeners:
            with contextlib.suppress(OSError):  # it is closed, or was never watched
                self._epoll.unregister(descriptor)
        self.is_shut = False

    def forget(self) -> None:
        """Welcome nobody any more, and never again at these listeners, which are about to be closed."""
        if not self._epoll.closed:
            self.close()
        self.listeners.clear()

    def welcome(self, descriptor: int) -> None:
        """Accept who is at this listener, but not more than a few in one go."""
        host = self._host
        for number in range(BATCH):
            if host.connected >= host.limits.connections:
                if number:  # somebody was at the door, but perhaps nobody is any more
                    return
                self._tell_full()
                if not self._make_room():
                    return self._shut(host.connected)
            host.socket = self.listeners[descriptor]
            try:
                request, _ = host.get_request()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:  # gone before it was accepted
                    continue
                self._tell_poor(error)
                return self._shut(0)
            if self._poor:
                self._poor = False
                log.warning("clients are welcome again")
            self._admit(request)

    @property
    def is_waiting(self) -> bool:
        """Whether there will be something to do at the next look, even if nobody is here."""
        return self.is_shut or self._full

    def look(self) -> None:
        """To be called every moment: try again, whatever the reason was for which it was shut."""
        if self._full and self._host.connected >= self._host.limits.connections:
            self._last_full = time.monotonic()
        elif self._full and time.monotonic() >= self._last_full + CALM:
            self._full = False
            log.warning("%d connections: no longer full", self._host.connected)
        if self.is_shut:
            self.is_shut = False
            for descriptor in self.listeners:
                self._epoll.modify(descriptor, select.EPOLLIN)

    def look_whether_somebody_left(self) -> None:
        """To be called after every round of events, so that nobody waits longer than for somebody's place."""
        if self._host.connected < self._crowd:
            self.look()

    def _shut(self, crowd: int) -> None:
        """Stay shut until fewer than ``crowd`` are connected, or for a moment."""
        self.is_shut, self._crowd = True, crowd
        for descriptor in self.listeners:
            self._epoll.modify(descriptor, 0)

    def _tell_full(self) -> None:
        self._last_full = time.monotonic()
        if not self._full:
            self._full = True
            what = "%d connections: full, whoever is silent longest is closed for each new one"
            log.warning(what, self._host.connected)

    def _tell_poor(self, error: OSError) -> None:
        if not self._poor:
            self._poor = True
            log.warning("no more clients for the moment: %s", error.strerror)
