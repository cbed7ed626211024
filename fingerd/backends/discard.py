"""``type: discard``: queries are read, and that is all."""

from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Takes
from fingerd.backends.empty import Empty


@dataclass(frozen=True)
class Discard(Empty):
    """Reads the query, answers nothing, and closes the connection."""

    takes: ClassVar[Takes] = "line"
