"""The acceptor: accepts clients while there is room and there are descriptors, and pauses while there are not.

Admission says which of them may stay.
"""

import errno
import logging
import select
import socket
import time
from collections.abc import Callable, Collection, Iterable

from fingerd.bugs import report_bug
from fingerd.server.connection import Connection
from fingerd.server.delivery import Delivery
from fingerd.server.limits import ClientCounter, Limits, Peer
from fingerd.server.loop import EventLoop
from fingerd.server.socket_options import limit_client_silence
from fingerd.server.steps import Connections, ServerSteps

log = logging.getLogger(__name__)

ACCEPT_BATCH = 64  # clients accepted in one go
ACCEPT_SECONDS = 0.005  # for one go: what a client has sent already is answered at once
RETRY_SECONDS = 0.25  # between two looks while it is paused
SILENCE_MARGIN_SECONDS = 2.0  # after write_seconds, until the kernel gives up a client that takes nothing
RECOVERED_SECONDS = 5.0  # below the limit, after which the log says so

# Of one client that is gone or cannot be reached any more, says accept(2); all other errors are ours.
_CLIENT_ERRNOS = frozenset(
    (
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    )
)


class Acceptor:
    """The listening sockets of one server. While it is paused, clients wait in the kernel's queue.

    ``admit`` is called with every connection. An unexpected error while one is
    accepted closes that one, and no other.
    """

    def __init__(
        self, server: ServerSteps, loop: EventLoop, admit: Callable[[Connection], None], connections: Connections
    ) -> None:
        self._server = server
        self._loop = loop
        self._admit = admit
        self._connections = connections
        self._listeners: dict[int, socket.socket] = {}  # by descriptor
        self._watched: list[int] = []  # descriptors of the listeners that clients are accepted from
        self.resume_below = 0  # connections; paused until there are fewer, 0 for not paused by the limit
        self._paused = False
        self._timer = loop.add_timer(self._on_timer)
        self._at_limit = self._accept_failing = False  # as the log was told
        self._last_at_limit = 0.0

    def add_listeners(self, listeners: Iterable[socket.socket]) -> None:
        """Accept clients of these listening sockets, too."""
        self._listeners |= {listener.fileno(): listener for listener in listeners}
        self.use_limits(self._server.active.limits)

    def use_limits(self, limits: Limits) -> None:
        """Let these limits hold for the clients that are accepted from now on."""
        for listener in self._listeners.values():
            limit_client_silence(listener, limits.write_seconds + SILENCE_MARGIN_SECONDS)

    def start(self) -> None:
        """Begin to accept."""
        self._watched = list(self._listeners)
        for descriptor in self._watched:
            self._loop.add_reader(descriptor, self._accept_ready)

    def has_waiting(self) -> bool:
        """Whether clients wait in the kernel's queue: it resets them when their listener is closed."""
        queue = select.poll()
        for descriptor in () if self._paused else self._watched:
            queue.register(descriptor, select.POLLIN)
        return bool(queue.poll(0))

    def stop(self, but: Collection[socket.socket] = ()) -> None:
        """Accept no more clients, except from those listeners."""
        watched, self._watched = self._watched, []
        for descriptor in watched:
            if self._listeners[descriptor] in but:
                self._watched.append(descriptor)
            else:
                self._loop.remove_reader(descriptor)
        self.resume()

    def remove_listeners(self, but: Collection[socket.socket] = ()) -> None:
        """Stop, and forget the listeners, which are about to be closed, except for those."""
        self.stop(but)
        self._listeners = {number: listener for number, listener in self._listeners.items() if listener in but}

    def _accept_ready(self, descriptor: int, _: int) -> None:
        """Accept the clients that wait at this listener, up to ACCEPT_BATCH, and in ACCEPT_SECONDS."""
        server, end = self._server, time.monotonic() + ACCEPT_SECONDS
        for number in range(ACCEPT_BATCH):
            if server.connected >= server.active.limits.connections:
                if number:  # clients waited at first, but perhaps none does any more
                    return
                self._warn_at_limit()
                if not self._connections.evict():
                    return self._pause(below=server.connected)
            server.socket = self._listeners[descriptor]
            try:
                request = server.get_request()[0]
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _CLIENT_ERRNOS:
                    continue
                self._warn_accept_failing(error)
                return self._pause()
            except BaseException as error:  # of this client; its socket is closed with the last reference to it
                report_bug(error, "while accepting a client")
                continue
            if self._accept_failing:
                self._accept_failing = False
                log.warning("accepting again")
            try:
                self._admit(request)
            except BaseException:
                self._connections.fail(request)
            if time.monotonic() >= end:
                return

    def _pause(self, below: int = 0) -> None:
        """Accept no client until fewer than ``below`` are connected, or for RETRY_SECONDS."""
        self._paused, self.resume_below = True, below
        for descriptor in self._watched:
            self._loop.modify_reader(descriptor, 0)
        self._timer.start(RETRY_SECONDS)

    def resume(self) -> None:
        """Accept again, whatever the reason for the pause was."""
        self.resume_below = 0
        if self._paused:
            self._paused = False
            for descriptor in self._watched:
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
            message = "connection limit (%d) reached: closing a client for each new one"
            log.warning(message, self._server.connected)

    def _warn_accept_failing(self, error: OSError) -> None:
        if not self._accept_failing:
            self._accept_failing = True
            log.warning("accept failed, pausing: %s", error.strerror)


class Admission:
    """Counts the connections of each client, for one server, on the loop's thread."""

    def __init__(self, clients: ClientCounter, delivery: Delivery) -> None:
        self.clients = clients
        self._connect = clients.connect
        self._delivery = delivery

    def admits(self, request: Connection) -> bool:
        """Whether a new connection may stay: not where its client has too many, or is denied silently.

        That of a proxy stays, and is counted when its request has named the client.
        """
        names_client, active = request.door.names_client, request.config
        if names_client and names_client(request):
            return True
        # Counted first: a client with too many connections costs nothing more, whatever the policy.
        request.is_counted = self._connect(request.limit_key, request.site_key, active.limits.per_client)
        if request.is_counted or self._count_again(request):
            _, rule = active.find_rule(request.rule_key)
            if rule.deny != "silently" or request.door.is_monitoring:
                return True
        request.outcome = "denied" if request.is_counted else "limited"
        request.abortive = True
        return False

    def settle(self, request: Connection, peer: Peer) -> bool:
        """The request of a proxy has named its client; false, and not counted, where that has too many connections."""
        if request.is_counted:  # a reload has made a proxy of what was a client
            self.clients.disconnect(request.limit_key, request.site_key)
        request.client, request.limit_key, request.site_key = peer
        request.rule_key = peer.client
        request.is_counted = self._connect(*peer[1:], request.config.limits.per_client)
        return request.is_counted or self._count_again(request)

    def _count_again(self, request: Connection) -> bool:
        """Count it after all if its client has closed others already."""
        self._delivery.check_half_closed()
        request.is_counted = self._connect(request.limit_key, request.site_key, request.config.limits.per_client)
        return request.is_counted
