"""What the command prints, without Python's buffers, which would fail at exit if a pipe is closed or a disk is full."""

import argparse
import contextlib
import logging
import os
import select
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from fingerd.bugs import BackendBugError
from fingerd.errors import StartError, exit_code_of
from fingerd.text import escape_controls

log = logging.getLogger("fingerd")

OUTPUT_CLOSED = 141  # as a shell reports SIGPIPE
INTERRUPTED = 130  # and SIGINT


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


def print_error(*lines: str, end: str = "\n") -> None:
    """Write lines to standard error. If that fails, there is nowhere to report it."""
    with contextlib.suppress(OSError):
        _write(sys.stderr, "".join(f"{line}{end}" for line in lines).encode("utf-8", "backslashreplace"))


def run_command(run: Callable[[], int]) -> int:
    """Run a command; returns its exit code, or that of closed output, of an interrupt, or of a bug, which is logged."""
    try:
        return run()
    except OutputClosedError:
        return OUTPUT_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BackendBugError as error:
        log.exception("%s, please report", error)
        return os.EX_SOFTWARE
    except Exception:
        log.exception("internal error, please report")
        return os.EX_SOFTWARE


class ArgumentParser(argparse.ArgumentParser):
    """A command line that prints in this way, and ends with exit code 64 for a usage error."""

    def _print_message(self, message: str, file: Any = None) -> None:
        print_result(message) if file is sys.stdout else print_error(message.rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit."""
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {escape_controls(message)}\n")


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
