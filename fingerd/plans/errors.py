"""Why a person's files are not changed. Each exception has its exit code (sysexits.h); the text is for the user."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class PlanError(Exception):
    """Nothing was changed; the text says why."""

    exit_code = os.EX_SOFTWARE


class UsageError(PlanError):
    """What was asked for means nothing: a field that does not exist, a name that cannot be a file's."""

    exit_code = os.EX_USAGE


class TextError(PlanError):
    """The text cannot be shown as it is."""

    exit_code = os.EX_DATAERR


class TextTooLongError(TextError):
    """The text is longer than the daemon reads."""


class NotAllowedError(PlanError):
    """This user may not do it, or the file has to be changed in another way."""

    exit_code = os.EX_NOPERM


class UnknownPersonError(NotAllowedError):
    """There is no such person, and none is created."""


class NotWrittenError(PlanError):
    """The file cannot be written: the disk is full, or broken."""

    exit_code = os.EX_IOERR


class LockedError(NotWrittenError):
    """Another process holds the lock of the directory for too long."""


class AbandonedError(NotWrittenError):
    """The client was told meanwhile that there is no answer."""


class ChangedError(NotWrittenError):
    """The text has changed since it was read."""


@contextmanager
def write_errors(what: str) -> Iterator[None]:
    """Re-raise OSError as NotAllowedError if a right is missing, else as NotWrittenError."""
    try:
        yield
    except OSError as error:
        kind = NotAllowedError if error.errno in (errno.EACCES, errno.EPERM) else NotWrittenError
        raise kind(f"cannot write {what}: {error.strerror}") from error
