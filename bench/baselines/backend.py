"""``type: baseline``: a backend of fingerd that only calls a library."""

import importlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.baselines import Connect
from fingerd.backends import Backend, Lookup
from fingerd.people import Person


@dataclass(frozen=True)
class Baseline(Backend):
    """Answers with the library's text; ``arguments`` are those of ``python -m bench.baselines`` after the port."""

    arguments: tuple[str, ...]

    def __post_init__(self) -> None:
        _ = self._connect, self._thread  # before there are threads

    @cached_property
    def _connect(self) -> Connect:
        library, *arguments = self.arguments
        connect: Connect = importlib.import_module(f"bench.baselines.{library}").configure(*arguments)
        return connect

    @cached_property
    def _thread(self) -> threading.local:
        return threading.local()

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """A person with the library's text."""
        if not hasattr(self._thread, "look_up"):
            self._thread.look_up = self._connect()
        return (Person(lookup.username, self._thread.look_up(lookup.username)),)
