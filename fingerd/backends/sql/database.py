"""A database, asked by many threads: its address, its connections, and rows by a deadline.

It is set up at the start, and first connected to by the first query, when the
process is what it is going to be. A connection that turns out to be broken,
as all are after the server's restart, is replaced once without a word.
"""

import contextlib
import logging
import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy
import sqlalchemy.dialects
from sqlalchemy import create_engine, exc, text
from sqlalchemy.engine import URL, Connection, CursorResult, make_url
from sqlalchemy.pool import QueuePool

from fingerd.backends.sql.drivers import Driver, Sqlite, until
from fingerd.backends.sql.postgresql import Postgresql
from fingerd.config.values import did_you_mean
from fingerd.errors import BackendError
from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.text import one_line

BATCH = 20  # rows that are fetched together at first
MOST_ROWS = 320  # that are fetched together where they are small
SMALL_BYTES = 1 << 16  # of a batch after which the next one may be larger; an answer is seldom more than a few of them
KINDS: Mapping[str, type[Driver]] = {"sqlite": Sqlite, "postgresql": Postgresql}
DRIVERS = {"postgresql": "postgresql+psycopg2"}  # SQLAlchemy's own choice depends on its version
PACKAGES = {  # that bring a module which is missing
    "psycopg2": "pip install 'fingerd[postgresql]', or Debian's python3-psycopg2",
}

_STREAMED: Mapping[str, Any] = {"stream_results": True, "max_row_buffer": BATCH}  # what is not fetched is not loaded

# The pool's own words about connections that break while they are given back: with a traceback, and told by us before.
_POOL_NAME = "fingerd"
logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{_POOL_NAME}").setLevel(logging.CRITICAL + 1)


class Rows(NamedTuple):
    """Some rows, and the names of their columns."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


def parameters_of(query: str) -> frozenset[str]:
    """The names that stand for values in a query, as ``:user``; in quotes and comments too."""
    return frozenset(text(query).compile().params)


class Database:
    """A database that can be asked by all threads, over at most so many connections."""

    def __init__(self, address: str, password: str | None, seconds: float, connections: int) -> None:
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(connections)  # waiting for it has a deadline, for the pool's it has not
        self._closed = False
        try:
            url = _read_address(address, password)
            self._driver = KINDS.get(url.get_backend_name(), Driver)(url)
            self.name = self._driver.address
            self._engine = create_engine(
                url,
                future=True,  # what SQLAlchemy 2 does anyway
                poolclass=QueuePool,
                pool_size=connections,
                max_overflow=0,
                pool_use_lifo=True,
                pool_logging_name=_POOL_NAME,
                **self._driver.options(seconds),
            )
        except ModuleNotFoundError as error:
            package = PACKAGES.get(error.name or "")
            raise ValueError(
                f"needs {error.name}, which is not installed{f' ({package})' if package else ''}"
            ) from None
        except ImportError as error:  # as where a library of the system is not there, which the driver is linked with
            raise ValueError(f"needs a driver that does not load: {one_line(str(error))}") from None
        except (exc.ArgumentError, TypeError):
            raise ValueError("this is no address of a database that can be asked") from None
        if self._engine.dialect.is_async:
            raise ValueError(f"the driver {self._engine.dialect.driver} is for programs of another kind")
        self._driver.attach(self._engine)
        _warm_up()

    def select(self, query: str, user: str, deadline: float, most: int) -> Rows:
        """At most this many rows about a user; BackendError where the database cannot tell by then."""
        deadline = min(deadline, time.monotonic() + self._seconds)
        query = self._driver.limited(query, most)
        with contextlib.ExitStack() as left, self._told(deadline):
            left.enter_context(self._turn(deadline))
            try:
                connection, result = self._ask(query, {"user": user}, deadline)
            except Exception as error:
                if not user.isascii() and self._driver.is_untranslatable(getattr(error, "orig", None) or error):
                    return Rows((), ())  # a name that no row can hold
                raise
            left.callback(self._give_back, connection, result, deadline)
            return Rows(tuple(result.keys()), result.fetchmany(most))

    def stream(self, query: str, deadline: float) -> Generator[Rows, None, None]:
        """All rows, some at a time; what is left when nobody wants more is not loaded."""
        deadline = min(deadline, time.monotonic() + self._seconds)
        with contextlib.ExitStack() as left:
            with self._told(deadline):
                left.enter_context(self._turn(deadline))
                connection, result = self._ask(query, {}, deadline)
                left.callback(self._give_back, connection, result, deadline)
                columns = tuple(result.keys())
            size = BATCH
            while True:
                with self._told(deadline):
                    rows = result.fetchmany(size)
                yield Rows(columns, rows)
                if len(rows) < size:  # these are the last ones
                    return
                size = min(2 * size, MOST_ROWS) if _bytes_of(rows) < SMALL_BYTES else max(size // 4, 1)

    def close(self) -> None:
        """Close the connections that wait for the next query, and whatever is given back later."""
        self._closed = True
        self._engine.dispose()

    def missing_requirements(self, root: Path, listing: str | None) -> Iterator[str]:
        """What is not there for it when ``root`` is the root directory; ``listing`` is the query for many rows."""
        return self._driver.missing_requirements(root, listing)

    def _ask(self, query: str, values: Mapping[str, str], deadline: float) -> "tuple[Connection, CursorResult[Any]]":
        """A connection, to be closed by the caller, and what comes over it; once more where it was broken before."""
        for again in (True, False):
            connection = self._engine.connect()
            try:
                self._driver.prepare(connection, max(deadline - time.monotonic(), 0.001), streaming=not values)
                return connection, connection.execute(
                    text(query), values, execution_options={} if values else _STREAMED
                )
            except BaseException as error:
                connection.close()
                broken = isinstance(error, exc.DBAPIError) and error.connection_invalidated
                if not (broken and again and time.monotonic() < deadline):
                    raise
        raise AssertionError  # the second time has ended in one way or the other

    def _give_back(self, connection: Connection, result: "CursorResult[Any]", deadline: float) -> None:
        with until(deadline), contextlib.suppress(Exception), connection:
            if self._closed:
                connection.invalidate()  # the pool that it goes back to is nobody's any more
            else:
                result.close()

    @contextlib.contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        """One of the connections that there may be; TimeoutError where none is free by then."""
        if time.monotonic() >= deadline:
            raise TimeoutError(DEADLINE_PASSED)
        if not self._free.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise TimeoutError("all connections are in use")
        try:
            yield
        finally:
            self._free.release()

    @contextlib.contextmanager
    def _told(self, deadline: float) -> Iterator[None]:
        """Keep to the deadline, and make every failure one that tells the database and the cause, and nothing else."""
        try:
            with until(deadline):
                yield
        except Exception as error:  # drivers fail in any way at values that Python does not have
            raise BackendError(f"sql {self.name}: {_cause_of(error)}") from error


def _read_address(address: str, password: str | None) -> URL:
    """The address; ValueError, which shows nothing of it, for one that is none."""
    try:
        url = make_url(address)
        kind = url.get_backend_name()
        url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
        url.get_dialect()
    except exc.NoSuchModuleError:
        hint = did_you_mean(kind, sqlalchemy.dialects.__all__)
        raise ValueError(f"there is no kind of database called {url.drivername}{hint}") from None
    except (exc.ArgumentError, ValueError):
        raise ValueError("must be the address of a database, as postgresql://user@host/database") from None
    if "@" in (url.host or ""):
        raise ValueError("a @ in a password is written as %40, better put it into password_file")
    if password is not None:
        if url.password is not None:
            raise ValueError("has a password already")
        url = url.set(password=password)
    return url


def _cause_of(error: BaseException) -> str:
    """What the database or its driver said, in one line, without the statement and its values."""
    said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    return DEADLINE_PASSED if said == "interrupted" else re.sub(r"\s+", " ", said) or type(error).__name__


def _bytes_of(rows: Sequence[Sequence[object]]) -> int:
    """About how much memory the rows fill, beyond what every row does."""
    return sum(len(value) for row in rows for value in row if isinstance(value, Sized))


def _warm_up() -> None:
    """Ask something once, in memory: SQLAlchemy loads some of its modules when it needs them first."""
    engine = create_engine("sqlite://", future=True)
    with engine.connect() as connection:
        connection.execute(text("SELECT :user AS login"), {"user": ""}, execution_options=_STREAMED).all()
        with contextlib.suppress(exc.SQLAlchemyError):
            connection.execute(text("SELECT FROM"))
    engine.dispose()
