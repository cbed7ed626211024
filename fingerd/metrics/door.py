"""The front door of metrics: requests of Prometheus and of health checks, on the server's own loop.

It is monitoring: no rule of the policy decides who may ask, the address does; and it stays open until the server has
drained. All that it tells is worked out on the loop's thread, in about a millisecond.
"""

import socketserver
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from fingerd.backends import type_name
from fingerd.http.framing import HeadFraming
from fingerd.http.request import HttpError, Request, check_request, logged, read_request
from fingerd.http.response import TEXT, reply_to, respond
from fingerd.metrics.collector import Collector, Sources
from fingerd.metrics.counters import MONITORING, AccessLog, Counters
from fingerd.protocol.reply import INTERNAL_ERROR
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import Connection
from fingerd.server.server import FingerServer
from fingerd.server.steps import Framing, Services
from fingerd.server.workers import WorkerPool

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"  # that of generate_latest, which every scraper reads


class MetricsHandler(socketserver.BaseRequestHandler):
    """Answers one request, which is there already."""

    request: Connection

    def handle(self) -> None:
        """Give the client its answer."""
        door: MetricsDoor = self.request.door
        self.server.complete(self.request, door.answer(self.request.line))  # type: ignore[attr-defined]


class MetricsDoor:
    """How metrics and health are asked for."""

    proto = MONITORING
    is_monitoring = True
    framing: Framing = HeadFraming()
    handler: Callable[..., socketserver.BaseRequestHandler] | None = MetricsHandler

    def __init__(self, protos: tuple[str, ...]) -> None:
        self.counters = Counters(protos)
        self._registry = CollectorRegistry()
        self._backend = ""  # its type
        self._is_draining: Callable[[], bool] = lambda: False

    def watch(
        self, server: FingerServer, dropped_lines: Callable[[], int], last_reload: Callable[[], tuple[bool, float]]
    ) -> None:
        """Report on this server from now on."""
        self._is_draining = lambda: server.is_stopping
        sources = Sources(
            load=lambda: server.load(asking=1),
            limits=lambda: server.active.limits,
            backend=lambda: self._backend,
            dropped_lines=dropped_lines,
            last_reload=last_reload,
        )
        self._registry.register(Collector(self.counters, sources))

    def closed(self) -> int:
        """The connections that were counted."""
        return self.counters.closed

    def counting(self, access_log: AccessLog) -> AccessLog:
        """Counts each connection, and then has it logged, but for those of this door."""
        return self.counters.counting(access_log)

    def logged(self, received: bytes) -> bytes:
        """Nothing of it is logged; an internal error names the method and the target."""
        return logged(received)

    def use_config(self, active: ActiveConfig) -> None:
        """Name the backend of this configuration from now on."""
        self._backend = type_name(type(active.config.backend))

    def names_client(self, request: Connection) -> bool:
        """Never; but it is counted apart from the queries of its client, which must not keep it from being served."""
        request.limit_key, request.site_key = f"monitoring {request.limit_key}", ""
        return False

    def prepare(self, request: Connection, services: Services) -> WorkerPool[Connection] | None:
        """Leave the request to this thread."""
        return None

    def answer(self, head: bytes) -> Answer:
        """The response to a request."""
        known: Request | None = None
        try:
            known = read_request(head)
            check_request(known)
            if known.path == "/metrics":
                page = generate_latest(self._registry)
                return reply_to(known, respond(HTTPStatus.OK, "answered", TEXT_FORMAT, page, etag=""))
            if known.path == "/healthz":
                return reply_to(known, self._health())
            raise HttpError(HTTPStatus.NOT_FOUND, "There are /metrics and /healthz", "unknown")
        except HttpError as error:
            return reply_to(known, _text(error.status, error.outcome, error.text, *error.headers))

    def _health(self) -> Answer:
        if self._is_draining():
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "refused", "draining")
        return _text(HTTPStatus.OK, "answered", "ok")

    def failure(self, request: Connection, outcome: str, context: AnswerContext) -> Answer:
        """The response after an internal error."""
        return reply_to(None, _text(HTTPStatus.INTERNAL_SERVER_ERROR, outcome, INTERNAL_ERROR))


def _text(status: HTTPStatus, outcome: str, text: str, *headers: tuple[str, str]) -> Answer:
    return respond(
        status, outcome, TEXT, f"{text}\n".encode(), *headers, etag=""
    )  # always 200 where it serves, never 304
