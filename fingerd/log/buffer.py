"""The buffer between those who log and the thread that writes: lines in their order, bounded in bytes.

An access line is kept as the values that it is formatted from, which costs the event loop's thread the least.
"""

import threading
from collections import deque
from collections.abc import Iterator
from sys import getsizeof
from typing import NamedTuple

from fingerd.log.format import Access, AddressDetail, Style
from fingerd.log.sinks import Entry, Sink
from fingerd.text import first_line, whole_characters

BUFFER_BYTES = 20 << 20  # of lines that are not written yet; more are dropped and counted
SHORTEN_BYTES = BUFFER_BYTES // 2  # from then on, and while lines are lost, long queries are shortened
BATCH_BYTES = 1 << 16  # that are formatted and written at once

LONG_LINE_BYTES = 4096  # of a query line that are kept: at most 1,000 characters of it are logged
SHORT_LINE_BYTES = 100  # of a line that is shortened

# What a line takes besides its texts: tuples, numbers, headers, its place in the queue. A test holds that to the truth.
ACCESS_BYTES = 322
ENTRY_BYTES = 104


class Target(NamedTuple):
    """Where the lines after it go, and in which format."""

    sink: Sink
    style: Style
    addresses: AddressDetail


PendingAccess = tuple[float, Access, bool]  # time.time(), the values, and whether the query is shortened
Line = Entry | PendingAccess


class Batch(NamedTuple):
    """Lines in their order, and about how much memory they take."""

    lines: list[Line]
    bytes: int


class Buffer:
    """Lines that are not written yet. Any thread adds them; one takes them, and releases each batch once written."""

    def __init__(self) -> None:
        self._batches: deque[Batch | Target] = deque()  # those that are complete
        self._batches_bytes = 0  # of these, and of the batch that is being written
        self._lines: list[Line] = []  # of the batch to which lines are added
        self._lines_bytes = 0
        self._lost = self._reported = 0
        # Reentrant: while a thread adds a line, the garbage collector may run code that logs.
        self._lock = threading.RLock()

    @property
    def bytes(self) -> int:
        """About how much memory the lines take, those included that are being written."""
        return self._batches_bytes + self._lines_bytes

    @property
    def has_backlog(self) -> bool:
        """Whether there is more than is written at once."""
        return len(self._batches) > 1

    @property
    def lost(self) -> int:
        """How many lines were dropped, or could not be written, since that was reported."""
        return self._lost

    @property
    def dropped(self) -> int:
        """How many lines were dropped, or could not be written, since the start."""
        with self._lock:
            return self._lost + self._reported

    def add_access(self, now: float, access: Access) -> None:
        """Add an access line, or drop it if the buffer is full; ``now`` is ``time.time()``. May raise MemoryError."""
        is_short = False
        if len(access.line) > SHORT_LINE_BYTES:
            line = first_line(access.line)
            is_short = len(line) > SHORT_LINE_BYTES and (self._lost > 0 or self.bytes > SHORTEN_BYTES)
            access = access._replace(line=whole_characters(line, SHORT_LINE_BYTES if is_short else LONG_LINE_BYTES))
        self._add((now, access, is_short), ACCESS_BYTES + len(access.client) + len(access.line))

    def add(self, entry: Entry) -> None:
        """Add a line that is formatted already, or drop it if the buffer is full. May raise MemoryError."""
        self._add(entry, ENTRY_BYTES + getsizeof(entry.text))

    def _add(self, line: Line, size: int) -> None:
        with self._lock:
            if self._batches_bytes + self._lines_bytes + size > BUFFER_BYTES:
                self._lost += 1
                return
            self._lines.append(line)
            self._lines_bytes += size
            if self._lines_bytes >= BATCH_BYTES:
                self._complete_batch()

    def _complete_batch(self) -> None:
        if self._lines:
            self._batches.append(Batch(self._lines, self._lines_bytes))
            self._batches_bytes += self._lines_bytes
            self._lines, self._lines_bytes = [], 0

    def add_target(self, target: Target) -> None:
        """Let the lines that are added from now on go to another target."""
        with self._lock:
            self._complete_batch()
            self._batches.append(target)

    def lose(self, lines: int, reported: int = 0) -> None:
        """Count lines that could not be written, and how many of those that were lost before are reported now."""
        with self._lock:
            self._lost += lines - reported
            self._reported += reported

    def take_all(self) -> Iterator[Batch | Target]:
        """What is there now, the oldest first; the memory of a batch counts until the next one is taken."""
        with self._lock:
            self._complete_batch()
            count = len(self._batches)
        for _ in range(count):
            taken = self._batches.popleft()
            try:
                yield taken
            finally:
                if isinstance(taken, Batch):
                    with self._lock:
                        self._batches_bytes -= taken.bytes
