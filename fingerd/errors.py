"""The failures that fingerd knows, sorted by whose fault they are and who must act."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class QueryError(ValueError):
    """The client sent a line that is no query; nothing of it is repeated to anyone."""


class QueryTooLongError(QueryError):
    """The client sent more bytes than a query may have."""


class BackendError(Exception):
    """A source of people cannot tell: its operator reads the cause in the log, the client never does."""


class ForwardError(Exception):
    """The next host is not asked, or says nothing: ``words`` tell the client so, and nothing of the cause."""

    def __init__(self, outcome: str, words: str) -> None:
        super().__init__(words)
        self.outcome = outcome  # the log's word for it
        self.reply_text = words


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` holds one line for each thing that is wrong with it."""

    exit_code = os.EX_CONFIG

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class StartError(Exception):
    """The daemon cannot start here; ``exit_code`` (sysexits.h) tells a supervisor what kind of reason it is."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class OptionError(ValueError):
    """The option at the end of ``keys``, below the options that are being made something of, does not fit the rest."""

    def __init__(self, what: str, *keys: str) -> None:
        super().__init__(what)
        self.keys = keys


@contextmanager
def option_errors(option: str) -> Iterator[None]:
    """Let a ValueError be about this option."""
    try:
        yield
    except ValueError as error:
        raise OptionError(str(error), option) from error
