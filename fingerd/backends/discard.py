"""``type: discard``: queries are read, but not answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Backend, Lookup, Reads
from fingerd.people import Person


@dataclass(frozen=True)
class Discard(Backend):
    """Reads the query, answers nothing, and closes the connection."""

    blocking: ClassVar[bool] = False
    reads: ClassVar[Reads] = "line"

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Always empty."""
        return ()
