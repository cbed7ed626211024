"""``type: hold``: connections are held open without an answer."""

from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import NoPeople, Reads


@dataclass(frozen=True)
class Hold(NoPeople):
    """Accepts connections, ignores what is sent, and closes them after read_seconds."""

    reads: ClassVar[Reads] = "anything"
