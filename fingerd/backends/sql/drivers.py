"""What each kind of database is told so that its answers come within a deadline, and nothing is written to it.

A deadline is noted for the thread that asks. SQLite asks every few thousand
steps whether it is late.
"""

import contextlib
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import event, exc, text
from sqlalchemy.engine import URL, Connection, Engine

from fingerd.config.system_options import resolve_path
from fingerd.net.resolver import missing_for_names
from fingerd.net.stream import is_address
from fingerd.text import read_text

STEPS = 10_000  # of SQLite's machine between two looks at the clock, well below a millisecond
LOOK = 0.005  # seconds between two looks at SQLite's file, each of which lets other threads have the interpreter
TEMPORARY = ("var/tmp", "usr/tmp", "tmp")  # where SQLite sorts what is too much for its memory


class _Due(threading.local):
    """The deadline of what this thread asks for now, in ``time.monotonic()`` seconds."""

    at: float = math.inf


due = _Due()


@contextlib.contextmanager
def until(deadline: float) -> Iterator[None]:
    """Let whatever this thread asks a database for in the block fail at the deadline."""
    before, due.at = due.at, deadline
    try:
        yield
    finally:
        due.at = before


class Driver:
    """A kind of database of which nothing is known: its driver has to keep the time by itself."""

    def __init__(self, url: URL) -> None:
        self.url = url

    @property
    def address(self) -> str:
        """The address as a log may show it: nothing of what stands in it besides host, port and database."""
        url = self.url
        host = f"[{url.host}]" if url.host and ":" in url.host else url.host or ""
        port = f":{url.port}" if url.port else ""
        return f"{url.get_backend_name()}://{host}{port}/{url.database or ''}"

    def options(self, seconds: float) -> Mapping[str, Any]:
        """What ``create_engine`` is told, where a query has at most so many seconds."""
        return {}

    def attach(self, engine: Engine) -> None:
        """Look after the connections that the engine is going to have."""

    def prepare(self, connection: Connection, seconds: float, streaming: bool) -> None:
        """Make a connection ready for a statement that has so long; ``streaming``, if its rows come by and by."""

    def limited(self, query: str, most: int) -> str:
        """The query, as far as can be so that it gives no more rows than these."""
        return query

    def is_untranslatable(self, error: BaseException) -> bool:
        """Whether it failed since the database's charset does not have a character of a parameter."""
        return isinstance(error, UnicodeEncodeError)

    def missing_requirements(self, root: Path, listing: str | None) -> Iterator[str]:
        """What is not there for it when ``root`` is the root directory; ``listing`` is the query for many rows."""
        if self.url.host and not is_address(self.url.host):
            yield from missing_for_names(root)


class Sqlite(Driver):
    """A file, opened for reading only, and anew where another file has taken its place."""

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        if url.host or not url.database or url.database.startswith((":memory:", "file:")) or url.query:
            raise ValueError("a file of SQLite is given as sqlite:/// and its path, without anything after it")
        if url.password or url.username:
            raise ValueError("SQLite knows no users and no passwords")
        self._path = resolve_path(url.database)
        self._seconds = 0.0
        self._seen: tuple[tuple[int, int] | None, float] = None, -math.inf  # which file was there, and when

    @property
    def address(self) -> str:
        """The absolute path."""
        return f"sqlite:///{self._path}"

    def options(self, seconds: float) -> Mapping[str, Any]:
        """Connections of our own making."""
        self._seconds = seconds
        return {"creator": self._open}

    def attach(self, engine: Engine) -> None:
        """Look at the file before each use, but not more often than every few milliseconds."""
        event.listen(engine, "checkout", self._check)

    def prepare(self, connection: Connection, seconds: float, streaming: bool) -> None:
        """Wait no longer than this for whoever is writing."""
        tell(connection, "PRAGMA busy_timeout = {}", seconds)

    def limited(self, query: str, most: int) -> str:
        """The query inside of another one."""
        return first_rows(query, most)

    def missing_requirements(self, root: Path, listing: str | None) -> Iterator[str]:
        """The file, and a folder for sorting where the list needs that."""
        path = root / self._path.lstrip("/")
        if not path.is_file():
            yield f"there is no file {path}"
        elif listing and not any((root / folder).is_dir() for folder in TEMPORARY) and _is_sorted(path, listing):
            yield f"there is no folder {root / 'tmp'}, nor var/tmp, for sorting the list: make one, or an index"

    def _open(self) -> "_File":
        identity = self._look()  # before, so that another file can only be taken for an older one
        file = sqlite3.connect(
            f"file:{quote(self._path)}?mode=ro",
            uri=True,
            factory=_File,
            timeout=self._seconds,
            isolation_level=None,
            check_same_thread=False,  # they serve all threads, but one at a time
        )
        file.identity = identity
        file.text_factory = read_text
        file.set_progress_handler(_is_late, STEPS)
        return file

    def _check(self, file: Any, *_: object) -> None:
        identity, at = self._seen
        if file.identity == identity and time.monotonic() < at + LOOK:
            return
        if file.identity != self._look():
            raise exc.DisconnectionError

    def _look(self) -> tuple[int, int] | None:
        at = time.monotonic()  # before, so that it can only be taken for older than it is
        identity = _identity(self._path)
        self._seen = identity, at
        return identity


class _File(sqlite3.Connection):
    identity: tuple[int, int] | None


def _identity(path: str) -> tuple[int, int] | None:
    """The device and the number of the file of now; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_sorted(path: Path, query: str) -> bool:
    """Whether SQLite needs a table of its own for the query, which it writes to a folder where it is large."""
    statement = str(text(query).compile())
    uri = f"file:{quote(str(path.absolute()))}?immutable=1"  # makes no files beside it, which would be root's
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as file:
            return any("TEMP B-TREE" in row[-1] for row in file.execute(f"EXPLAIN QUERY PLAN {statement}"))
    except sqlite3.Error:  # which the first query says, too
        return False


def first_rows(query: str, most: int) -> str:
    """The first rows of a query, by a LIMIT around it: no other row is sent, or loaded."""
    inner = query.rstrip("; \t\r\n")
    return f"SELECT * FROM (\n{inner}\n) AS people LIMIT {most}"  # noqa: S608 - the configuration's own words


def _is_late() -> bool:
    return time.monotonic() > due.at


def tell(connection: Connection, statement: str, seconds: float) -> None:
    """Tell the database how many milliseconds it has, where that is not what it has been told last.

    Of tenths of a second there are only so many, so it seldom has to be told anew.
    """
    milliseconds = int(seconds * 10) * 100 or max(1, int(seconds * 1000))
    if connection.info.get(tell) != milliseconds:
        connection.exec_driver_sql(statement.format(milliseconds))
        connection.info[tell] = milliseconds
