"""Last logins: from lastlog(8) and from its successors, the SQLite databases of wtmpdb and lastlog2.

Debian 12 writes lastlog. Debian 13 writes none of them, unless libpam-wtmpdb, or libpam-lastlog2 and lastlog2, are
installed. All sources are read, and the newest login counts, since a file may be left over from before an upgrade.
"""

import os
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from fingerd.backends.system.facts import signature, warn_once
from fingerd.backends.system.utmp import TIMES_OF_64_BITS, field_text, remote_host
from fingerd.people import LastLogin
from fingerd.safe_files import RESOURCE_ERRNOS
from fingerd.text import read_text

LASTLOG = "/var/log/lastlog"
WTMPDB = ("/var/lib/wtmpdb/wtmp.db", "/var/log/wtmp.db")  # wtmpdb 0.7 moved it and left a link
LASTLOG2 = ("/var/lib/lastlog/lastlog2.db",)

BUSY_SECONDS = 0.5  # to wait for a lock on a database; a login locks it for some ms
CACHE_SECONDS = 2.0  # for which a database is cached even if it changes: a large one takes some 0.1 s to read
RETRY_SECONDS = 10.0  # after a database could not be read

# bits/utmp.h: ll_time, ll_line[32], ll_host[256]; a record for each uid.
RECORD = struct.Struct("=q32s256s" if TIMES_OF_64_BITS else "=I32s256s")

# wtmpdb(8): a row for each boot (Type 1) and each login (Type 3), times in microseconds, new rows last. SQLite takes
# the other columns from the row with the maximum.
_WTMPDB_QUERY = "SELECT MAX(ID), User, Login / 1e6, TTY, RemoteHost FROM wtmp WHERE Type = 3 GROUP BY User"
# lastlog2(8): a row for each user, times in seconds.
_LASTLOG2_QUERY = "SELECT 0, Name, Time, TTY, RemoteHost FROM Lastlog2"


class LastLogins:
    """The last login of each user, from all existing sources; shared by all threads."""

    def __init__(
        self, lastlog: str = LASTLOG, wtmpdb: Sequence[str] = WTMPDB, lastlog2: Sequence[str] = LASTLOG2
    ) -> None:
        self._lastlog = lastlog
        self._databases = (_Database(wtmpdb, _WTMPDB_QUERY), _Database(lastlog2, _LASTLOG2_QUERY))

    def for_login(self, login: str, uid: int) -> LastLogin | None:
        """The last login, which may be "never"; None if it is unknown. Raises OSError if the host fails."""
        in_databases = [database.find(login) for database in self._databases]
        in_lastlog = self._read_lastlog(uid)
        if in_lastlog and in_lastlog.when is None and any(database.exists for database in self._databases):
            in_lastlog = None  # not "never": a database may be newer than the last login, or have been shortened
        return max(filter(None, [in_lastlog, *in_databases]), key=lambda login: login.when or 0, default=None)

    def _read_lastlog(self, uid: int) -> LastLogin | None:
        try:
            with open(self._lastlog, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), RECORD.size, uid * RECORD.size)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in RESOURCE_ERRNOS:
                raise
            warn_once("last logins of lastlog", str(error))
            return None
        when, terminal, host = RECORD.unpack(data) if len(data) == RECORD.size else (0, b"", b"")
        return _last_login(when, field_text(terminal), field_text(host))


def missing_last_logins(root: Path) -> Iterator[str]:
    """A message if no source exists below ``root``."""
    paths = (LASTLOG, *WTMPDB, *LASTLOG2)
    if not any(root.joinpath(path.lstrip("/")).exists() for path in paths):
        yield f"last logins are unavailable: there is none of {', '.join(paths)}"


class _Database:
    """An SQLite database at the first existing path, cached in memory until it changes."""

    def __init__(self, paths: Sequence[str], query: str) -> None:
        self._paths = paths
        self._query = query
        self._lock = threading.Lock()
        self._signature: object = None  # of the file that was read
        self._valid_until = 0.0  # the file is not read again before that, in time.monotonic() seconds
        self._logins: Mapping[str, LastLogin] = {}
        self.exists = False

    def find(self, login: str) -> LastLogin | None:
        """The last login; None without one, without a database, or if it could never be read."""
        existing = ((path, current) for path in self._paths if (current := signature(path)))
        path, current = next(existing, ("", None))
        self.exists = current is not None
        if current is None:
            return None
        if self._is_stale(current):
            with self._lock:
                if self._is_stale(current):
                    self._read(path, current)
        return self._logins.get(login)

    def _is_stale(self, current: object) -> bool:
        return self._signature != current and time.monotonic() >= self._valid_until

    def _read(self, path: str, current: object) -> None:
        try:
            self._logins = dict(_rows(path, self._query))
        except sqlite3.Error as error:
            self._valid_until = time.monotonic() + RETRY_SECONDS
            warn_once(f"last logins of {path}", str(error))
        else:
            self._signature, self._valid_until = current, time.monotonic() + CACHE_SECONDS


def _rows(path: str, query: str) -> Iterator[tuple[str, LastLogin]]:
    with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        connection.text_factory = read_text
        for _, login, when, terminal, host in connection.execute(query):
            if isinstance(when, int | float):  # a column of SQLite can hold any type
                yield str(login), _last_login(float(when), _text(terminal), _text(host))


def _last_login(when: float, terminal: str, host: str) -> LastLogin:
    return LastLogin(when or None, terminal, remote_host(terminal, host))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
