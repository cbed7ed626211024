"""FingerServer: a Finger server in the steps of ``socketserver``.

It keeps the standard library's hooks and the order in which they are called: ``get_request``, ``verify_request``,
``process_request``, ``finish_request``, ``shutdown_request``, ``close_request``, ``handle_error``. A request is a
:class:`~fingerd.server.connection.Connection`. What differs is when: ``process_request`` is not called before the
request is complete, so that no thread is spent on a silent client, and ``shutdown_request`` leaves the answer to the
transport, which sends it and calls ``close_request`` in the end. A balancer's client is verified once it is named.
"""

import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from fingerd.log.format import Access
from fingerd.log.writer import log_access
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.acceptor import Acceptor, Admission
from fingerd.server.active_config import ActiveConfig, ServerConfig
from fingerd.server.connection import Connection
from fingerd.server.delivery import Delivery
from fingerd.server.dispatcher import Dispatcher, Load
from fingerd.server.finger_door import FingerDoor
from fingerd.server.handler import FingerHandler
from fingerd.server.limits import ClientCounter, identify, identify_user
from fingerd.server.listeners import BACKLOG, close_listeners, open_listeners
from fingerd.server.loop import EventLoop
from fingerd.server.proxied.transport import ProxiedTransport
from fingerd.server.socket_options import peer_uid
from fingerd.server.steps import FrontDoor
from fingerd.server.transport import Transport

log = logging.getLogger(__name__)

FINAL_READ_SECONDS = 0.2  # at the end, for clients that came a moment ago; then for their queries
FINAL_ANSWER_SECONDS = 1.0  # at the end, for answers that workers have just completed


class FingerServer(socketserver.ThreadingTCPServer):
    """A Finger server for the given settings, bound and listening once it is made; ``serve_forever`` answers.

    StartError where an address cannot be bound. ``access_log`` is called for every connection that was closed,
    ``on_draining`` when no more clients are accepted, ``on_long_work`` when threads begin (true) and end to compute.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = BACKLOG
    inherited: Mapping[str, Sequence[socket.socket]] = {}  # listening sockets that were passed, by name

    def __init__(
        self,
        config: ServerConfig,
        RequestHandlerClass: Callable[..., socketserver.BaseRequestHandler] = FingerHandler,  # noqa: N803
        bind_and_activate: bool = True,
    ) -> None:
        socketserver.BaseServer.__init__(self, ("", 0), RequestHandlerClass)
        self.active = ActiveConfig(config)
        self.access_log: Callable[[Access], None] = log_access
        self.on_draining: Callable[[], None] = lambda: None
        self.on_long_work: Callable[[bool], None] = lambda begins: None
        self.addresses = config.listen
        self.listeners: list[socket.socket] = []
        self.connected = self.closed = 0  # connections: those that are open, those that were
        self.loop = EventLoop()
        clients = ClientCounter()
        self._delivery = delivery = Delivery(self, self.loop, clients)
        self._admission = Admission(clients, delivery)
        self._transport = Transport(self, self.loop, FingerDoor(), delivery)  # of clients that ask by Finger
        self._transport_of: dict[socket.socket, Transport] = {}  # listeners of other front doors
        self._monitored: list[socket.socket] = []  # those of them that stay open until the drain ends
        self._acceptor = Acceptor(self, self.loop, self._admit, delivery)
        self._dispatcher = Dispatcher(self, self.loop, delivery, self._admission, config.limits.threads)
        self.context_of: Callable[[Connection], AnswerContext] = self._dispatcher.context_of
        self.load: Callable[..., Load] = self._dispatcher.load
        self._retired: list[ActiveConfig] = []  # some of whose queries may still run
        self._thread = 0  # the one that serves
        self.is_stopping = self._closing = False  # by a signal; by ``server_close``
        self._stopped = threading.Event()
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Bind every address; ``server_address`` is the first one's."""
        for proxies, addresses in groupby(self.addresses, attrgetter("proxies")):
            listeners = open_listeners(addresses, self.inherited)
            self.listeners += listeners
            if proxies:
                transport = ProxiedTransport(self, self.loop, proxies, self._delivery)
                self._transport_of |= dict.fromkeys(listeners, transport)
        if self.listeners:
            self.socket = self.listeners[0]
            self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Accept clients; the sockets listen since they were bound, which is when a busy address is found."""
        self._acceptor.add_listeners(self.listeners)

    def add_front_door(self, door: FrontDoor, sockets: list[socket.socket], kind: type[Transport] = Transport) -> None:
        """Let clients of these listening sockets ask by another protocol. Call it before ``serve_forever``."""
        self.listeners += sockets
        self._monitored += sockets if door.is_monitoring else ()
        self._transport_of |= dict.fromkeys(sockets, kind(self, self.loop, door, self._delivery))
        self._acceptor.add_listeners(sockets)

    def server_close(self) -> None:
        """Close every listening socket and the loop; nothing can be served any more."""
        self._closing = True
        if self._thread in (0, threading.get_ident()):
            self._close_listeners()
        else:  # the loop's thread watches them
            self.loop.call_soon_threadsafe(self._close_listeners)
        if not self._thread:
            self.loop.close()

    def _close_listeners(self, but: Sequence[socket.socket] = ()) -> None:
        self._acceptor.remove_listeners(but)
        close_listeners(self.listeners, but)
        self.listeners = [*but]

    def fileno(self) -> int:
        """The descriptor of the listener that is being accepted from."""
        return self.socket.fileno()

    def descriptors(self) -> tuple[int, ...]:
        """All descriptors that must stay open when the process detaches."""
        return (*(listener.fileno() for listener in self.listeners), *self.loop.descriptors())

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until ``shutdown`` or ``stop``. Nothing is polled, whatever the interval."""
        self._serve(None)

    def serve_client(self, client: socket.socket) -> None:
        """Serve one client that is connected already, and return when it is closed."""
        try:
            request, _ = self._make_request(self._transport, client, client.getpeername())
        except OSError:  # it is gone already
            client.close()
            return
        self._serve(request)

    def _serve(self, single: Connection | None) -> None:
        """Serve, and at the end let those who are being answered have their answers."""
        delivery, loop = self._delivery, self.loop
        self._stopped.clear()
        self._thread = threading.get_ident()
        self._dispatcher.start(self.active)
        try:
            self._acceptor.start()
            try:
                if single is None:
                    loop.run_forever()
                else:
                    self._admit(single)
                    loop.run_forever(lambda: delivery.is_occupied)
            finally:
                loop.run_while(lambda: self.is_stopping and self._acceptor.has_waiting(), FINAL_READ_SECONDS)
                self._acceptor.stop(but=self._monitored)
                self.on_draining()
                if self.is_stopping:
                    self._close_listeners(but=self._monitored)
            loop.run_while(lambda: delivery.queues.reading, FINAL_READ_SECONDS)
            delivery.expiry.drop_unasked()
            loop.run_while(lambda: delivery.is_occupied, self.active.limits.drain_seconds)
            self._dispatcher.expire()
            loop.run_while(lambda: delivery.answering, FINAL_ANSWER_SECONDS)
            self._acceptor.stop()
            delivery.expiry.drop_unasked()  # of those that watched the drain
            delivery.expiry.close_all()
            loop.reset()
        finally:
            self._dispatcher.stop()
            self._thread = 0
            if self._closing:
                self._close_listeners()
                loop.close()
            self._stopped.set()

    def shutdown(self) -> None:
        """Stop, from another thread: running answers get ``drain_seconds``; returns when ``serve_forever`` did."""
        self.loop.stop()
        self._stopped.wait()

    def stop(self) -> None:
        """Stop, from a signal handler, where ``shutdown`` would wait for itself; the listeners are closed at once."""
        self.is_stopping = True
        self.loop.stop()

    def reload(self, config: ServerConfig) -> None:
        """Answer by these settings from now on: backend, policy, limits, reply, in one step. From any thread.

        Requests that are complete are answered by the old settings; the old backend is closed after that. ``listen``
        stays as it is. Returns when it is done.
        """
        active, adopted, is_late = ActiveConfig(config), threading.Event(), threading.Event()
        _replaced = self.active  # freed by this thread: with many people that takes long, and clients would wait
        if self._thread in (0, threading.get_ident()):  # no other thread is at work
            return self._swap_config(active)

        def adopt() -> None:
            if not is_late.is_set():
                self._swap_config(active)
                adopted.set()

        self.loop.call_soon_threadsafe(adopt)
        while self._thread and not adopted.wait(1):
            pass
        if not adopted.is_set():  # it has stopped meanwhile
            is_late.set()
            active.close()

    def _swap_config(self, active: ActiveConfig) -> None:
        old, self.active = self.active, active
        self._delivery.use_limits(active.limits)
        for transport in {self._transport, *self._transport_of.values()}:
            transport.use_config(active)
        self._acceptor.use_limits(active.limits)
        self._dispatcher.start(active)
        old.retire(active)
        self._retired = [other for other in (*self._retired, old) if not other.closed]

    def close_backends(self) -> None:
        """The process ends: close the backends of all configurations, even where a query still uses them."""
        for active in (*self._retired, self.active):
            active.close()

    def get_request(self) -> tuple[Connection, tuple[str, int]]:  # type: ignore[override]
        """Accept a client of the listener that is ready, which ``socket`` is."""
        return self._make_request(self._transport_of.get(self.socket, self._transport), *self.socket.accept())

    def _make_request(self, transport: Transport, sock: socket.socket, raw: Any) -> tuple[Connection, tuple[str, int]]:
        # Internet addresses are tuples. What a unix socket's client is bound to is text or bytes, of its own choice.
        client, key, site_key = identify(raw[0]) if isinstance(raw, tuple) else identify_user(peer_uid(sock))
        address = client, raw[1] if isinstance(raw, tuple) else 0
        self.connected += 1
        who = client, client, key, site_key
        return Connection(sock, sock.fileno(), address, *who, self.active, transport.door, transport), address

    def _admit(self, request: Connection) -> None:
        if request.transport.verifies_late or self.verify_request(request, request.address):
            request.transport.on_accepted(request)
        else:
            self.shutdown_request(request)

    def verify_request(self, request: Connection, client_address: tuple[str, int]) -> bool:  # type: ignore[override]
        """Whether the client may ask: false where it has too many connections, or is denied silently."""
        return self._admission.admits(request)

    def process_request(self, request: Connection, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """Have a complete request answered, here or by a worker."""
        self._dispatcher.dispatch(request)

    def finish_request(self, request: Connection, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """Have the handler answer: that of the front door, or else ``RequestHandlerClass``."""
        (request.door.handler or self.RequestHandlerClass)(request, client_address, self)  # type: ignore[arg-type]

    def complete(self, request: Connection, answer: Answer) -> bool:
        """Give the client its answer; false, and not given, where it has one."""
        if request.outcome or (request.pool and not self._dispatcher.claim(request)):
            return False
        request.outcome, reply, request.status, _ = answer
        request.elapsed = time.monotonic() - request.received_at
        if request.out_buffer:
            request.write(reply)
        else:
            request.out_buffer = reply
        return True

    def shutdown_request(self, request: Connection) -> None:  # type: ignore[override]
        """The answer is complete: leave the rest to the transport."""
        if threading.get_ident() == self._thread:
            self._delivery.finish(request)
        elif not request.is_working:
            self.loop.call_soon_threadsafe(self._delivery.finish, request)

    def close_request(self, request: Connection) -> None:  # type: ignore[override]
        """Close the connection and log it; called once, by the transport."""
        request.socket.close()
        self.connected -= 1
        self.closed += 1
        if self.connected < self._acceptor.resume_below:
            self._acceptor.resume()
        line, outcome = request.line or request.door.logged(request.received), request.outcome or "answered"
        sent, seconds, proto, status = request.sent, request.elapsed, request.door.proto, request.status
        self.access_log(Access(request.client, line, outcome, sent, seconds, proto, status, request.via))

    def handle_error(self, request: Connection, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """A handler raised an error: logged once; the client learns nothing of it."""
        log.exception("internal error while answering a client, please report")
        self.complete(request, request.door.failure(request, "error", self.context_of(request)))
