"""The RUIP itself, the remote user information program of RFC 1288: a query and its client become an answer.

It has no socket, no thread and no clock of its own. Policy comes first, then
the backend, then the report; a backend's failure becomes the words that tell
nothing of it.
"""

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from fingerd.backends import Ask, Backend
from fingerd.errors import BackendError, QueryError
from fingerd.policy import Policy, Rule
from fingerd.protocol import (
    FORWARDING_DENIED,
    INTERNAL_ERROR,
    LIST_DENIED,
    MALFORMED_QUERY,
    NO_SUCH_USER,
    QUERY_TOO_LONG,
    SERVICE_DENIED,
    Query,
    cut_reply,
    encode_reply,
    parse_query,
    strip_line_end,
)
from fingerd.report import records, table

log = logging.getLogger(__name__)

REMEMBERED_ANSWERS = 4096  # of backends that hold their texts in memory anyway
REMEMBERED_BYTES = 256  # of a line; clients choose them, so longer ones are not kept

_PLACEHOLDER = re.compile(r"\{(user|client|time)\}")


@dataclass(frozen=True, slots=True)
class Wording:
    """How every answer goes out: its charset, and the text before and after it."""

    charset: Literal["utf-8", "ascii", "latin-1"] = "utf-8"
    header: str | None = None
    footer: str | None = None


class Answer(NamedTuple):
    """The log's word for what became of a query, and the bytes for the client."""

    outcome: str
    reply: bytes


class Asker(NamedTuple):
    """Who asks, until when there is time to answer (``time.monotonic()``), and what time it is (``time.time()``)."""

    client: str
    deadline: float
    now: float


ANYBODY = Asker("", math.inf, 0.0)  # where it does not matter who asks, and when


class Ruip:
    """Answers queries from one backend under one policy. Nothing that it is told by changes; all threads share one."""

    def __init__(self, backend: Backend, policy: Policy, wording: Wording, query_bytes: int, reply_bytes: int) -> None:
        self._backend = backend
        self._policy = policy
        self._wording = wording
        self._query_bytes = query_bytes
        self._reply_bytes = reply_bytes
        # Not a method of its own: a cache of that would keep the backend until the garbage collector comes.
        encode = partial(_encode, wording.charset, reply_bytes)
        # An instant backend's texts recur, so each is encoded once.
        self._encoded: Callable[[str], bytes] = lru_cache(REMEMBERED_ANSWERS)(encode) if backend.instant else encode
        # What a constant one has been asked is not asked again, under the same rule.
        self._constant = backend.constant and not wording.header and not wording.footer
        self._remembered: dict[tuple[int, bytes], Answer] = {}

    def answer_line(self, line: bytes, asker: Asker) -> Answer:
        """What becomes of a client's line, as it came in; no line and no failing backend raises anything."""
        if self._backend.takes != "query":
            return Answer("dropped", b"")
        rule = self._policy.rule_for(asker.client)
        if rule.deny:
            return Answer("denied", b"") if rule.deny == "silently" else self.say("denied", SERVICE_DENIED, asker)
        if not self._constant or len(line) > REMEMBERED_BYTES:
            return self._answer_line(line, rule, asker)
        answer = self._remembered.get((id(rule), line))
        if answer is None:
            if len(self._remembered) >= REMEMBERED_ANSWERS:
                self._remembered.clear()
            answer = self._remembered[id(rule), line] = self._answer_line(line, rule, ANYBODY)
        return answer

    def _answer_line(self, line: bytes, rule: Rule, asker: Asker) -> Answer:
        """What a client under this rule is told for this line."""
        if len(line) > self._query_bytes and len(strip_line_end(line)) > self._query_bytes:
            return self.say("too-long", QUERY_TOO_LONG, asker)
        try:
            query = parse_query(line)
        except QueryError:
            return self.say("malformed", MALFORMED_QUERY, asker)
        return self._answer(query, asker, rule)

    def _answer(self, query: Query, asker: Asker, rule: Rule) -> Answer:
        """What a client under this rule is told when it asks this."""
        if query.hosts:  # RFC 1288 3.2.1
            return self.say("refused", FORWARDING_DENIED, asker, query.username)
        if query.is_list and not rule.list:  # RFC 1288 3.2.2
            return self.say("refused", LIST_DENIED, asker)
        ask = Ask(query.username, query.verbose, asker.client, asker.deadline)
        try:
            outcome, text = self._list(ask) if query.is_list else self._user(ask)
        except BackendError as error:
            log.warning("backend failed: %s", error)
            outcome, text = "error", INTERNAL_ERROR
        return self.say(outcome, text, asker, query.username)

    def _user(self, ask: Ask) -> tuple[str, str]:
        """{U}: RFC 1288 2.5.2."""
        people = self._backend.find(ask)
        return ("answered", records(people)) if people else ("unknown", NO_SUCH_USER)

    def _list(self, ask: Ask) -> tuple[str, str]:
        """{C}: RFC 1288 2.5.1."""
        people = self._backend.listed(ask)
        return ("refused", LIST_DENIED) if people is None else ("answered", table(people, self._reply_bytes))

    def say(self, outcome: str, text: str, asker: Asker, username: str = "") -> Answer:
        """The answer that tells ``text``, between the header and the footer."""
        wording = self._wording
        if wording.header is None and wording.footer is None:
            return Answer(outcome, self._encoded(text))
        values = {"user": username, "client": asker.client, "time": _local_time(asker.now)}
        parts = [
            encode_reply(_filled(part, values), wording.charset) if part else b""
            for part in (wording.header, wording.footer)
        ]
        return Answer(outcome, self._encoded(text).join(parts))


def _encode(charset: str, reply_bytes: int, text: str) -> bytes:
    return cut_reply(encode_reply(text, charset), reply_bytes)


def _filled(text: str, values: dict[str, str]) -> str:
    """The text with its placeholders replaced; what is put in is not looked at again."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _local_time(now: float) -> str:
    return datetime.fromtimestamp(now).astimezone().isoformat(" ", "seconds")
