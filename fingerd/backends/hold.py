"""``type: hold``: silence, for as long as a query may take."""

from dataclasses import dataclass
from typing import ClassVar

from fingerd.backends import Takes
from fingerd.backends.empty import Empty


@dataclass(frozen=True)
class Hold(Empty):
    """Accepts connections, ignores what is sent, and closes them when read_seconds are over."""

    takes: ClassVar[Takes] = "anything"
