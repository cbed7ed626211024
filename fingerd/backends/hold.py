"""``type: hold``: silence, for as long as a query may take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Backend, Lookup, Reads
from fingerd.people import Person


@dataclass(frozen=True)
class Hold(Backend):
    """Accepts connections, ignores what is sent, and closes them when read_seconds are over."""

    blocking: ClassVar[bool] = False
    reads: ClassVar[Reads] = "anything"

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Knows no one."""
        return ()
