"""SQLite files, opened read-only.

SQLite calls a progress handler every few thousand instructions, which interrupts a statement whose deadline has passed.
"""

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine

from fingerd.backends.sql.driver import Driver, Listing, Rows, columns_of, current_deadline
from fingerd.backends.sql.statement import Statement
from fingerd.config.system_options import resolve_path
from fingerd.text import read_text

PROGRESS_STEPS = 10_000  # instructions of SQLite's virtual machine between two checks, well below a millisecond
RECHECK_SECONDS = 0.005  # between two checks for a replaced file, each of which releases the interpreter lock
TEMPORARY_DIRECTORIES = ("var/tmp", "usr/tmp", "tmp")  # where SQLite sorts what does not fit into its memory

_FileId = tuple[int, int]  # device and inode


class Sqlite(Driver):
    """A file. Its connections are replaced when another file has taken its place."""

    supports_limit = True
    reset_on_return = None

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        if url.host or not url.database or url.database.startswith((":memory:", "file:")) or url.query:
            raise ValueError("must be sqlite:/// and the path of a file, and nothing else")
        if url.password or url.username:
            raise ValueError("SQLite has no users and no passwords")
        self._path = resolve_path(url.database)
        self.address = f"sqlite:///{self._path}"
        self._timeout = 0.0
        self._last_check: tuple[_FileId | None, float] = None, -math.inf  # which file was found, and when

    def engine_options(self, timeout: float) -> Mapping[str, Any]:
        """A function that opens the file."""
        self._timeout = timeout
        return {"creator": self._open}

    def attach(self, engine: Engine) -> None:
        """Check at each checkout whether the file was replaced."""
        event.listen(engine, "checkout", self._check_file)

    def select(self, connection: Any, statement: Statement, user: str, seconds: float, max_rows: int) -> Rows:
        """As in the base class, and waits at most so many seconds for another process's lock."""
        _wait_for_locks(connection.dbapi_connection, seconds)
        return super().select(connection, statement, user, seconds, max_rows)

    def open_list(self, connection: Connection, statement: Statement, seconds: float) -> Listing:
        """As in the base class, and waits at most so many seconds for another process's lock."""
        raw: Any = connection.connection.dbapi_connection
        _wait_for_locks(raw, seconds)
        cursor = raw.execute(statement.sql)
        return Listing(columns_of(cursor), cursor.fetchmany, cursor.close)

    def missing_requirements(self, root: Path, list_query: str | None) -> Iterator[str]:
        """The file, and a temporary directory if the list is sorted without an index."""
        path = root / self._path.lstrip("/")
        can_sort = any((root / directory).is_dir() for directory in TEMPORARY_DIRECTORIES)
        if not path.is_file():
            yield f"there is no file {path}"
        elif list_query and not can_sort and _needs_sorting(path, list_query):
            yield f"list_query sorts without an index: add an index, or the directory {root / 'tmp'}"

    def _open(self) -> "_SqliteConnection":
        file_id = self._read_file_id()  # first: if the file is replaced meanwhile, the connection is replaced too
        if file_id and not os.path.isfile(self._path):
            raise sqlite3.OperationalError("unable to open database file")  # opening a FIFO waits
        connection = sqlite3.connect(
            f"file:{quote(self._path)}?mode=ro",
            uri=True,
            factory=_SqliteConnection,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,  # the pool lends a connection to one thread at a time
        )
        connection.file_id = file_id
        connection.text_factory = read_text
        connection.set_progress_handler(lambda: time.monotonic() > current_deadline.at, PROGRESS_STEPS)
        return connection

    def _check_file(self, connection: Any, *_: object) -> None:
        """DisconnectionError if the file was replaced: the pool then opens a new connection."""
        file_id, checked_at = self._last_check
        if connection.file_id == file_id and time.monotonic() < checked_at + RECHECK_SECONDS:
            return
        if connection.file_id != self._read_file_id():
            raise exc.DisconnectionError

    def _read_file_id(self) -> _FileId | None:
        """Which file is at the path; None if there is none."""
        checked_at = time.monotonic()  # before stat(), so that the result is never taken for newer than it is
        file_id = None
        with contextlib.suppress(OSError):
            status = os.stat(self._path)
            file_id = status.st_dev, status.st_ino
        self._last_check = file_id, checked_at
        return file_id


class _SqliteConnection(sqlite3.Connection):
    file_id: _FileId | None
    lock_milliseconds: int | None = None  # the busy time-out that is set


def _wait_for_locks(connection: _SqliteConnection, seconds: float) -> None:
    """Set the busy time-out, unless the connection has it already."""
    # Rounded down to tenths of a second, so that it seldom changes.
    milliseconds = int(seconds * 10) * 100 or max(1, int(seconds * 1000))
    if connection.lock_milliseconds != milliseconds:
        connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
        connection.lock_milliseconds = milliseconds


def _needs_sorting(path: Path, query: str) -> bool:
    """Whether SQLite sorts the rows of the query in a temporary table, which it writes to disk if it is large."""
    uri = f"file:{quote(str(path.absolute()))}?immutable=1"  # creates no -wal or -shm file, which root would own
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            return any("TEMP B-TREE" in row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    except sqlite3.Error:  # the first lookup reports it
        return False
