"""The front door of Finger: a request is one line, which is a query (RFC 1288 2.1, 2.3)."""

import socketserver
from collections.abc import Callable
from operator import methodcaller

from fingerd.errors import QueryError
from fingerd.protocol.query import SHORT_QUERY_BYTES, Query, parse_query, parse_short_query
from fingerd.protocol.reply import INTERNAL_ERROR, SERVICE_BUSY, TOO_MANY_QUERIES
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.server.connection import Connection
from fingerd.server.limits import Limits
from fingerd.server.steps import Framing, Services
from fingerd.server.workers import WorkerPool


class LineFraming:
    """A request is one line (RFC 1288 2.1). It ends at CR, too: some old telnet clients send no LF.

    A CR before an LF that has come already is left to ``parse_query``, so that CR LF costs one search.
    """

    LINE_END_BYTES = 2

    find_end = staticmethod(methodcaller("find", b"\n"))
    find_other_end = staticmethod(methodcaller("find", b"\r"))

    def max_bytes(self, limits: Limits) -> int:
        """A query and its CR LF."""
        return limits.query_bytes + self.LINE_END_BYTES


class FingerDoor:
    """How clients ask by Finger."""

    proto = ""
    is_monitoring = False
    framing: Framing = LineFraming()
    handler: Callable[..., socketserver.BaseRequestHandler] | None = None
    names_client: Callable[[Connection], bool] | None = None

    def logged(self, received: bytes) -> bytes:
        """All that has come of the line."""
        return received

    def use_config(self, active: ActiveConfig) -> None:
        """Nothing of it is kept here."""

    def prepare(self, request: Connection, services: Services) -> WorkerPool[Connection] | None:
        """Parse the line, and recall its answer; the pool that has to work it out, None for this thread."""
        active = request.config
        numbered = active.find_rule(request.rule_key)
        rule = request.rule = numbered.rule
        if rule.deny or active.reads != "query":
            return None
        limits = active.limits
        if limits.rate and not services.take_token(request):
            request.answer = active.ruip.text_answer("limited", TOO_MANY_QUERIES, services.context_of(request))
            return None
        parse = parse_short_query if len(request.line) <= SHORT_QUERY_BYTES else parse_query
        try:
            query = request.query = parse(request.line, limits.query_bytes)
        except QueryError as error:
            request.query = error
            return None
        if len(query.hosts) > rule.forward_hosts:
            return None
        return services.place(request, query, numbered, query.verbose)

    def failure(self, request: Connection, outcome: str, context: AnswerContext) -> Answer:
        """The fixed words for it; where a part of an answer was sent, the busy one ends here."""
        ruip = request.config.ruip
        if outcome == "busy" and request.chunks is not None and isinstance(request.query, Query):
            return ruip.truncated_ending(request.query, context)
        return ruip.text_answer(outcome, SERVICE_BUSY if outcome == "busy" else INTERNAL_ERROR, context)
