"""Figures of what a query costs elsewhere: look-ups in a backend, answers of a cache, queries to other hosts.

Any thread notes them while it works out an answer. The event loop's thread takes and counts them when there are enough,
and when somebody wants to know. In a process that does not count, which is one without the section ``metrics``, nothing
is noted.
"""

from collections import deque
from typing import Literal

Kind = Literal["lookup", "cache", "forward"]

# How one look-up, one question to a cache or one query to another host ended: kind and result; of a look-up also the
# type of the backend, and the seconds that it took. A plain tuple is made in a quarter of the time of a named one.
Figure = tuple[Kind, str, str, float]


class Figures:
    """The figures that are not counted yet. Any thread may note them; one takes them from ``noted``."""

    def __init__(self) -> None:
        self.are_counted = False  # true before any configuration becomes the active one, or never
        self.noted: deque[Figure] = deque()  # the oldest first; its appends and pops need no lock

    def note(self, kind: Kind, result: str, source: str = "", seconds: float = 0.0) -> None:
        """Keep a figure for whoever counts it."""
        if self.are_counted:
            self.noted.append((kind, result, source, seconds))


FIGURES = Figures()  # of this process
