"""The front door of HTTP: requests of browsers and programs, on the server's own loop and under its limits."""

import hashlib
import re
import socket
import socketserver
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from fingerd.errors import QueryError, QueryTooLongError
from fingerd.http import webfinger
from fingerd.http.feeds import FirstSeen
from fingerd.http.forwarded import ForwardedClients
from fingerd.http.framing import HeadFraming
from fingerd.http.handler import HttpHandler
from fingerd.http.negotiation import preferred_form
from fingerd.http.options import Http
from fingerd.http.request import HttpError, Request, check_request, logged, malformed, read_request
from fingerd.http.response import reply_to
from fingerd.http.routes import Route, find_route, person_path
from fingerd.http.site import NO_QUERY, Asked, Refused, Site
from fingerd.protocol.query import SHORT_QUERY_BYTES, Query, parse_query, parse_short_query
from fingerd.protocol.reply import MALFORMED_QUERY, NO_SUCH_USER, QUERY_TOO_LONG, SERVICE_DENIED, TOO_MANY_QUERIES
from fingerd.ruip.disclosure import split_users
from fingerd.ruip.policy import NumberedRule
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import Connection
from fingerd.server.steps import Framing, Services
from fingerd.server.workers import WorkerPool

_PATH = re.compile(rb"[^ ]* (?:https?://[^/?#]*)?(/[^?# ]*)", re.IGNORECASE)  # of a request line
# By form: how many times as long a person takes as a row of Finger's list.
COSTS = {"text": 1, "page": 5, "json": 5, "feed": 30, "jrd": 5}
SILENT_DENIAL = Answer("denied", b"")


class HttpDoor:
    """How clients ask by HTTP. For the loop's thread."""

    proto = "http"
    is_monitoring = False
    framing: Framing = HeadFraming()
    handler: Callable[..., socketserver.BaseRequestHandler] | None = HttpHandler

    def __init__(self, options: Http) -> None:
        self._options = options  # replaced by each configuration that has the section
        self._host_name = socket.gethostname()
        self._first_seen = FirstSeen()
        self._clients = ForwardedClients("http.proxies")
        self.names_client: Callable[[Connection], bool] | None = self._clients.names_client

    def logged(self, received: bytes) -> bytes:
        """The method and the target, as of a complete request."""
        return logged(received)

    def use_config(self, active: ActiveConfig) -> None:
        """Answer by this configuration; where it has no HTTP any more, by the options of the one before."""
        self._options = getattr(active.config, "http", None) or self._options
        self._clients.use(self._options.proxies)
        self._site = Site(active, self._options, self._host_name, self._first_seen)

    def prepare(self, request: Connection, services: Services) -> WorkerPool[Connection] | None:
        """Parse the head and find out what is asked; the pool that has to answer it, None for this thread."""
        head, request.line = request.line, logged(request.line)
        parsed = _parsed(head)
        form = "page" if isinstance(parsed, HttpError) else _form_of(parsed)
        try:
            self._clients.settle(request, parsed, services)
            numbered = request.config.find_rule(request.rule_key)
            request.rule = rule = numbered.rule
            if rule.deny == "silently":
                request.answer, request.abortive = SILENT_DENIAL, True
                return None
            if rule.deny or not rule.http:
                raise HttpError(HTTPStatus.FORBIDDEN, SERVICE_DENIED, "denied")
            if isinstance(parsed, HttpError):
                raise parsed
            check_request(parsed)
            return self._route(request, parsed, form, numbered, services)
        except HttpError as error:
            known = None if isinstance(parsed, HttpError) else parsed
            if known is None or not known.path:
                form = _form_of_line(request.line)
            request.asked = Refused(self._site, form, known, error)
            return None

    def _route(
        self, request: Connection, parsed: Request, form: str, numbered: NumberedRule, services: Services
    ) -> WorkerPool[Connection] | None:
        """Settle what is asked; the pool that has to answer it. HttpError if it gets no page."""
        found = find_route(parsed.path)
        if found is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "No such page", "unknown")
        route, name = found
        rule = numbered.rule
        query, account = NO_QUERY, None
        rels: tuple[str, ...] = ()
        if route.kind == "person":
            query = _query_of(unquote_to_bytes(name), request.config.limits.query_bytes)
            if rule.users_per_query > 1 and not query.hosts:  # as they are remembered: however they are separated
                query = replace(query, username=" ".join(split_users(query.username)))
        elif route.kind == "home":
            if wanted := _wanted(parsed):
                raise HttpError(HTTPStatus.SEE_OTHER, "The person is on another page", "answered", ("Location", wanted))
        elif route.kind == "webfinger":
            resources = [value for field, value in parsed.fields if field == "resource"]
            account = webfinger.parse_resource(resources, self._options.domains, request.config.limits.query_bytes)
            if account is None:
                raise HttpError(HTTPStatus.NOT_FOUND, NO_SUCH_USER, "unknown")
            query, rels = Query(account.name), tuple(value for field, value in parsed.fields if field == "rel")
        request.asked = Asked(self._site, form, parsed, route, rule, query, account, rels)
        if route.kind in ("robots", "style") or (query.is_list and not rule.list):
            return None
        if request.config.limits.rate and not services.take_token(request):
            raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY_QUERIES, "limited")
        return services.place(request, query, numbered, _memory_form(route, form, account, rels), COSTS[form])

    def failure(self, request: Connection, outcome: str, context: AnswerContext) -> Answer:
        """The response where there is no answer: ``busy``, or ``error``."""
        asked: Asked | Refused = request.asked or Refused(self._site, "page")
        return reply_to(asked.request, asked.site.failure(outcome, asked.form))


def _parsed(head: bytes) -> Request | HttpError:
    """The request, or why it is none."""
    try:
        return read_request(head)
    except HttpError as error:
        return error


def _form_of(request: Request) -> str:
    """In which form a client is answered, be it with an error."""
    found = find_route(request.path)
    return (found[0].form if found else "") or preferred_form(request.accept)


def _form_of_line(line: bytes) -> str:
    """The form of an error, by the path in the first line of what cannot be parsed."""
    match = _PATH.match(line)
    found = find_route(match[1].decode("latin-1")) if match else None
    return (found[0].form if found else "") or "page"


def _query_of(name: bytes, max_bytes: int) -> Query:
    """The query for a name; HttpError if none can be for it: 400, 404 or 414."""
    try:
        if b"\r" in name or b"\n" in name:
            raise QueryError("more than one line")
        query = (parse_short_query if len(name) <= SHORT_QUERY_BYTES else parse_query)(name, max_bytes)
    except QueryTooLongError:
        raise HttpError(HTTPStatus.REQUEST_URI_TOO_LONG, QUERY_TOO_LONG, "too-long") from None
    except QueryError:
        raise malformed(MALFORMED_QUERY) from None
    if query.verbose or query.is_list:
        raise HttpError(HTTPStatus.NOT_FOUND, NO_SUCH_USER, "unknown")
    return query


def _wanted(request: Request) -> str:
    """The path of the page for ``?q=``, or empty."""
    name = next((value.strip() for field, value in request.fields if field == "q"), "")
    return person_path(name) if name else ""


def _memory_form(route: Route, form: str, account: webfinger.Account | None, rels: tuple[str, ...]) -> str:
    """The form of an answer for the memory; of bounded length, whatever a client sends."""
    if account is None:
        return f"{route.kind} {form}"
    return hashlib.sha256(repr((account.uri, rels)).encode()).hexdigest()
