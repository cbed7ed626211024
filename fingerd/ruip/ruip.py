"""The RUIP itself, the remote user information program of RFC 1288: a query and its client become an answer.

It has no socket, no thread and no clock of its own. Policy comes first, then
the backend, then the report; a backend's failure becomes the words that tell
nothing of it. What is for another host goes to the next RUIP instead.
"""

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from fingerd.backends import Backend, Lookup
from fingerd.errors import BackendError, ForwardError, QueryError
from fingerd.protocol.query import BLANKS, Query, parse_query
from fingerd.protocol.reply import (
    AMBIGUOUS_NAME,
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
from fingerd.ruip.forward import Forwarder
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.report import LISTED, records, separated, table
from fingerd.text import ANSWER_CUT, strip_line_end

log = logging.getLogger(__name__)

REMEMBERED_TEXTS = 4096  # of instant backends
REMEMBERED_CHARACTERS = 1024  # of the longest of these; clients may put long ones together in any number of ways
REMEMBERED_BYTES = 4 << 20  # of what constant backends were asked and answered; all is forgotten beyond
REMEMBERING_BYTES = 300  # that each of these takes besides

_BLANK_BYTES = BLANKS.encode()
_BLANKS = re.compile(f"[{BLANKS}]+")
REPLACED = ("user", "client", "time")  # in braces, in header and footer
_PLACEHOLDER = re.compile(rf"\{{({'|'.join(REPLACED)})\}}")


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """How every answer goes out: its charset, and the text before and after it."""

    charset: Literal["utf-8", "ascii", "latin-1"] = "utf-8"
    header: str | None = None
    footer: str | None = None


class Answer(NamedTuple):
    """The log's word for what became of a query, and the bytes for the client."""

    outcome: str
    reply: bytes


class AnswerContext(NamedTuple):
    """Who asks, until when there is time to answer (``time.monotonic()``), and what time it is (``time.time()``).

    ``tell``, where there is one, gives the client a part of the answer before
    the rest of it is there; false means that nobody listens any more.
    """

    client: str
    deadline: float
    now: float
    tell: Callable[[bytes], bool] | None = None


NO_CLIENT = AnswerContext("", math.inf, 0.0)  # where it does not matter who asks, and when


class Ruip:
    """Answers queries from one backend under one policy. Nothing that it is told by changes; all threads share one."""

    def __init__(
        self,
        backend: Backend,
        policy: Policy,
        wording: ReplyOptions,
        query_bytes: int,
        reply_bytes: int,
        *,
        forwarder: Forwarder | None = None,
    ) -> None:
        self._forwarder = forwarder or Forwarder()
        self._backend = backend
        self._policy = policy
        self._wording = wording
        self._query_bytes = query_bytes
        self._reply_bytes = reply_bytes
        # Not a method of its own: a cache of that would keep the backend until the garbage collector comes.
        self._encode = partial(_encode, wording.charset, reply_bytes)
        # An instant backend's texts recur, so each that is not long is encoded once.
        self._encode_short = lru_cache(REMEMBERED_TEXTS)(self._encode) if not backend.blocking else self._encode
        # What a constant one has been asked is not asked again, under the same rule.
        self._constant = backend.repeatable_seconds == math.inf and not wording.header and not wording.footer
        self._remembered: dict[tuple[int, bytes], Answer] = {}
        self._room = REMEMBERED_BYTES

    def answer_line(self, line: bytes, context: AnswerContext) -> Answer:
        """What becomes of a client's line, as it came in; no line and no failing backend raises anything."""
        if self._backend.reads != "query":
            return Answer("dropped", b"")
        rule = self._policy.rule_for(context.client)
        if rule.deny:
            return Answer("denied", b"") if rule.deny == "silently" else self.say("denied", SERVICE_DENIED, context)
        if not self._constant or (rule.forward and b"@" in line):
            return self._answer_line(line, rule, context)
        # Blanks at either end mean nothing, and there are many ways to add some; in a line that is too long they count.
        meant = strip_line_end(line).strip(_BLANK_BYTES) if len(line) <= self._query_bytes else line
        answer = self._remembered.get((id(rule), meant))
        if answer is None:
            answer = self._answer_line(line, rule, NO_CLIENT)
            self._room -= len(meant) + len(answer.reply) + REMEMBERING_BYTES
            if self._room < 0:
                self._remembered.clear()
                self._room = REMEMBERED_BYTES
            self._remembered[id(rule), meant] = answer
        return answer

    def _answer_line(self, line: bytes, rule: Rule, context: AnswerContext) -> Answer:
        """What a client under this rule is told for this line."""
        if len(line) > self._query_bytes and len(strip_line_end(line)) > self._query_bytes:
            return self.say("too-long", QUERY_TOO_LONG, context)
        try:
            query = parse_query(line)
        except QueryError:
            return self.say("malformed", MALFORMED_QUERY, context)
        return self._answer(query, context, rule)

    def _answer(self, query: Query, context: AnswerContext, rule: Rule) -> Answer:
        """What a client under this rule is told when it asks this."""
        if query.hosts:
            return self._forward(query, context, rule)
        if query.is_list and not rule.list:  # RFC 1288 3.2.2
            return self.say("refused", LIST_DENIED, context)
        by_name = rule.match == "name" and self._tells_names(rule)
        ask = Lookup(query.username, query.verbose, context.client, context.deadline, by_name)
        try:
            outcome, text = self._list(ask, rule, context) if query.is_list else self._users(ask, rule, context)
        except BackendError as error:
            log.warning("backend failed: %s", error)
            outcome, text = "error", INTERNAL_ERROR
        return self.say(outcome, text, context, query.username)

    def _forward(self, query: Query, context: AnswerContext, rule: Rule) -> Answer:
        """{Q2}: what the next RUIP says, as it comes (RFC 1288 2.4), or the refusal (3.2.1)."""
        if not rule.forward:
            return self.say("refused", FORWARDING_DENIED, context, query.username)
        header, footer = self._around(context, query.username)
        told = bytearray(header)
        try:
            with self._forwarder.ask(query, rule.forward, context.client, context.deadline) as hop:
                for piece in hop.answer(self._wording.charset, self._reply_bytes):
                    told += piece
                    if told and context.tell:
                        if not context.tell(bytes(told)):
                            break
                        told.clear()
        except ForwardError as error:
            return self.say(error.outcome, error.reply_text, context, query.username)
        return Answer("answered", bytes(told) + footer)

    def cut_short(self, line: bytes, context: AnswerContext) -> Answer:
        """What ends an answer to this line of which a part was told, and of which there will be no more."""
        _, footer = self._around(context, parse_query(line).username)
        return Answer("answered", encode_reply(ANSWER_CUT, self._wording.charset) + footer)

    def _users(self, lookup: Lookup, rule: Rule, context: AnswerContext) -> tuple[str, str]:
        """{U}, or several users where the rule says so."""
        if rule.users_per_query == 1:
            return self._user(lookup, rule, context)
        names = _BLANKS.split(lookup.username)
        if len(names) > rule.users_per_query:
            return "malformed", MALFORMED_QUERY
        told: list[tuple[str, str]] = []
        room = self._reply_bytes
        for name in names:
            if room >= 0:  # the rest would be cut
                told.append(self._user(replace(lookup, username=name), rule, context))
                room -= len(told[-1][1])
        outcomes = [outcome for outcome, _ in told]
        outcome = "answered" if "answered" in outcomes else outcomes[0]
        return outcome, separated(text for _, text in told)

    def _user(self, lookup: Lookup, rule: Rule, context: AnswerContext) -> tuple[str, str]:
        """{U}: RFC 1288 2.5.2."""
        people = self._backend.find(lookup)
        if (
            not people and rule.match == "unique" and self._tells_names(rule)
        ):  # RFC 1288 2.5.3: a login, or an alias, is never ambiguous
            people = self._backend.find(replace(lookup, by_name=True))
            if len(people) > 1:
                return "refused", AMBIGUOUS_NAME
        if not people:
            return "unknown", NO_SUCH_USER
        told = (person if person.text is not None else person.redacted_to(rule.atoms) for person in people)
        return "answered", records(told, context.now, lookup.verbose, self._reply_bytes)

    def _tells_names(self, rule: Rule) -> bool:
        """Whether people can be found by their full names: who is not told of these must not guess them either."""
        return self._backend.searches_names and "name" in rule.atoms

    def _list(self, lookup: Lookup, rule: Rule, context: AnswerContext) -> tuple[str, str]:
        """{C}: RFC 1288 2.5.1."""
        people = self._backend.list_users(lookup)
        if people is None:
            return "refused", LIST_DENIED
        atoms = rule.atoms & LISTED
        told = (person.redacted_to(atoms) if person.login else person for person in people)
        return "answered", table(told, context.now, self._reply_bytes)

    def say(self, outcome: str, text: str, context: AnswerContext, username: str = "") -> Answer:
        """The answer that tells ``text``, between the header and the footer."""
        wording = self._wording
        if wording.header is None and wording.footer is None:
            return Answer(outcome, self._encoded(text))
        return Answer(outcome, self._encoded(text).join(self._around(context, username)))

    def _around(self, context: AnswerContext, username: str) -> tuple[bytes, bytes]:
        """The header and the footer."""
        wording = self._wording
        values = {"user": username, "client": context.client, "time": _local_time(context.now)}
        header, footer = (
            encode_reply(_filled(part, values), wording.charset) if part else b""
            for part in (wording.header, wording.footer)
        )
        return header, footer

    def _encoded(self, text: str) -> bytes:
        return self._encode_short(text) if len(text) <= REMEMBERED_CHARACTERS else self._encode(text)


def _encode(charset: str, reply_bytes: int, text: str) -> bytes:
    """The text as it goes out, as much of it as may."""
    return cut_reply(encode_reply(text, charset), reply_bytes)


def _filled(text: str, values: dict[str, str]) -> str:
    """The text with its placeholders replaced; what is put in is not looked at again."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _local_time(now: float) -> str:
    return datetime.fromtimestamp(now).astimezone().isoformat(" ", "seconds")
