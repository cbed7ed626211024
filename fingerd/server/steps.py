"""What the parts of a server ask of each other: its steps, named as in ``socketserver``, and its front doors."""

import socket
import socketserver
from collections.abc import Callable
from typing import Any, Protocol

from fingerd.protocol.query import Query
from fingerd.ruip.policy import NumberedRule
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import Connection
from fingerd.server.limits import Limits, Peer
from fingerd.server.queues import Queues
from fingerd.server.workers import WorkerPool


class ServerSteps(Protocol):
    """What the acceptor, the transport and the dispatcher ask of their server. A subclass of it may override them."""

    active: ActiveConfig
    socket: socket.socket  # the listener that is ready
    connected: int  # open connections
    on_long_work: Callable[[bool], None]  # called when threads begin to take much CPU time, and when they end

    def get_request(self) -> tuple[Connection, tuple[str, int]]: ...
    def verify_request(self, request: Connection, client_address: tuple[str, int]) -> bool: ...
    def process_request(self, request: Connection, client_address: tuple[str, int]) -> None: ...
    def process_request_thread(self, request: Any, client_address: Any) -> None: ...
    def complete(self, request: Connection, answer: Answer) -> bool: ...
    def handle_error(self, request: Connection, client_address: tuple[str, int]) -> None: ...
    def shutdown_request(self, request: Connection) -> None: ...
    def close_request(self, request: Connection) -> None: ...


class Connections(Protocol):
    """What those that watch over time and memory do to connections; the delivery does it."""

    @property
    def queues(self) -> Queues: ...

    def write_on(self, request: Connection) -> bool: ...
    def drain(self, request: Connection) -> bool: ...
    def watch(self, request: Connection, events: int) -> None: ...
    def leave(self, request: Connection) -> None: ...
    def finish(self, request: Connection) -> None: ...
    def linger(self, request: Connection) -> None: ...
    def close(self, request: Connection) -> None: ...
    def reset(self, request: Connection) -> None: ...
    def fail(self, request: Connection) -> None: ...
    def evict(self) -> bool: ...


class Services(Protocol):
    """What a front door asks of the dispatcher."""

    @property
    def waiting(self) -> WorkerPool[Connection]: ...
    def context_of(self, request: Connection) -> AnswerContext: ...
    def take_token(self, request: Connection) -> bool: ...
    def commit(self, request: Connection) -> bool: ...
    def settle_client(self, request: Connection, peer: Peer) -> bool: ...
    def place(
        self, request: Connection, query: Query, rule: NumberedRule, form: bool | str, cost: int = 1
    ) -> WorkerPool[Connection] | None: ...


class Framing(Protocol):
    """What one whole request is."""

    @property
    def find_end(self) -> Callable[[bytes], int]:
        """The place of the request's last byte in the bytes received, -1 where it is not complete."""
        ...

    @property
    def find_other_end(self) -> Callable[[bytes], int]:
        """The same for an end that is rare, and looked for where ``find_end`` finds none."""
        ...

    def max_bytes(self, limits: Limits) -> int:
        """So many bytes are a whole request, whatever they are."""
        ...


class FrontDoor(Protocol):
    """A protocol by which clients ask: how a request is framed, understood and answered. For the loop's thread."""

    @property
    def proto(self) -> str:
        """The log's word for the protocol; empty for Finger."""
        ...

    @property
    def is_monitoring(self) -> bool:
        """Whether it tells of the server and of no people: no rule and no backend decides what its clients get, and it
        stays open until the server has drained."""
        ...

    @property
    def framing(self) -> Framing:
        """What one whole request is."""
        ...

    @property
    def handler(self) -> Callable[..., socketserver.BaseRequestHandler] | None:
        """Who answers; None for the ``RequestHandlerClass`` of the server."""
        ...

    def logged(self, received: bytes) -> bytes:
        """What the log shows of a request that is not complete."""
        ...

    def use_config(self, active: ActiveConfig) -> None:
        """Answer by this configuration from now on. Complete requests keep theirs."""
        ...

    @property
    def names_client(self) -> Callable[[Connection], bool] | None:
        """Whether a new connection comes from a proxy, whose request will name the client; None where none does.

        It is called before the connection is counted, and may change what it is counted by.
        """
        ...

    def prepare(self, request: Connection, services: Services) -> WorkerPool[Connection] | None:
        """Understand a complete request, and settle its rule; the pool that has to answer it, None for this thread."""
        ...

    def failure(self, request: Connection, outcome: str, context: AnswerContext) -> Answer:
        """The answer where there is none: ``busy``, or ``error``."""
        ...
