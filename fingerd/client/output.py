"""The standard output and the standard error of pyfinger: each may be closed, full, or a pipe that nobody reads."""

import contextlib
import os
import select
import sys

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


def check_output() -> None:
    """Raise OSError if standard output is closed: a socket would get its number."""
    os.fstat(STANDARD_OUTPUT)


def write_output(text: bytes) -> None:
    """Write to standard output. Raises OSError if that fails, BrokenPipeError if nobody reads it any more."""
    check_output()
    _write(STANDARD_OUTPUT, text)


def write_error(text: bytes) -> None:
    """Write to standard error, if it is open and takes it: there is nobody else to tell."""
    if sys.stderr:  # else a socket may have its number
        with contextlib.suppress(OSError):
            _write(STANDARD_ERROR, text)


def _write(descriptor: int, text: bytes) -> None:
    """Write without Python's buffer, which would be flushed to a closed pipe at exit."""
    while text:
        try:
            text = text[os.write(descriptor, text) :]
        except BlockingIOError:  # the parent process may have made it non-blocking
            select.select([], [descriptor], [])
