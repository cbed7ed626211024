"""When people logged in last: lastlog(8), and what came after it, the SQLite files of wtmpdb and lastlog2.

Debian 12 writes lastlog. Debian 13 writes none of them, unless libpam-wtmpdb
or libpam-lastlog2 is installed. All that are there are asked, and the newest
login counts, since a file may be left over from before an upgrade.
"""

import os
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from fingerd.backends.system.facts import leave_out, signature
from fingerd.backends.system.utmp import TIMES_OF_64_BITS, field_text
from fingerd.people import LastLogin
from fingerd.safe_files import RESOURCE_ERRNOS
from fingerd.text import read_text

LASTLOG = "/var/log/lastlog"
WTMPDB = ("/var/lib/wtmpdb/wtmp.db", "/var/log/wtmp.db")  # wtmpdb 0.7 moved it, and left a link
LASTLOG2 = ("/var/lib/lastlog/lastlog2.db",)

BUSY_SECONDS = 0.5  # that a database may be locked by who writes to it; a login locks it for some ms
AGE_SECONDS = 2.0  # for which what was read holds, even if more logins come: a long one takes some 0.1 s to read
RETRY_SECONDS = 10.0  # after which one that failed is tried again

# bits/utmp.h: ll_time, ll_line[32], ll_host[256]; a record for each uid.
RECORD = struct.Struct("=q32s256s" if TIMES_OF_64_BITS else "=I32s256s")

# wtmpdb(8): a row for each boot (Type 1) and each login (Type 3), times in microseconds, rows added at the end. SQLite
# gives the other columns of the row that has the maximum.
_IN_WTMPDB = "SELECT MAX(ID), User, Login / 1e6, TTY, RemoteHost FROM wtmp WHERE Type = 3 GROUP BY User"
# lastlog2(8): a row for each user, times in seconds.
_IN_LASTLOG2 = "SELECT 0, Name, Time, TTY, RemoteHost FROM Lastlog2"


class LastLogins:
    """The last login of everybody, from all sources that there are; shared by all threads."""

    def __init__(
        self, lastlog: str = LASTLOG, wtmpdb: Sequence[str] = WTMPDB, lastlog2: Sequence[str] = LASTLOG2
    ) -> None:
        self._lastlog = lastlog
        self._databases = (_Database(wtmpdb, _IN_WTMPDB), _Database(lastlog2, _IN_LASTLOG2))

    def of(self, login: str, uid: int) -> LastLogin | None:
        """The last login, which may be ``never``; None where nobody knows. OSError where the host fails.

        "Never" is told by a lastlog that is all there is. A database may have
        been begun, or shortened, since.
        """
        in_databases = [database.find(login) for database in self._databases]
        in_lastlog = self._in_lastlog(uid)
        if in_lastlog and in_lastlog.when is None and any(database.is_there for database in self._databases):
            in_lastlog = None
        return max(filter(None, [in_lastlog, *in_databases]), key=lambda login: login.when or 0, default=None)

    def _in_lastlog(self, uid: int) -> LastLogin | None:
        try:
            with open(self._lastlog, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), RECORD.size, uid * RECORD.size)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in RESOURCE_ERRNOS:
                raise
            leave_out("last logins of lastlog", str(error))
            return None
        when, terminal, host = RECORD.unpack(data) if len(data) == RECORD.size else (0, b"", b"")
        return LastLogin(when or None, field_text(terminal), field_text(host))


def missing_last_logins(root: Path) -> Iterator[str]:
    """A complaint where no source is below ``root``."""
    paths = (LASTLOG, *WTMPDB, *LASTLOG2)
    if not any(root.joinpath(path.lstrip("/")).exists() for path in paths):
        yield f"no last logins are told: there is none of {', '.join(paths)}"


class _Database:
    """A file of SQLite's, at the first of the paths where there is one. It is read anew when it has changed."""

    def __init__(self, paths: Sequence[str], question: str) -> None:
        self._paths = paths
        self._question = question
        self._lock = threading.Lock()
        self._read: object = None  # the signature of what was read
        self._until = 0.0  # how long that holds, or is left alone where it failed; time.monotonic()
        self._logins: Mapping[str, LastLogin] = {}
        self.is_there = False

    def find(self, login: str) -> LastLogin | None:
        """The newest login that is known; None for none, without a database, or where it never could be read."""
        path = next((path for path in self._paths if _size(path)), None)  # an empty one is no database yet
        self.is_there = path is not None
        if path is None:
            return None
        now = signature(path)
        if self._is_due(now):
            with self._lock:
                if self._is_due(now):
                    self._read_all(path, now)
        return self._logins.get(login)

    def _is_due(self, now: object) -> bool:
        return self._read != now and time.monotonic() >= self._until

    def _read_all(self, path: str, now: object) -> None:
        try:
            self._logins = dict(_rows(path, self._question))
        except sqlite3.Error as error:
            self._until = time.monotonic() + RETRY_SECONDS
            leave_out(f"last logins of {path}", str(error))
        else:
            self._read, self._until = now, time.monotonic() + AGE_SECONDS


def _rows(path: str, question: str) -> Iterator[tuple[str, LastLogin]]:
    connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    try:
        connection.text_factory = read_text
        for _, login, when, terminal, host in connection.execute(question):
            if isinstance(when, int | float):  # SQLite holds anything anywhere
                yield str(login), LastLogin(float(when) or None, _shown(terminal), _shown(host))
    finally:
        connection.close()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _shown(value: object) -> str:
    return value if isinstance(value, str) else ""
