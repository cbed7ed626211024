"""One configuration at work: everything that a reload swaps in one step."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NoReturn, Protocol

from fingerd.backends import AnswersAtOnce, Backend, Lookup
from fingerd.people import Person
from fingerd.ruip.forward import FINGER_PORT, Forwarder
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from fingerd.server.limits import Limits
from fingerd.server.listeners import InheritedSocket, ListenAddress, TcpAddress

log = logging.getLogger(__name__)


class Config(Protocol):
    """What a server needs of its settings."""

    @property
    def listen(self) -> Sequence[ListenAddress]: ...
    @property
    def backend(self) -> Backend: ...
    @property
    def policy(self) -> Sequence[Rule]: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def reply(self) -> ReplyOptions: ...


class _NotAtHandError(LookupError):
    """The answer has to be waited for."""


@dataclass(frozen=True)
class _AtHand(Backend):
    """What a backend can answer at once; _NotAtHandError for all else."""

    blocking: ClassVar[bool] = False

    at_once: Callable[[Lookup], Sequence[Person] | None]
    searches: bool

    @property
    def searches_names(self) -> bool:
        """Whether the backend does."""
        return self.searches

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The people who are in memory."""
        people = self.at_once(lookup)
        if people is None:
            raise _NotAtHandError
        return people

    def list_users(self, lookup: Lookup) -> NoReturn:
        """A list may be long, and is left to the crew."""
        raise _NotAtHandError


class Service:
    """Answers by one configuration, until another takes its place and the last of its queries is done."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.limits = config.limits
        self.policy = Policy(config.policy)
        self.reads = config.backend.reads
        self.instant = not config.backend.blocking
        self.forwards = config.backend.reads == "query" and any(rule.forward for rule in config.policy)
        self.needs_crew = self.forwards or config.backend.blocking
        self.ruip = self._ruip(config.backend)
        self._at_hand = self._ruip_at_hand(config.backend)
        self.remembers = self._at_hand is not None
        self._lock = threading.Lock()
        self._queries = 0  # with the crew
        self._retired = False
        self.closed = False  # the backend is given back, or somebody else's

    def is_instant(self, line: bytes) -> bool:
        """Whether this line is answered without waiting for anything."""
        return self.instant and not self._may_be_forwarded(line)

    def _may_be_forwarded(self, line: bytes) -> bool:
        return self.forwards and b"@" in line

    def _ruip(self, backend: Backend) -> Ruip:
        limits = self.limits
        forwarder = Forwarder(is_served=any(map(_is_finger_port, self.config.listen)))
        return Ruip(
            backend, self.policy, self.config.reply, limits.query_bytes, limits.reply_bytes, forwarder=forwarder
        )

    def _ruip_at_hand(self, backend: Backend) -> Ruip | None:
        """What answers from a backend's memory, where that has one beside what it waits for."""
        if not backend.blocking or not isinstance(backend, AnswersAtOnce):
            return None
        return self._ruip(_AtHand(backend.at_once, backend.searches_names))

    def answer_at_once(self, line: bytes, context: AnswerContext) -> Answer | None:
        """The answer to a line, where the backend need not wait for anything to give it."""
        if self._at_hand is None or self._may_be_forwarded(line):
            return None
        try:
            return self._at_hand.answer_line(line, context)
        except _NotAtHandError:
            return None

    def enter(self) -> None:
        """A query of this service is handed to the crew."""
        with self._lock:
            self._queries += 1

    def leave(self) -> None:
        """The crew is done with one."""
        with self._lock:
            self._queries -= 1
            last = self._retired and not self._queries
        if last:
            self.close()

    def retire(self, successor: "Service") -> None:
        """Another service answers from now on: close the backend as soon as no query uses it any more."""
        with self._lock:
            self._retired = True
            self.closed = self.closed or self.config.backend is successor.config.backend
            unused = not self._queries
        if unused:
            self.close()

    def close(self) -> None:
        """Close the backend, once, whoever still uses it."""
        with self._lock:
            closed, self.closed = self.closed, True
        if not closed:
            try:
                self.config.backend.close()
            except Exception:
                log.exception("a bug while closing a backend")


def _is_finger_port(address: ListenAddress) -> bool:
    """Whether who asks for this host by its name comes to this listener; of one that is passed to us it is assumed."""
    return isinstance(address, InheritedSocket) or (isinstance(address, TcpAddress) and address.port == FINGER_PORT)
