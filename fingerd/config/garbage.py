"""Pauses Python's garbage collector while something large is built, which would be looked through again and again."""

import contextlib
import gc
from collections.abc import Iterator

LARGE = 10_000  # new objects, as of some thousand people
OWN_FROZEN = 1_000  # Python 3.12 freezes 375 objects at its start; a program that freezes has imported many thousands


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Collect nothing within the block; after it, more than LARGE new objects belong to the oldest generation.

    A collection holds the interpreter, and all threads wait for it: a second for a configuration of 50,000 people.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        # A small file's garbage is cheap to find; old objects are hardly ever looked at. And unfreezing would undo what
        # a program that embeds the server has frozen.
        if gc.get_count()[0] > LARGE and gc.get_freeze_count() < OWN_FROZEN:
            gc.freeze()
            gc.unfreeze()  # moves all objects to the oldest generation
        gc.enable()
