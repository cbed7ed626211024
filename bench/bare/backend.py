"""``type: bare``: a backend of fingerd that does no more than asking a library."""

import importlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.bare import Begin
from fingerd.backends import Backend, Lookup
from fingerd.people import Person


@dataclass(frozen=True)
class Bare(Backend):
    """Tells what the library finds; ``arguments`` are those of ``python -m bench.bare``, without the port."""

    arguments: tuple[str, ...]
    _begin: Begin = field(init=False, repr=False, compare=False)
    _of_thread: threading.local = field(init=False, repr=False, compare=False, default_factory=threading.local)

    def __post_init__(self) -> None:
        library, *told = self.arguments
        object.__setattr__(self, "_begin", importlib.import_module(f"bench.bare.{library}").begins(*told))

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Somebody with the text."""
        mine = self._of_thread
        if not hasattr(mine, "look_up"):
            mine.look_up = self._begin()
        return (Person(lookup.username, mine.look_up(lookup.username)),)
