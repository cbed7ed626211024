"""``type: drop``: connections are closed at once."""

from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import NoPeople, Reads


@dataclass(frozen=True)
class Drop(NoPeople):
    """Closes every connection at once."""

    reads: ClassVar[Reads] = "nothing"
