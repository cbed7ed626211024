"""What the database types have in common: the deadline of a call, and the base class of their differences."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy.engine import URL, Connection, Engine

from fingerd.backends.sql.statement import Statement
from fingerd.net.resolver import missing_for_names
from fingerd.net.stream import is_address

MIN_BATCH_ROWS = 20  # of the first batch of a list

_STREAMED: Mapping[str, Any] = {"stream_results": True, "max_row_buffer": MIN_BATCH_ROWS}  # load only fetched rows


class Rows(NamedTuple):
    """Some rows, and the names of their columns."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


class Listing(NamedTuple):
    """The rows of a running statement: ``fetch`` returns at most so many of them, and fewer only at the end."""

    columns: tuple[str, ...]
    fetch: Callable[[int], Sequence[Sequence[object]]]
    close: Callable[[], object]  # makes the connection usable for other statements; an exception: it is not


class _Deadline(threading.local):
    """The deadline of this thread's database call, in ``time.monotonic()`` seconds."""

    at: float = math.inf


current_deadline = _Deadline()


class within:  # noqa: N801 - used as a function; a generator would cost a query several times as much
    """Make every database call of this thread in the block fail at the deadline."""

    __slots__ = ("_at", "_before")

    def __init__(self, deadline: float) -> None:
        self._at = deadline

    def __enter__(self) -> None:
        self._before, current_deadline.at = current_deadline.at, self._at

    def __exit__(self, *_: object) -> None:
        current_deadline.at = self._before


class Driver:
    """A database type without special support: its DB-API driver alone enforces a timeout, if it has one."""

    supports_limit = False  # whether with_limit() may add LIMIT
    reset_on_return: str | None = "rollback"  # what the pool does with a connection; None: it is in no transaction

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

    def select(self, connection: Any, statement: Statement, user: str, seconds: float, max_rows: int) -> Rows:
        """The first rows for a user, by a connection of the pool; ``seconds`` are left for it."""
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement.sql, statement.values(user))
            return Rows(columns_of(cursor), cursor.fetchmany(max_rows))

    def open_list(self, connection: Connection, statement: Statement, seconds: float) -> Listing:
        """All rows, of which only those that are fetched are loaded; ``seconds`` are left for it."""
        result = connection.exec_driver_sql(statement.sql, statement.values(""), execution_options=_STREAMED)
        return Listing(tuple(result.keys()), result.fetchmany, result.close)

    def with_limit(self, query: str, max_rows: int) -> str:
        """The query with a LIMIT around it, where supported: no other row is sent or loaded."""
        if not self.supports_limit:
            return query
        return f"SELECT * FROM (\n{query}\n) AS people LIMIT {max_rows}"  # noqa: S608 - from the configuration

    def is_untranslatable(self, error: BaseException) -> bool:
        """Whether the statement failed because the database's charset lacks a character of a parameter."""
        return isinstance(error, UnicodeEncodeError)

    def missing_requirements(self, root: Path, list_query: str | None) -> Iterator[str]:
        """A message for each requirement that is missing when ``root`` is the root directory."""
        if self.url.host and not is_address(self.url.host):
            yield from missing_for_names(root)


def columns_of(cursor: Any) -> tuple[str, ...]:
    """The names of the columns of a statement that was executed."""
    return tuple(column[0] for column in cursor.description or ())
