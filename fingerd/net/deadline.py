"""Deadlines: values of ``time.monotonic()`` by which a whole operation must be complete."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

DEADLINE_PASSED = "not done in time"  # the cause of a failure, as logged

Item = TypeVar("Item")


def remaining(deadline: float) -> float:
    """Return the seconds until the deadline; raise TimeoutError if it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError(DEADLINE_PASSED)
    return seconds


def split_deadline(items: Sequence[Item], deadline: float) -> Iterator[tuple[Item, float]]:
    """Yield each item with its own deadline: an equal share of the time that remains when the item is reached."""
    for number, item in enumerate(items):
        now = time.monotonic()
        yield item, now + max(deadline - now, 0) / (len(items) - number)
