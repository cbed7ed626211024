"""A database that many threads query: its engine, its connection pool, and rows by a deadline.

Everything is loaded at start-up; the first query connects, after root is dropped. A broken connection, as all are after
a restart of the server, is replaced once without an error.
"""

import contextlib
import logging
import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence, Sized
from typing import Any, NamedTuple

import sqlalchemy
import sqlalchemy.dialects
from sqlalchemy import create_engine, exc, text
from sqlalchemy.engine import URL, Connection, CursorResult, make_url
from sqlalchemy.pool import QueuePool

from fingerd.backends.sql.driver import Driver, within
from fingerd.backends.sql.postgresql import Postgresql
from fingerd.backends.sql.sqlite import Sqlite
from fingerd.config.values import did_you_mean
from fingerd.errors import BackendError
from fingerd.net.deadline import DEADLINE_PASSED, remaining
from fingerd.text import one_line

MIN_BATCH_ROWS = 20  # of the first batch of a list
MAX_BATCH_ROWS = 320
SMALL_BATCH_LENGTH = 1 << 16  # bytes or characters: below this the next batch is larger; most answers are a few batches
DRIVER_TYPES: Mapping[str, type[Driver]] = {"sqlite": Sqlite, "postgresql": Postgresql}
DEFAULT_DRIVERS = {"postgresql": "postgresql+psycopg2"}  # SQLAlchemy's own default depends on its version
PACKAGES = {"psycopg2": "pip install 'fingerd[postgresql]', or Debian's python3-psycopg2"}

_STREAMED: Mapping[str, Any] = {"stream_results": True, "max_row_buffer": MIN_BATCH_ROWS}  # load only fetched rows

# The pool logs with a traceback each connection that breaks when it is returned. The BackendError reports it already.
_POOL_NAME = "fingerd"
logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{_POOL_NAME}").setLevel(logging.CRITICAL + 1)


class Rows(NamedTuple):
    """Some rows, and the names of their columns."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


class Database:
    """A database that all threads share; ``timeout`` (seconds) is for a lookup. ValueError for an unusable URL."""

    def __init__(self, url: str, password: str | None, timeout: float, connections: int) -> None:
        self._timeout = timeout
        self._free = threading.BoundedSemaphore(connections)  # its wait has a deadline; the pool's has none
        self._closed = False
        try:
            parsed = _parse_url(url, password)
            self.driver = DRIVER_TYPES.get(parsed.get_backend_name(), Driver)(parsed)
            self.name = self.driver.address
            self._engine = create_engine(
                parsed,
                future=True,  # the behaviour of SQLAlchemy 2 in 1.4
                poolclass=QueuePool,
                pool_size=connections,
                max_overflow=0,
                pool_use_lifo=True,
                pool_logging_name=_POOL_NAME,
                **self.driver.engine_options(timeout),
            )
        except ModuleNotFoundError as error:
            hint = f" ({PACKAGES[error.name]})" if error.name in PACKAGES else ""
            raise ValueError(f"needs {error.name}, which is not installed{hint}") from None
        except ImportError as error:  # e.g. a shared library of the driver is missing
            raise ValueError(f"its driver cannot be loaded: {one_line(str(error))}") from None
        except (exc.ArgumentError, TypeError):
            raise ValueError("is not a database URL that SQLAlchemy can use") from None
        if self._engine.dialect.is_async:
            raise ValueError(f"{self._engine.dialect.driver} is an asyncio driver: use a synchronous one")
        self.driver.attach(self._engine)
        _import_lazy_modules()

    def select(self, query: str, user: str, deadline: float, max_rows: int) -> Rows:
        """The first rows of the query for a user; BackendError if it fails or the deadline passes."""
        deadline = min(deadline, time.monotonic() + self._timeout)
        query = self.driver.with_limit(query, max_rows)
        with self._translated_errors(deadline):
            try:
                with self._result(query, {"user": user}, deadline) as result:
                    return Rows(tuple(result.keys()), result.fetchmany(max_rows))
            except Exception as error:
                if not user.isascii() and self.driver.is_untranslatable(getattr(error, "orig", None) or error):
                    return Rows((), ())  # no row can hold this name
                raise

    def stream(self, query: str, deadline: float) -> Generator[Rows, None, None]:
        """All rows in batches; BackendError as in select(). Closing the generator leaves the rest unloaded."""
        deadline = min(deadline, time.monotonic() + self._timeout)
        with contextlib.ExitStack() as cleanup:
            with self._translated_errors(deadline):
                result = cleanup.enter_context(self._result(query, {}, deadline))
                columns = tuple(result.keys())
            size = MIN_BATCH_ROWS
            while True:
                with self._translated_errors(deadline):
                    rows = result.fetchmany(size)
                yield Rows(columns, rows)
                if len(rows) < size:  # the last batch
                    return
                length = sum(len(value) for row in rows for value in row if isinstance(value, Sized))
                size = min(2 * size, MAX_BATCH_ROWS) if length < SMALL_BATCH_LENGTH else max(size // 4, 1)

    def close(self) -> None:
        """Close all idle connections now, and those in use when they are released."""
        self._closed = True
        self._engine.dispose()

    @contextlib.contextmanager
    def _result(self, query: str, values: Mapping[str, str], deadline: float) -> "Iterator[CursorResult[Any]]":
        """The result of the query, whose connection is then released; TimeoutError if none is free by the deadline."""
        if not self._free.acquire(timeout=remaining(deadline)):
            raise TimeoutError("all connections are in use")
        try:
            connection, result = self._execute(query, values, deadline)
            try:
                yield result
            finally:
                with within(deadline), contextlib.suppress(Exception), connection:
                    if self._closed:
                        connection.invalidate()  # dispose() has replaced the pool that it would return to
                    else:
                        result.close()
        finally:
            self._free.release()

    def _execute(
        self, query: str, values: Mapping[str, str], deadline: float
    ) -> "tuple[Connection, CursorResult[Any]]":
        """A connection, which the caller closes, and the result; tries twice if the first connection is broken."""
        options = {} if values else _STREAMED
        for may_retry in (True, False):
            connection = self._engine.connect()
            try:
                self.driver.prepare(connection, max(deadline - time.monotonic(), 0.001), streaming=not values)
                return connection, connection.execute(text(query), values, execution_options=options)
            except BaseException as error:
                connection.close()
                broken = isinstance(error, exc.DBAPIError) and error.connection_invalidated
                if not (broken and may_retry and time.monotonic() < deadline):
                    raise
        raise AssertionError  # the second attempt returns or raises

    @contextlib.contextmanager
    def _translated_errors(self, deadline: float) -> Iterator[None]:
        """Apply the deadline, and turn every exception into a BackendError with the database and the cause only."""
        try:
            with within(deadline):
                yield
        except Exception as error:  # drivers raise anything for values that Python cannot represent
            raise BackendError(f"sql {self.name}: {_cause_of(error)}") from error


def _parse_url(address: str, password: str | None) -> URL:
    """The database URL with the password; ValueError, which shows no part of it, if it is invalid."""
    try:
        url = make_url(address)
        database_type = url.get_backend_name()
        url = url.set(drivername=DEFAULT_DRIVERS.get(url.drivername, url.drivername))
        url.get_dialect()
    except exc.NoSuchModuleError:
        hint = did_you_mean(database_type, sqlalchemy.dialects.__all__)
        raise ValueError(f"unknown database type {url.drivername}{hint}") from None
    except (exc.ArgumentError, ValueError):
        raise ValueError("must be a database URL such as postgresql://user@host/database") from None
    if "@" in (url.host or ""):
        raise ValueError("write @ in a password as %40, or use password_file")
    if password is None:
        return url
    if url.password is not None:
        raise ValueError("already contains a password")
    return url.set(password=password)


def _cause_of(error: BaseException) -> str:
    """The error message of the database or its driver on one line, without the statement and its values."""
    message = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    return DEADLINE_PASSED if message == "interrupted" else re.sub(r"\s+", " ", message) or type(error).__name__


def _import_lazy_modules() -> None:
    """Run one query in memory: SQLAlchemy imports some modules at first use, which would be too late in a chroot."""
    engine = create_engine("sqlite://", future=True)
    with engine.connect() as connection:
        connection.execute(text("SELECT :user AS login"), {"user": ""}, execution_options=_STREAMED).all()
        with contextlib.suppress(exc.SQLAlchemyError):
            connection.execute(text("SELECT FROM"))
    engine.dispose()
