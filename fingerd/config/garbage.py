"""Pauses Python's garbage collector while something large is built, which would be looked through again and again."""

import contextlib
import gc
from collections.abc import Iterator


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
        if not gc.get_freeze_count():  # else the program that embeds the server has frozen something
            gc.freeze()
            gc.unfreeze()  # moves all objects to the oldest generation
        gc.enable()
