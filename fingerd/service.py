"""One configuration at work: everything that a reload swaps in one step."""

import threading
from collections.abc import Sequence
from typing import Protocol

from fingerd.backends import Backend
from fingerd.limits import Limits
from fingerd.listeners import Address
from fingerd.policy import Policy, Rule
from fingerd.ruip import Ruip, Wording


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
        self.ruip = Ruip(config.backend, self.policy, config.reply, self.limits.query_bytes, self.limits.reply_bytes)
        self.takes = config.backend.takes
        self.instant = config.backend.instant
        self._lock = threading.Lock()
        self._queries = 0  # with the crew
        self._retired = False

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
            self.config.backend.close()

    def close(self) -> None:
        """The process ends: close the backend, whoever still uses it."""
        self.config.backend.close()

    def retire(self) -> None:
        """Another service answers from now on: close the backend as soon as no query uses it any more."""
        with self._lock:
            self._retired = True
            unused = not self._queries
        if unused:
            self.config.backend.close()
