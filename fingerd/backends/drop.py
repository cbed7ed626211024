"""``type: drop``: connections are closed at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Backend, Lookup, Reads
from fingerd.people import Person


@dataclass(frozen=True)
class Drop(Backend):
    """Closes every connection at once."""

    blocking: ClassVar[bool] = False
    reads: ClassVar[Reads] = "nothing"

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Always empty."""
        return ()
