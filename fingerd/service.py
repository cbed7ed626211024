"""One configuration at work: everything that a reload swaps in one step."""

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from fingerd.backends import Backend
from fingerd.forward import FINGER_PORT, Forwarder
from fingerd.limits import Limits
from fingerd.listeners import Address, InternetAddress, Passed
from fingerd.policy import Policy, Rule
from fingerd.ruip import Ruip, Wording

log = logging.getLogger(__name__)


class Config(Protocol):
    """What a server needs of its settings."""

    @property
    def listen(self) -> Sequence[Address]: ...
    @property
    def backend(self) -> Backend: ...
    @property
    def policy(self) -> Sequence[Rule]: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def reply(self) -> Wording: ...


class Service:
    """Answers by one configuration, until another takes its place and the last of its queries is done."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.limits = config.limits
        self.policy = Policy(config.policy)
        forwarder = Forwarder(is_served=any(map(_is_finger_port, config.listen)))
        limits, backend = self.limits, config.backend
        self.ruip = Ruip(
            backend, self.policy, config.reply, limits.query_bytes, limits.reply_bytes, forwarder=forwarder
        )
        self.takes = backend.takes
        self.instant = backend.instant
        self.forwards = backend.takes == "query" and any(rule.forward for rule in config.policy)
        self.needs_crew = self.forwards or not backend.instant
        self._lock = threading.Lock()
        self._queries = 0  # with the crew
        self._retired = False
        self.closed = False  # the backend is given back, or somebody else's

    def is_instant(self, line: bytes) -> bool:
        """Whether this line is answered without waiting for anything."""
        return self.instant and not (self.forwards and b"@" in line)

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


def _is_finger_port(address: Address) -> bool:
    """Whether who asks for this host by its name comes to this listener; of one that is passed to us it is assumed."""
    return isinstance(address, Passed) or (isinstance(address, InternetAddress) and address.port == FINGER_PORT)
