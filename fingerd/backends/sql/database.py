"""A database that many threads query: its engine, its connection pool, and rows by a deadline.

Everything is loaded at start-up; the first query connects, after root is dropped. A broken connection, as all are after
a restart of the server, is replaced once without an error.
"""

import contextlib
import logging
import math
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sized
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import sqlalchemy
import sqlalchemy.dialects
from sqlalchemy import create_engine, event, exc
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.pool import QueuePool

from fingerd.backends.sql.driver import MIN_BATCH_ROWS, Driver, Listing, Rows, within
from fingerd.backends.sql.postgresql import Postgresql
from fingerd.backends.sql.sqlite import Sqlite
from fingerd.backends.sql.statement import Statement, compile_statement
from fingerd.config.values import did_you_mean
from fingerd.errors import BackendError
from fingerd.net.deadline import DEADLINE_PASSED, remaining
from fingerd.text import one_line

log = logging.getLogger(__name__)

MAX_BATCH_ROWS = 320
SMALL_BATCH_LENGTH = 1 << 16  # bytes or characters: below this the next batch is larger; most answers are a few batches
DRIVER_TYPES: Mapping[str, type[Driver]] = {"sqlite": Sqlite, "postgresql": Postgresql}
DEFAULT_DRIVERS = {"postgresql": "postgresql+psycopg2"}  # SQLAlchemy's own default depends on its version
# By the module of a driver.
PACKAGES = {
    "psycopg2": "pip install psycopg2-binary, or Debian's python3-psycopg2",
    "MySQLdb": "pip install mysqlclient, or Debian's python3-mysqldb",
    "pymysql": "pip install PyMySQL, or Debian's python3-pymysql",
}

_CONNECTED_AT = "connected at"  # in the information about a connection: time.monotonic()
_Result = TypeVar("_Result")
_Connection = TypeVar("_Connection", bound="Pooled")

# The pool logs with a traceback each connection that breaks when it is returned. The BackendError reports it already.
_POOL_NAME = "fingerd"
logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{_POOL_NAME}").setLevel(logging.CRITICAL + 1)


class Pooled(Protocol):
    """A connection of the pool, as SQLAlchemy has it with and without its own layer."""

    def invalidate(self) -> None:
        """Close the connection; the pool opens another in its place."""

    def close(self) -> None:
        """Return it to the pool."""


class Database:
    """A database that all threads share; ``timeout`` (seconds) is for a lookup. ValueError for an unusable URL."""

    def __init__(self, url: str, password: str | None, timeout: float, connections: int) -> None:
        self._timeout = timeout
        self._places: SimpleQueue[None] = SimpleQueue()  # one for each connection: the pool's own wait has no deadline
        for _ in range(connections):
            self._places.put(None)
        self._closed = False
        self._broken_at = -math.inf  # when a connection was last found broken
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
                pool_reset_on_return=self.driver.reset_on_return,
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
        event.listen(self._engine, "connect", self._note_age)
        event.listen(self._engine, "checkout", self._check_age)
        self.driver.attach(self._engine)
        _import_lazy_modules()

    def compile(self, query: str, max_rows: int | None = None) -> Statement:
        """The statement for the driver, with a limit of ``max_rows`` where the database knows one."""
        limited = query if max_rows is None else self.driver.with_limit(query, max_rows)
        return compile_statement(limited, self._engine.dialect)

    def select(self, statement: Statement, user: str, deadline: float, max_rows: int) -> Rows:
        """The first rows of the query for a user; BackendError if it fails or the deadline passes."""
        deadline = min(deadline, time.monotonic() + self._timeout)

        def select(connection: Any, seconds: float) -> Rows:
            return self.driver.select(connection, statement, user, seconds, max_rows)

        with self._translated_errors(deadline):
            self._take_place(deadline)
            try:
                connection, rows = self._execute(self._engine.raw_connection, select, deadline)
                self._release(connection)
                return rows
            except Exception as error:
                if not user.isascii() and self.driver.is_untranslatable(_original(error)):
                    return Rows((), ())  # no row can hold this name
                raise
            finally:
                self._places.put(None)

    def stream(self, statement: Statement, deadline: float) -> Generator[Rows, None, None]:
        """All rows in batches; BackendError as in select(). Closing the generator leaves the rest unloaded."""
        deadline = min(deadline, time.monotonic() + self._timeout)

        def open_list(connection: Connection, seconds: float) -> Listing:
            return self.driver.open_list(connection, statement, seconds)

        with contextlib.ExitStack() as cleanup:
            with self._translated_errors(deadline):
                self._take_place(deadline)
                cleanup.callback(self._places.put, None)
                connection, listing = self._execute(self._engine.connect, open_list, deadline)
                cleanup.callback(self._end_list, connection, listing, deadline)
            size = MIN_BATCH_ROWS
            while True:
                with self._translated_errors(deadline):
                    rows = listing.fetch(size)
                yield Rows(listing.columns, rows)
                if len(rows) < size:  # the last batch
                    return
                length = sum(len(value) for row in rows for value in row if isinstance(value, Sized))
                size = min(2 * size, MAX_BATCH_ROWS) if length < SMALL_BATCH_LENGTH else max(size // 4, 1)

    def close(self) -> None:
        """Close all idle connections now, and those in use when they are released."""
        self._closed = True
        self._engine.dispose()

    def _take_place(self, deadline: float) -> None:
        """Take the right to use one connection; TimeoutError if all are in use until the deadline."""
        try:
            self._places.get(timeout=remaining(deadline))
        except Empty:
            raise TimeoutError("all connections are in use") from None

    def _execute(
        self, connect: Callable[[], _Connection], execute: Callable[[_Connection, float], _Result], deadline: float
    ) -> tuple[_Connection, _Result]:
        """A connection, which the caller releases, and what ``execute`` returns for it and the seconds left.

        Tries twice if the first connection is broken.
        """
        for may_retry in (True, False):
            connection = connect()
            try:
                return connection, execute(connection, max(deadline - time.monotonic(), 0.001))
            except BaseException as error:
                broken = self._is_broken(connection, error)
                if broken:
                    self._broken_at = time.monotonic()
                    connection.invalidate()
                self._release(connection)
                if not (broken and may_retry and time.monotonic() < deadline):
                    raise
        raise AssertionError  # the second attempt returns or raises

    def _is_broken(self, connection: Any, error: BaseException) -> bool:
        """Whether the connection cannot be used again after this error."""
        if not isinstance(error, Exception) or getattr(error, "connection_invalidated", False):
            return True
        dialect: Any = self._engine.dialect
        pooled = connection.connection if isinstance(connection, Connection) else connection
        return isinstance(error, dialect.dbapi.Error) and dialect.is_disconnect(error, pooled.dbapi_connection, None)

    def _release(self, connection: Pooled) -> None:
        """Return a connection to the pool; close it if the pool was closed meanwhile."""
        try:
            if self._closed:
                connection.invalidate()  # dispose() has replaced the pool that it would return to
            connection.close()
        except Exception:  # the connection is not used again
            log.debug("sql %s: a connection cannot be returned", self.name, exc_info=True)

    def _end_list(self, connection: Pooled, listing: Listing, deadline: float) -> None:
        with within(deadline):
            try:
                listing.close()
            except Exception:
                connection.invalidate()
            self._release(connection)

    def _note_age(self, connection: object, record: Any) -> None:
        """Event handler: a new connection."""
        record.info[_CONNECTED_AT] = time.monotonic()

    def _check_age(self, connection: object, record: Any, *_: object) -> None:
        """Event handler: DisconnectionError for a connection that is older than a failure of another one."""
        if record.info[_CONNECTED_AT] < self._broken_at:  # a restart of the server breaks all: the pool replaces each
            raise exc.DisconnectionError

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
    message = str(_original(error)).strip().partition("\n")[0]
    return DEADLINE_PASSED if message == "interrupted" else re.sub(r"\s+", " ", message) or type(error).__name__


def _original(error: BaseException) -> BaseException:
    """The driver's exception, without SQLAlchemy's around it."""
    original = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error


def _import_lazy_modules() -> None:
    """Run one query in memory: SQLAlchemy imports some modules at first use, which would be too late in a chroot."""
    engine = create_engine("sqlite://", future=True)
    with engine.connect() as connection:
        Driver(engine.url).open_list(connection, Statement("SELECT 1", (), True), 1).close()
        with contextlib.suppress(exc.SQLAlchemyError):
            connection.exec_driver_sql("SELECT FROM")
    engine.dispose()
