"""What the database types have in common: the deadline of a call, and the base class of their differences."""

import contextlib
import math
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, Connection, Engine

from fingerd.net.resolver import missing_for_names
from fingerd.net.stream import is_address


class _Deadline(threading.local):
    """The deadline of this thread's database call, in ``time.monotonic()`` seconds."""

    at: float = math.inf


current_deadline = _Deadline()


@contextlib.contextmanager
def within(deadline: float) -> Iterator[None]:
    """Make every database call of this thread in the block fail at the deadline."""
    before, current_deadline.at = current_deadline.at, deadline
    try:
        yield
    finally:
        current_deadline.at = before


class Driver:
    """A database type without special support: its DB-API driver alone enforces a timeout, if it has one."""

    supports_limit = False  # whether with_limit() may add LIMIT

    def __init__(self, url: URL) -> None:
        self.url = url
        host = f"[{url.host}]" if url.host and ":" in url.host else url.host or ""
        port = f":{url.port}" if url.port else ""
        self.address = f"{url.get_backend_name()}://{host}{port}/{url.database or ''}"  # for logs: no user, no password

    def engine_options(self, timeout: float) -> Mapping[str, Any]:
        """Arguments for ``create_engine``; ``timeout`` is for a whole lookup, in seconds."""
        return {}

    def attach(self, engine: Engine) -> None:
        """Register the engine's event handlers; ValueError for an option that cannot be used."""

    def prepare(self, connection: Connection, seconds: float, streaming: bool) -> None:
        """Set the timeout of the next statement; ``streaming`` if its rows are fetched in batches."""

    def with_limit(self, query: str, max_rows: int) -> str:
        """The query with a LIMIT around it, where supported: no other row is sent or loaded."""
        if not self.supports_limit:
            return query
        inner = query.rstrip("; \t\r\n")
        return f"SELECT * FROM (\n{inner}\n) AS people LIMIT {max_rows}"  # noqa: S608 - from the configuration

    def is_untranslatable(self, error: BaseException) -> bool:
        """Whether the statement failed because the database's charset lacks a character of a parameter."""
        return isinstance(error, UnicodeEncodeError)

    def missing_requirements(self, root: Path, list_query: str | None) -> Iterator[str]:
        """A message for each requirement that is missing when ``root`` is the root directory."""
        if self.url.host and not is_address(self.url.host):
            yield from missing_for_names(root)


def set_timeout(connection: Connection, statement: str, seconds: float) -> None:
    """Execute the statement with the timeout in milliseconds, unless the connection has this timeout already."""
    # Rounded down to tenths of a second, so that it seldom changes.
    milliseconds = int(seconds * 10) * 100 or max(1, int(seconds * 1000))
    if connection.info.get(set_timeout) != milliseconds:
        connection.exec_driver_sql(statement.format(milliseconds))
        connection.info[set_timeout] = milliseconds
