"""Deadlines: points in time, as ``time.monotonic()`` seconds, by which something must be complete."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

DEADLINE_PASSED = "not done in time"  # the cause of a failure, as the log has it

Item = TypeVar("Item")


def remaining(deadline: float) -> float:
    """The seconds until the deadline; TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError(DEADLINE_PASSED)
    return seconds


def split_deadline(items: Sequence[Item], deadline: float) -> Iterator[tuple[Item, float]]:
    """Each item with a deadline of its own: an equal share of the time that is left when its turn comes."""
    for number, item in enumerate(items):
        now = time.monotonic()
        yield item, now + max(deadline - now, 0) / (len(items) - number)
