"""Framing: what one whole request is. The transport asks it, and knows no protocol itself."""

from collections.abc import Callable
from operator import methodcaller
from typing import Protocol

from fingerd.server.limits import Limits


class Framing(Protocol):
    """What one whole request is."""

    @property
    def find_end(self) -> Callable[[bytes], int]:
        """The place of the request's last byte in the bytes received, -1 where it is not complete."""
        ...

    @property
    def find_other_end(self) -> Callable[[bytes], int]:
        """The same for an end that is rare, and looked for where ``find_end`` finds none."""
        ...

    def max_bytes(self, limits: Limits) -> int:
        """So many bytes are a whole request, whatever they are."""
        ...


class LineFraming:
    """A request is one line (RFC 1288 2.1). It ends at CR, too: some old telnet clients send no LF.

    A CR before an LF that has come already is left to ``parse_query``, so that CR LF costs one search.
    """

    LINE_END_BYTES = 2

    find_end = staticmethod(methodcaller("find", b"\n"))
    find_other_end = staticmethod(methodcaller("find", b"\r"))

    def max_bytes(self, limits: Limits) -> int:
        """A query and its CR LF."""
        return limits.query_bytes + self.LINE_END_BYTES
