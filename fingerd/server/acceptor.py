"""The acceptor: accepts clients while there is room and there are descriptors, and pauses while there are not."""

import errno
import logging
import select
import socket
import time
from collections.abc import Callable

from fingerd.server.connection import Connection
from fingerd.server.loop import EventLoop
from fingerd.server.steps import ServerSteps

log = logging.getLogger(__name__)

ACCEPT_BATCH = 64  # clients accepted in one go
RETRY_SECONDS = 0.25  # between two looks while it is paused
RECOVERED_SECONDS = 5.0  # below the limit, after which the log says so


class Acceptor:
    """The listening sockets of one server. While it is paused, clients wait in the kernel's queue.

    ``admit`` is called with every connection; ``evict`` closes one
    to make room, or returns false.
    """

    def __init__(
        self, server: ServerSteps, loop: EventLoop, admit: Callable[[Connection], None], evict: Callable[[], bool]
    ) -> None:
        self._server = server
        self._loop = loop
        self._admit = admit
        self._evict = evict
        self._listeners: dict[int, socket.socket] = {}  # by descriptor
        self._is_running = False
        self.resume_below = 0  # connections; paused until there are fewer, 0 for not paused by the limit
        self._paused = False
        self._timer = loop.add_timer(self._on_timer)
        self._at_limit = self._accept_failing = False  # as the log was told
        self._last_at_limit = 0.0

    def add_listener(self, listener: socket.socket) -> None:
        """Accept clients of this listening socket, too."""
        self._listeners[listener.fileno()] = listener

    def start(self) -> None:
        """Begin to accept."""
        self._is_running = True
        for descriptor in self._listeners:
            self._loop.add_reader(descriptor, self._accept_ready)

    def stop(self) -> None:
        """Accept no more clients."""
        self._is_running = self._paused = False
        self.resume_below = 0
        for descriptor in self._listeners:
            self._loop.remove_reader(descriptor)

    def remove_listeners(self) -> None:
        """Stop, and forget the listeners, which are about to be closed."""
        self.stop()
        self._listeners.clear()

    def _accept_ready(self, descriptor: int, _: int) -> None:
        """Accept the clients that wait at this listener, up to ACCEPT_BATCH."""
        server = self._server
        for number in range(ACCEPT_BATCH):
            if server.connected >= server.active.limits.connections:
                if number:  # clients waited at first, but perhaps none does any more
                    return
                self._warn_at_limit()
                if not self._evict():
                    return self._pause(below=server.connected)
            server.socket = self._listeners[descriptor]
            try:
                request = server.get_request()[0]
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:  # gone before it was accepted
                    continue
                self._warn_accept_failing(error)
                return self._pause()
            if self._accept_failing:
                self._accept_failing = False
                log.warning("accepting again")
            self._admit(request)

    def _pause(self, below: int = 0) -> None:
        """Accept no client until fewer than ``below`` are connected, or for RETRY_SECONDS."""
        self._paused, self.resume_below = True, below
        for descriptor in self._listeners:
            self._loop.modify_reader(descriptor, 0)
        self._timer.start(RETRY_SECONDS)

    def resume(self) -> None:
        """Accept again, whatever the reason for the pause was."""
        self.resume_below = 0
        if self._paused and self._is_running:
            self._paused = False
            for descriptor in self._listeners:
                self._loop.modify_reader(descriptor, select.EPOLLIN)

    def _on_timer(self) -> None:
        now = time.monotonic()
        if self._at_limit and self._server.connected >= self._server.active.limits.connections:
            self._last_at_limit = now
        elif self._at_limit and now >= self._last_at_limit + RECOVERED_SECONDS:
            self._at_limit = False
            log.warning("%d connections: below the limit again", self._server.connected)
        self.resume()
        if self._at_limit:
            self._timer.start(RETRY_SECONDS)

    def _warn_at_limit(self) -> None:
        self._last_at_limit = time.monotonic()
        if not self._at_limit:
            self._at_limit = True
            self._timer.start(RETRY_SECONDS)
            message = "connection limit (%d) reached: closing the longest-idle client for each new one"
            log.warning(message, self._server.connected)

    def _warn_accept_failing(self, error: OSError) -> None:
        if not self._accept_failing:
            self._accept_failing = True
            log.warning("accept failed, pausing: %s", error.strerror)
