"""``type: empty``: no users."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.people import Person


@dataclass(frozen=True)
class Empty(Backend):
    """No users: the answer to every name is "No such user"."""

    blocking: ClassVar[bool] = False
    repeatable_seconds: ClassVar[float] = math.inf

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Always empty."""
        return ()
