"""Pauses Python's garbage collector while something large is built, which would be looked through again and again."""

import contextlib
import gc
from collections.abc import Iterator

LARGE = 10_000  # objects made meanwhile, as by a configuration of some thousand people


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Within the block, nothing is collected. What is new after it counts as old, so it is not looked through at once.

    A collection holds the interpreter, and all threads wait for it: a second for a configuration of 50,000 people.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        # Not after small files, as at many reloads: their garbage has to be seen. Nor where a program has frozen some.
        if (
            gc.get_count()[0] > LARGE and not gc.get_freeze_count()
        ):  # else the program that embeds the server has frozen something
            gc.freeze()
            gc.unfreeze()  # moves all objects to the oldest generation
        gc.enable()
