"""The exceptions of fingerd, by who has to act: the client, the operator or the administrator."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class QueryError(ValueError):
    """The client sent a line that is not a query. The message holds nothing of the line."""


class QueryTooLongError(QueryError):
    """The client sent more bytes than a query may have."""


class ProxyHeaderError(ValueError):
    """A connection that has to begin with a PROXY header begins with something else."""


class BackendError(Exception):
    """A backend cannot answer. The operator finds the cause in the log; the client never sees it."""


class ForwardError(Exception):
    """A query is not forwarded or gets no answer: ``reply_text`` is for the client, ``outcome`` for the log."""

    def __init__(self, outcome: str, reply_text: str) -> None:
        super().__init__(reply_text)
        self.outcome = outcome
        self.reply_text = reply_text


class ConfigError(Exception):
    """The configuration is invalid; ``problems`` has one line for each problem."""

    exit_code = os.EX_CONFIG

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StartError(Exception):
    """The daemon cannot start; ``exit_code`` (sysexits.h) tells a supervisor whether a restart can help."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # the disk fails, whatever the configuration says
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS}  # later there may be some again


def exit_code_of(error: OSError) -> int:
    """The exit code for a failure of the host: 74 of the disk, 77 no permission, 69 none left of something, else 78."""
    if error.errno in _FULL:
        return os.EX_IOERR
    if error.errno in _EXHAUSTED:
        return os.EX_UNAVAILABLE
    return os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_CONFIG


def write_error(what: str, error: OSError) -> StartError:
    """The StartError for a file that cannot be written."""
    return StartError(f"cannot write {what}: {error.strerror}", exit_code_of(error))


class OptionError(ValueError):
    """An option is invalid or conflicts with others; ``keys`` is its path below the mapping being read."""

    def __init__(self, what: str, *keys: str) -> None:
        super().__init__(what)
        self.keys = keys


@contextmanager
def option_errors(*keys: str) -> Iterator[None]:
    """Re-raise ValueError as an OptionError for this option, or for a key in it."""
    try:
        yield
    except ValueError as error:
        raise OptionError(str(error), *keys) from error
