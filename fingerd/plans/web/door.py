"""The front door of ``fingerd-plan serve``: requests to change plans, under the limits of the daemon."""

import socket
import socketserver
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from fingerd.http.forwarded import ForwardedClients
from fingerd.http.handler import HttpHandler
from fingerd.http.options import Plan
from fingerd.http.request import HttpError
from fingerd.http.response import reply_to
from fingerd.plans.configuration import plan_config_of
from fingerd.plans.web.credentials import Credentials
from fingerd.plans.web.framing import BodyFraming, RequestReader
from fingerd.plans.web.locks import PersonLocks
from fingerd.plans.web.request import PlanRequest, parse_plan_request
from fingerd.plans.web.routes import find_route, is_for_programs, logged, sent_form
from fingerd.plans.web.site import Asked, PlanSite, Refused
from fingerd.protocol.reply import TOO_MANY_QUERIES
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import Connection
from fingerd.server.steps import Framing, Services
from fingerd.server.workers import WorkerPool

REQUEST_MEMORY = 128 << 20  # bytes that requests may take which are not complete; it bounds how many there are
FINAL_CHANGE_SECONDS = 10.0  # after the drain, for changes of whose disk the host waits
FORM_BYTES = 6  # that a byte of a text takes at most in a form: a line end becomes %0D%0A
FORM_REST = 4096  # for a token, and the names of the fields


def max_body(file_bytes: int) -> int:
    """The longest body that is read: a form with the longest text."""
    return FORM_BYTES * file_bytes + FORM_REST


class PlanDoor:
    """How people change their plans by HTTP."""

    proto = "http"
    is_monitoring = False
    handler: Callable[..., socketserver.BaseRequestHandler] | None = HttpHandler

    def __init__(self, plan: Plan, file_bytes: int) -> None:
        self._plan = plan  # replaced by each configuration
        self._framing = BodyFraming(max_body(file_bytes))
        self.framing: Framing = self._framing
        self._clients = ForwardedClients("plan.proxies")
        self.names_client: Callable[[Connection], bool] | None = self._clients.names_client
        self._credentials, self._locks = Credentials(), PersonLocks()
        self._host_name = socket.gethostname()

    def end(self) -> None:
        """At the end: wait for changes that have begun, so that none leaves a temporary file."""
        self._locks.close(FINAL_CHANGE_SECONDS)

    def logged(self, received: bytes) -> bytes:
        """The method and the address, as of a complete request."""
        return logged(received)

    def use_config(self, active: ActiveConfig) -> None:
        """Answer by this configuration."""
        config = plan_config_of(active.config)
        self._plan = plan = config.settings.plan or self._plan
        self._framing.max_body = max_body(config.backend.file_bytes)
        self._clients.use(plan.proxies)
        self._credentials.use(plan.tokens)
        self._site = PlanSite(config, plan, self._host_name, self._credentials, self._locks)

    def prepare(self, request: Connection, services: Services) -> WorkerPool[Connection] | None:
        """Parse the request and find out what is asked; what looks at files is left to the pool of a worker."""
        head, request.line = request.line, logged(request.line)
        reader, request.asked = request.asked, None
        parsed = self._parsed(reader)
        known = parsed.request if isinstance(parsed, PlanRequest) else None
        try:
            is_proxy = self._clients.settle(
                request, parsed.request if isinstance(parsed, PlanRequest) else parsed, services
            )
            if not isinstance(parsed, PlanRequest):
                raise parsed
            route, name = find_route(parsed.request)
            is_text = route.kind == "plan"
            user = parsed.user if is_proxy else ""
            commit = partial(services.commit, request)
            request.asked = Asked(
                self._site, "text" if is_text else "page", parsed.request, route, name, parsed, user, commit
            )
            if route.kind == "style":
                return None
            if request.config.limits.rate and not services.take_token(request):
                raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY_QUERIES, "limited")
            return None if parsed.request.method in ("GET", "HEAD") else services.waiting
        except HttpError as error:
            form = "text" if is_for_programs(head) else "page"
            request.asked = Refused(self._site, form, known, error, sent_form(request.line))
            return None

    def _parsed(self, reader: RequestReader) -> PlanRequest | HttpError:
        try:
            return parse_plan_request(reader, self._plan.remote_user or "")
        except HttpError as error:
            return error

    def failure(self, request: Connection, outcome: str, context: AnswerContext) -> Answer:
        """The response where there is no answer: ``busy``, or ``error``."""
        asked = request.asked
        if not isinstance(asked, Asked | Refused):  # it is not prepared
            asked = Refused(self._site, "page")
        return reply_to(asked.request, asked.site.failure(outcome, asked.form))
