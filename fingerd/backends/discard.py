"""``type: discard``: queries are read, but not answered."""

from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import NoPeople, Reads


@dataclass(frozen=True)
class Discard(NoPeople):
    """Reads the query, answers nothing, and closes the connection."""

    reads: ClassVar[Reads] = "line"
