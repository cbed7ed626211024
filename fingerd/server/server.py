"""The server and its handler, in the steps of ``socketserver``.

``FingerServer`` keeps the standard library's hooks and the order in which
they are called: ``get_request``, ``verify_request``, ``process_request``,
``finish_request``, ``shutdown_request``, ``close_request``, ``handle_error``.
What differs is when. ``verify_request`` is asked as soon as a client is
accepted; ``process_request`` not before a whole line is there, so that no
thread is spent on a client who says nothing; and after ``shutdown_request`` the
porch sends what is left, half-closes, and calls ``close_request``. The request
is a :class:`~fingerd.server.connection.Connection`.

Backends that answer from memory are asked on the porch's own thread: handing
a query to another thread costs more than such an answer does. So are those
that have this answer in memory, and may wait for another one.
"""

import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from fingerd.log.format import Access
from fingerd.log.writer import log_access
from fingerd.net.addresses import UNIX, limit_key, parse_address
from fingerd.protocol.reply import INTERNAL_ERROR, SERVICE_BUSY, TOO_MANY_QUERIES
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.active_config import Config, Service
from fingerd.server.connection import Connection
from fingerd.server.limits import Clients, Limits
from fingerd.server.listeners import BACKLOG, close_listener, open_listeners
from fingerd.server.transport import Porch
from fingerd.server.workers import Crew

log = logging.getLogger(__name__)

REMEMBERED_ADDRESSES = 4096


class FingerHandler(socketserver.StreamRequestHandler):
    """Answers one query: the line is there already, and writing never waits."""

    request: Connection
    server: "FingerServer"

    def setup(self) -> None:
        """Give ``rfile`` the line; ``wfile`` is the connection itself."""
        self.rfile = self.request.makefile()
        self.wfile: Any = self.request

    def handle(self) -> None:
        """Read the line and answer it."""
        self.server.reply(self.request, self.answer(self.rfile.readline()))

    def answer(self, line: bytes) -> Answer:
        """What the client is told, and the log's word for it; of a bug the client learns no more than of a failure."""
        if self.request.answer:
            return self.request.answer
        service, asker = self.server.service_of(self.request), self.server.asker(self.request)
        try:
            answer = service.ruip.answer_line(line, asker)
            if answer.outcome == "error" and time.monotonic() >= asker.deadline:  # it failed for want of time
                return service.ruip.say("busy", SERVICE_BUSY, asker)
            return answer
        except (Exception, SystemExit):
            log.exception("a bug while answering %.200r", line)
            return service.ruip.say("error", INTERNAL_ERROR, asker)

    def finish(self) -> None:
        """Nothing to flush, and nothing to close."""


class FingerServer(socketserver.ThreadingTCPServer):
    """A Finger server for the given settings, bound and listening once it is made; ``serve_forever`` answers.

    StartError where an address cannot be bound. ``access_log`` is called with
    every connection that was closed.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(
        self,
        config: Config,
        RequestHandlerClass: Callable[..., socketserver.BaseRequestHandler] = FingerHandler,  # noqa: N803
        bind_and_activate: bool = True,
    ) -> None:
        socketserver.BaseServer.__init__(self, ("", 0), RequestHandlerClass)
        self.service = Service(config)
        self._retired: list[Service] = []  # some of whose queries may still run
        self.access_log: Callable[[Access], None] = log_access
        self.listeners: list[socket.socket] = []
        self.connected = 0
        self.clients = Clients()
        self.crew = Crew(config.limits.threads)
        self._working: dict[Connection, None] = {}  # with the crew; whoever takes one out answers it
        self._client_of = lru_cache(REMEMBERED_ADDRESSES)(_client_of)
        self._counted_as = lru_cache(REMEMBERED_ADDRESSES)(limit_key)
        self._thread = 0  # the one that serves
        self._releasing = self._closing = False
        self.last_call: Callable[[], None] = lambda: None  # no more clients are accepted
        self._stopped = threading.Event()
        self.porch = Porch(self)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Bind every address; ``server_address`` is the first one's."""
        self.listeners = open_listeners(self.service.config.listen)
        if self.listeners:
            self.socket = self.listeners[0]
            self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Welcome clients; the sockets listen since they are bound, which is when a busy address is found."""
        for listener in self.listeners:
            self.porch.door.watch(listener)

    def inherit(self, listeners: Sequence[socket.socket]) -> None:
        """Listen at sockets that somebody else bound; they live on when this server has closed its own descriptors."""
        self.listeners = list(listeners)
        self.socket = self.listeners[0]
        self.server_activate()

    def server_close(self) -> None:
        """Close every listening socket, and give everything back; nothing can be served any more."""
        self._closing = True
        if self._thread in (0, threading.get_ident()):
            self._close_listeners()
        else:  # which watches them
            self.porch.call(self._close_listeners)
        if not self._thread:
            self.porch.close()

    def close_backends(self) -> None:
        """The process ends: close the backends of now and of before, whoever still uses them."""
        for service in (*self._retired, self.service):
            service.close()

    def _close_listeners(self) -> None:
        self.porch.door.forget()
        for listener in self.listeners:
            close_listener(listener)
        self.listeners = []

    def fileno(self) -> int:
        """The descriptor of the listener that is being accepted from."""
        return self.socket.fileno()

    def descriptors(self) -> tuple[int, ...]:
        """All that must stay open when the process detaches."""
        return (*(listener.fileno() for listener in self.listeners), *self.porch.descriptors())

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until ``shutdown`` or ``stop``; nothing is polled, whatever the interval."""
        self._serve(None)

    def serve_client(self, client: socket.socket) -> None:
        """Serve one client, who is connected already, and return when it is gone."""
        try:
            request, _ = self._connection(client, client.getpeername())
        except OSError:  # gone before it was looked at
            client.close()
            return
        self._serve(request)

    def _serve(self, only: Connection | None) -> None:
        self._stopped.clear()
        self._thread = threading.get_ident()
        if self.service.needs_crew:
            self.crew.start()
        try:
            self.porch.run(self._last_call, only)
        finally:
            self.crew.dismiss()
            self._thread = 0
            if self._closing:
                self._close_listeners()
                self.porch.close()
            self._stopped.set()

    def shutdown(self) -> None:
        """Stop, from another thread: running answers get ``drain_seconds``; returns when ``serve_forever`` did."""
        self.porch.stop()
        self._stopped.wait()

    def stop(self) -> None:
        """Stop, from a signal handler, where ``shutdown`` would wait for itself; the listeners are closed at once."""
        self._releasing = True
        self.porch.stop()

    def reload(self, config: Config) -> None:
        """Answer by these settings from now on, from any thread: backend, policy, limits and wording, in one step.

        Who asked before is answered as before; the old backend is closed after
        that. ``listen`` stays as it is. Returns when it is done.
        """
        service, adopted, too_late = Service(config), threading.Event(), threading.Event()
        if self._thread in (0, threading.get_ident()):  # nobody else is at work
            self._adopt(service)
            return

        def adopt() -> None:
            if not too_late.is_set():
                self._adopt(service)
                adopted.set()

        self.porch.call(adopt)
        while self._thread and not adopted.wait(1):
            pass
        if not adopted.is_set():  # it has stopped meanwhile
            too_late.set()
            service.close()

    def _adopt(self, service: Service) -> None:
        old, self.service = self.service, service
        self._retired = [other for other in (*self._retired, old) if not other.closed]
        self.porch.change_limits(old.limits, service.limits)
        self.crew.resize(service.limits.threads)
        if service.needs_crew:
            self.crew.start()
        old.retire(service)

    def _last_call(self) -> None:
        self.last_call()
        if self._releasing:
            self._close_listeners()

    def get_request(self) -> tuple[Connection, tuple[str, int]]:  # type: ignore[override]
        """Accept a client of the listener that is ready, which ``socket`` is."""
        return self._connection(*self.socket.accept())

    def _connection(self, sock: socket.socket, raw: Any) -> tuple[Connection, tuple[str, int]]:
        # Not by what the name looks like: a client of a unix socket may bind its own to any path, or to bytes.
        address = (UNIX, 0) if sock.family == socket.AF_UNIX else (self._client_of(raw[0]), raw[1])
        self.connected += 1
        return Connection(sock, address), address

    def verify_request(self, request: Connection, client_address: tuple[str, int]) -> bool:  # type: ignore[override]
        """Whether the client may ask at all: false for those who are denied silently, or have too many connections."""
        if self.service.policy.rule_for(request.client).deny == "silently":
            request.outcome = "denied"
        else:
            name = self._counted_as(request.client)
            if self.clients.enter(name, self.service.limits.per_client):
                request.counted = name
                return True
            request.outcome = "limited"
        request.curt = True
        return False

    def process_request(self, request: Connection, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """Have the line answered: here and now, or by the crew where the backend may wait."""
        service = request.service = self.service
        request.asked = time.monotonic()
        request.deadline = request.asked + service.limits.answer_seconds
        if service.limits.rate and not self._may_ask(request, service):
            self.reply(request, service.ruip.say("limited", TOO_MANY_QUERIES, self.asker(request)))
            self.shutdown_request(request)
        elif service.is_instant(request.received) or (service.remembers and self._is_at_hand(request, service)):
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        else:
            service.enter()
            request.handed_over = True
            self._working[request] = None
            self.crew.submit(request.counted, partial(self.process_request_thread, request, client_address))

    def _is_at_hand(self, request: Connection, service: Service) -> bool:
        """Whether the answer can be given without waiting, though the backend may have to wait for others."""
        request.answer = service.answer_at_once(request.line(), self.asker(request))
        return request.answer is not None

    def _may_ask(self, request: Connection, service: Service) -> bool:
        """Whether the client has a query left; who is denied, or not listened to, needs none."""
        if service.reads != "query" or service.policy.rule_for(request.client).deny:
            return True
        return self.clients.may_ask(request.counted, service.limits.rate, request.asked)

    def process_request_thread(self, request: Connection, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """On a thread of the crew: answer, unless the client was told already that there is no answer."""
        try:
            if time.monotonic() >= request.deadline:  # it waited too long for a thread
                self._tell_busy(request)
            elif request in self._working:
                super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._working.pop(request, None)  # whatever a handler of somebody else's did
            self.service_of(request).leave()

    def service_of(self, request: Connection) -> Service:
        """The configuration by which this client is answered."""
        return request.service or self.service

    def asker(self, request: Connection) -> AnswerContext:
        """Who asks, until when there is time to answer, and how to be told a part of the answer."""
        tell = partial(self.tell, request) if request.handed_over else None
        return AnswerContext(request.client, request.deadline, time.time(), tell)

    def tell(self, request: Connection, part: bytes) -> bool:
        """From the crew: have a part of the answer sent now; false where the client has gone, or has its answer."""
        if request.curt or request not in self._working:
            return False
        request.add_part(part)
        self.porch.call(partial(self.porch.pass_on, request))
        return True

    def reply(self, request: Connection, answer: Answer) -> bool:
        """Give the client this answer; false, and not given, where it has one."""
        mine = self._working.pop(request, self) is None if request.handed_over else not request.outcome
        if mine:
            request.outcome = answer.outcome
            request.seconds = time.monotonic() - request.asked
            request.write(answer.reply)
        return mine

    def shutdown_request(self, request: Connection) -> None:  # type: ignore[override]
        """The answer is given: leave the rest to the porch."""
        if threading.get_ident() == self._thread:
            self.porch.see_off(request)
        else:
            self.porch.come_back(request)

    def release(self, request: Connection) -> None:
        """The client has its answer: until its FIN comes, it is one of all, but not of its own ``per_client``."""
        if request.counted:
            self.clients.leave(request.counted)
            request.counted = ""

    def close_request(self, request: Connection) -> None:  # type: ignore[override]
        """Close the connection and log it; only the porch calls this."""
        request.socket.close()
        self.connected -= 1
        self.release(request)
        outcome = request.outcome or "answered"  # by a handler that did not say
        self.access_log(Access(request.client, request.line(), outcome, request.sent, request.seconds))

    def handle_error(self, request: Connection, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """A handler raised: that is a bug, told to the log once, and to the client as any failure."""
        log.exception("a bug while answering a client")
        self.reply(request, self.service_of(request).ruip.say("error", INTERNAL_ERROR, self.asker(request)))

    @property
    def is_stopping(self) -> bool:
        """Whether a signal has said to stop."""
        return self._releasing

    @property
    def limits(self) -> Limits:
        """The limits of now."""
        return self.service.limits

    @property
    def reads(self) -> str:
        """What is wanted of a client now."""
        return self.service.reads

    def crew_waits(self) -> bool:
        """Whether answers wait for a thread of the crew."""
        return bool(self._working) and self.crew.waiting > 0

    def look_at_crew(self) -> None:
        """Give the crew more threads if it is stuck."""
        self.crew.look()

    def give_up(self, now: float) -> None:
        """Tell the clients whose answer was due before ``now`` that there is none."""
        for request in list(self._working):
            if request.deadline <= now:
                self._tell_busy(request)

    def _tell_busy(self, request: Connection) -> None:
        """There is no answer in time, unless there has been one; where there was a part of it, it ends here."""
        if request.parts is None:
            answer = self.service_of(request).ruip.say("busy", SERVICE_BUSY, self.asker(request))
        else:
            answer = self.service_of(request).ruip.cut_short(request.line(), self.asker(request))
        if self.reply(request, answer):
            self.shutdown_request(request)


def _client_of(host: str) -> str:
    """One spelling for every client: no zone, IPv4-mapped addresses as IPv4."""
    return str(parse_address(host))
