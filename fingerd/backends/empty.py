"""``type: empty``: no users."""

import math
from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import NoPeople


@dataclass(frozen=True)
class Empty(NoPeople):
    """No users: the answer to every name is "No such user"."""

    repeatable_seconds: ClassVar[float] = math.inf
