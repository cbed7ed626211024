"""``type: drop``: connections are closed at once."""

from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Takes
from fingerd.backends.empty import Empty


@dataclass(frozen=True)
class Drop(Empty):
    """Closes every connection at once."""

    takes: ClassVar[Takes] = "nothing"
