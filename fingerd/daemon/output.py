"""What the command prints, without Python's buffers, which would fail at exit if a pipe is closed or a disk is full."""

import contextlib
import logging
import select
import sys
from typing import TextIO

from fingerd.errors import StartError, exit_code_of


class OutputClosedError(Exception):
    """Nobody reads standard output any more."""


def print_result(result: str | bytes) -> None:
    """Write to standard output. OutputClosedError if that is a closed pipe, StartError (74) if it cannot be written."""
    encoding = sys.stdout.encoding or "utf-8"
    data = result if isinstance(result, bytes) else result.encode(encoding, "backslashreplace")
    try:
        _write(sys.stdout, data)
    except BrokenPipeError as error:
        raise OutputClosedError from error
    except OSError as error:
        raise StartError(f"cannot write to standard output: {error.strerror}", exit_code_of(error)) from error


def print_error(*lines: str) -> None:
    """Write lines to standard error. If that fails, there is nowhere to report it."""
    with contextlib.suppress(OSError):
        _write(sys.stderr, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))


class ErrorHandler(logging.Handler):
    """Prints ``logging`` records by ``print_error``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print_error(self.format(record))


def _write(stream: TextIO | None, data: bytes) -> None:
    """Write to the file under the buffers. OSError if that fails."""
    if stream is None:  # it was closed at the start, and there is no /dev/null
        return
    file = getattr(stream.buffer, "raw", stream.buffer)
    while data:
        written = file.write(data)
        if written is None:  # the parent process may have made it non-blocking
            select.select([], [file], [])
        else:
            data = data[written:]
