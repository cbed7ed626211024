"""``type: empty``: nobody is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Ask, Backend
from fingerd.people import Person


@dataclass(frozen=True)
class Empty(Backend):
    """Knows nobody: every name is answered with "No such user"."""

    instant: ClassVar[bool] = True
    constant: ClassVar[bool] = True

    def find(self, ask: Ask) -> Sequence[Person]:
        """Nobody."""
        return ()
