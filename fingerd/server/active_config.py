"""The active configuration: everything by which queries are answered, and which a reload replaces in one step."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from fingerd.backends import Backend, close_backend
from fingerd.bugs import bugs_in
from fingerd.net.own_names import own_names
from fingerd.ruip.forward import FINGER_PORT, Forwarder
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.ruip import ReplyOptions, Ruip
from fingerd.server.answer_memory import AnswerMemory, Key
from fingerd.server.limits import Limits
from fingerd.server.listeners import InheritedSocket, ListenAddress, TcpAddress

RULES_MAX = 4096  # clients whose rule is kept at hand, some 200 bytes each


class ServerConfig(Protocol):
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
    @property
    def hosts(self) -> Sequence[str]: ...


class ActiveConfig:
    """Answers by one configuration, until a replacement takes over and the last of its queries is done."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.limits = config.limits
        self.policy = Policy(config.policy)
        with bugs_in(type(config.backend)):
            self.reads = config.backend.reads
            self.blocking = config.backend.blocking
            self.people_count = config.backend.people_count
            repeatable_seconds = config.backend.repeatable_seconds
            depends_on_client = config.backend.depends_on_client
        self.needs_workers = needs_workers(config)
        self.memory = AnswerMemory(repeatable_seconds)
        is_shared = config.reply.is_repeatable and not depends_on_client
        self.remembers = self.memory.seconds > 0 and is_shared
        self.ruip = Ruip(
            config.backend,
            self.policy,
            config.reply,
            self.limits.query_bytes,
            self.limits.reply_bytes,
            forwarder=Forwarder(is_served=any(map(_is_finger_port, config.listen))),
            hosts=own_names().union(config.hosts),
        )
        self.find_rule = lru_cache(RULES_MAX)(self.policy.find)
        self.flights: dict[Key, dict[Any, None]] = {}  # look-ups under way, with the connections that wait for them
        self.queries = 0  # that workers answer
        self._retired = False
        self.closed = False  # the backend is closed, or the replacement's

    def release(self) -> None:
        """A query that workers answered is done. ``queries`` is for the loop's thread only."""
        self.queries -= 1
        if self._retired and not self.queries:
            self.close()

    def retire(self, replacement: "ActiveConfig") -> None:
        """The replacement answers from now on: close the backend as soon as no query uses it."""
        self._retired = True
        self.closed = self.closed or self.config.backend is replacement.config.backend
        if not self.queries:
            self.close()

    def close(self) -> None:
        """Close the backend, once, even where a query still uses it."""
        closed, self.closed = self.closed, True
        if not closed:
            close_backend(self.config.backend)


def needs_workers(config: ServerConfig) -> bool:
    """Whether worker threads answer queries: those that are forwarded, or all if the backend may block."""
    with bugs_in(type(config.backend)):
        reads, blocking = config.backend.reads, config.backend.blocking
    return blocking or (reads == "query" and any(rule.forward for rule in config.policy))


def _is_finger_port(address: ListenAddress) -> bool:
    """Whether a query to this host's name reaches this listener; assumed for sockets that are inherited."""
    return isinstance(address, InheritedSocket) or (isinstance(address, TcpAddress) and address.port == FINGER_PORT)
