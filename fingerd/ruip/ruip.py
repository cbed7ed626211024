"""The RUIP, the remote user information program of RFC 1288: a query and the client who asks it become an answer.

It has no socket, no thread and no clock of its own. Policy comes first, then
disclosure, then the report. A failure of the backend becomes fixed words that
say nothing of its cause. A query for another host goes to the next RUIP.
"""

import logging
import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from fingerd.backends import Backend, Lookup
from fingerd.errors import BackendError, ForwardError, QueryError, QueryTooLongError
from fingerd.figures import FIGURES
from fingerd.net.own_names import is_own_name
from fingerd.protocol.query import Query, parse_query
from fingerd.protocol.reply import (
    AMBIGUOUS_NAME,
    CUT_LINE,
    FORWARDING_DENIED,
    INTERNAL_ERROR,
    LIST_DENIED,
    MALFORMED_QUERY,
    NO_SUCH_USER,
    QUERY_TOO_LONG,
    SERVICE_DENIED,
    cut_reply,
    encode_reply,
)
from fingerd.ruip.disclosure import Disclosed, Disclosure
from fingerd.ruip.forward import Forwarder
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.report import LIST_ATOMS, format_list, format_people, join_blocks, terminal_width
from fingerd.text import to_nfc

log = logging.getLogger(__name__)

PLACEHOLDERS = ("user", "client", "time")  # in braces, in header and footer
FAILURE_TEXTS = {"unknown": NO_SUCH_USER, "refused": AMBIGUOUS_NAME, "malformed": MALFORMED_QUERY}  # by outcome
_PLACEHOLDER = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)})\}}")


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """How every answer is sent: its charset, the text before and after it, and whether it may be colored."""

    charset: Literal["utf-8", "ascii", "latin-1"] = "utf-8"
    header: str | None = None
    footer: str | None = None
    colors: bool = False  # of plans, projects and texts: SGR sequences pass

    @property
    def is_repeatable(self) -> bool:
        """Whether an answer may be given again, to another client and at another time."""
        texts = (self.header or "", self.footer or "")
        return not any(word in text for text in texts for word in ("{client}", "{time}"))


class Answer(NamedTuple):
    """The log's word for the outcome of a query, and the bytes for the client.

    By HTTP, also the status, and what is kept of a response to give it again.
    """

    outcome: str
    reply: bytes
    status: int = 0
    details: object = None


class AnswerContext(NamedTuple):
    """Who asks, until when there is time to answer (``time.monotonic()``), and what time it is (``time.time()``).

    ``send_chunk``, if given, sends the client a part of the answer before the
    rest is there; it returns false where the client no longer reads. By
    ``limit_key`` the client is counted; all clients without one are one client.
    """

    client: str
    deadline: float
    now: float
    send_chunk: Callable[[bytes], bool] | None = None
    limit_key: str = ""


class Ruip:
    """Answers queries from one backend under one policy. Nothing in it changes; all threads share one."""

    def __init__(
        self,
        backend: Backend,
        policy: Policy,
        options: ReplyOptions,
        query_bytes: int,
        reply_bytes: int,
        *,
        forwarder: Forwarder | None = None,
        hosts: Container[str] = (),
    ) -> None:
        self._forwarder = forwarder or Forwarder()
        self._hosts = hosts  # the names of this host
        self._reads = backend.reads
        self.disclosure = Disclosure(backend)
        self._policy = policy
        self._options = options
        # Latin-1 and ASCII have one column for each character, and for each ``?`` in the place of another.
        self._width_of = terminal_width if options.charset == "utf-8" else len
        self._query_bytes = query_bytes
        self._reply_bytes = reply_bytes
        texts = (options.header or "", options.footer or "")
        self._fixed_parts = None if any(map(_PLACEHOLDER.search, texts)) else self._parts({})

    def answer_line(self, line: bytes, context: AnswerContext, rule: Rule | None = None) -> Answer:
        """The answer to a line as it was received. Neither a malformed line nor a failing backend raises an error.

        Without a ``rule``, that of the client holds.
        """
        if self._reads != "query":
            return Answer("dropped", b"")
        rule = rule or self._policy.rule_for(context.client)
        if rule.deny:
            return self.deny(rule, context)
        try:
            query = parse_query(line, self._query_bytes)
        except QueryError as error:
            return self.reject(error, context)
        return self.answer_query(query, rule, context)

    def deny(self, rule: Rule, context: AnswerContext) -> Answer:
        """The answer to a client whose rule denies everything."""
        silent = rule.deny == "silently"
        return Answer("denied", b"") if silent else self.text_answer("denied", SERVICE_DENIED, context)

    def reject(self, error: QueryError, context: AnswerContext) -> Answer:
        """The answer to a line that is no query."""
        if isinstance(error, QueryTooLongError):
            return self.text_answer("too-long", QUERY_TOO_LONG, context)
        return self.text_answer("malformed", MALFORMED_QUERY, context)

    def answer_query(self, query: Query, rule: Rule, context: AnswerContext, *, forwards: bool = True) -> Answer:
        """The answer to a query under this rule, which does not deny the client everything.

        Unless it ``forwards``, users of other hosts are unknown.
        """
        if not query.hosts:
            return self._answer_username(query, rule, context)
        if forwards and len(query.hosts) > rule.forward_hosts:
            FIGURES.note("forward", "refused")
            return self.text_answer("refused", FORWARDING_DENIED, context, query.username)
        rest = self.without_own_hosts(query)
        for login in self.logins(query, rest):
            answer = self._answer_username(login, rule, context, is_login=True)
            if answer.outcome != "unknown":
                return answer
        if not rest.hosts:
            return self._answer_username(rest, rule, context)
        if forwards:
            return self._forward(rest, rule, context)
        return self.text_answer("unknown", NO_SUCH_USER, context, query.username)

    def logins(self, query: Query, rest: Query) -> Iterator[Query]:
        """As which logins with an ``@`` a query may be meant; ``rest`` is left of it without the names of this host."""
        for count in range(len(query.hosts), len(rest.hosts), -1) if query.username else ():
            yield Query(to_nfc(query.with_hosts(count).text), (), query.verbose)

    def without_own_hosts(self, query: Query) -> Query:
        """What a query asks for once the names of this host are taken away from its end; the same if it ends in none.

        RFC 1288 2.4 has this host ask the right-most one. Where that is this one, it asks no one: the rest is answered
        under the rule of the client, not under that of this host.
        """
        count = len(query.hosts)
        while count and is_own_name(query.hosts[count - 1], self._hosts):
            count -= 1
        return query if count == len(query.hosts) else query.with_hosts(count)

    def lookup_of(self, query: Query, context: AnswerContext) -> Lookup:
        """What the backend is asked for a query without hosts."""
        return Lookup(query.username, query.verbose, context.client, context.deadline, hosts=self._hosts)

    def _answer_username(self, query: Query, rule: Rule, context: AnswerContext, is_login: bool = False) -> Answer:
        """The answer to a query without hosts; the username is only a login if ``is_login``."""
        if query.is_list and not rule.list:  # RFC 1288 3.2.2
            return self.text_answer("refused", LIST_DENIED, context)
        lookup = self.lookup_of(query, context)
        answer = self._list if query.is_list else self._login if is_login else self._users
        try:
            outcome, text = answer(lookup, rule, context)
        except BackendError as error:
            log.warning("backend failed: %s", error)
            outcome, text = "error", INTERNAL_ERROR
        return self.text_answer(outcome, text, context, query.username)

    def _forward(self, query: Query, rule: Rule, context: AnswerContext) -> Answer:
        """{Q2}: what the next RUIP says, as it comes (RFC 1288 2.4), or the refusal (3.2.1)."""
        outcome = "error"
        try:
            answer = self._ask_next_host(query, rule, context)
            outcome = answer.outcome
            return answer
        finally:
            FIGURES.note("forward", outcome)

    def _ask_next_host(self, query: Query, rule: Rule, context: AnswerContext) -> Answer:
        if not rule.forward:
            return self.text_answer("refused", FORWARDING_DENIED, context, query.username)
        header, footer = self._header_footer(context, query.username)
        pending = bytearray(header)
        try:
            with self._forwarder.ask(query, rule.forward, context.limit_key, context.deadline) as hop:
                for piece in hop.answer(self._options.charset, self._reply_bytes):
                    pending += piece
                    if pending and context.send_chunk:
                        if not context.send_chunk(bytes(pending)):
                            break
                        pending.clear()
        except ForwardError as error:
            return self.text_answer(error.outcome, error.reply_text, context, query.username)
        return Answer("answered", bytes(pending) + footer)

    def truncated_ending(self, query: Query, context: AnswerContext) -> Answer:
        """The end of an answer to this query of which a part was sent, and whose rest does not come."""
        _, footer = self._header_footer(context, query.username)
        return Answer("answered", CUT_LINE + footer)

    def _users(self, lookup: Lookup, rule: Rule, context: AnswerContext) -> tuple[str, str]:
        """{U} (RFC 1288 2.5.2), or several users where the rule allows that."""
        outcomes: list[str] = []
        texts: list[str] = []
        budget = self._reply_bytes
        for found in self.disclosure.find_each(lookup, rule):
            outcomes.append(found.outcome)
            texts.append(self._text_of(found, lookup, context, budget))
            budget -= len(texts[-1])
            if budget < 0:  # the rest would be cut
                break
        if len(texts) == 1:
            return outcomes[0], texts[0]
        return "answered" if "answered" in outcomes else outcomes[0], join_blocks(texts)

    def _login(self, lookup: Lookup, rule: Rule, context: AnswerContext) -> tuple[str, str]:
        """The user with exactly this login."""
        found = self.disclosure.find_login(lookup, rule)
        return found.outcome, self._text_of(found, lookup, context, self._reply_bytes)

    def _text_of(self, found: Disclosed, lookup: Lookup, context: AnswerContext, budget: int) -> str:
        if found.outcome == "answered":
            options = self._options
            return format_people(
                found.people, context.now, lookup.verbose, budget, self._width_of, colors=options.colors
            )
        return FAILURE_TEXTS[found.outcome]

    def _list(self, lookup: Lookup, rule: Rule, context: AnswerContext) -> tuple[str, str]:
        """{C}: RFC 1288 2.5.1."""
        people = self.disclosure.list_users(lookup, rule, LIST_ATOMS)
        if people is None:
            return "refused", LIST_DENIED
        colors = self._options.colors
        return "answered", format_list(people, context.now, self._reply_bytes, self._width_of, colors=colors)

    def text_answer(self, outcome: str, text: str, context: AnswerContext, username: str = "") -> Answer:
        """The text between the header and the footer, cut to the size that an answer may have."""
        # Each character takes a byte or more, so one more of them than fit decides that the reply is cut.
        options = self._options
        encoded = encode_reply(text[: self._reply_bytes + 1], options.charset, options.colors)
        reply = cut_reply(encoded, self._reply_bytes)
        if options.header is None and options.footer is None:
            return Answer(outcome, reply)
        return Answer(outcome, reply.join(self._header_footer(context, username)))

    def _header_footer(self, context: AnswerContext, username: str) -> tuple[bytes, bytes]:
        if self._fixed_parts:
            return self._fixed_parts
        values = {"user": username, "client": context.client, "time": _local_time(context.now)}
        return self._parts(values)

    def _parts(self, values: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Header and footer, encoded, with their placeholders replaced."""
        options = self._options
        header, footer = (
            encode_reply(_filled(part, values), options.charset) if part else b""
            for part in (options.header, options.footer)
        )
        return header, footer


def _filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders replaced; what is put in is not looked at again."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _local_time(now: float) -> str:
    return datetime.fromtimestamp(now).astimezone().isoformat(" ", "seconds")
