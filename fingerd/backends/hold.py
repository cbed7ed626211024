"""``type: hold``: connections are held open without an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Backend, Lookup, Reads
from fingerd.people import Person


@dataclass(frozen=True)
class Hold(Backend):
    """Accepts connections, ignores what is sent, and closes them after read_seconds."""

    blocking: ClassVar[bool] = False
    reads: ClassVar[Reads] = "anything"

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Always empty."""
        return ()
