"""When people logged in last: lastlog(8), and what came after it, the SQLite files of wtmpdb and lastlog2.

Debian 12 writes lastlog. Debian 13 writes none of them, unless libpam-wtmpdb
or libpam-lastlog2 is installed. All that are there are asked, and the newest
login counts, since a file may be left over from before an upgrade.
"""

import os
import sqlite3
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from fingerd.people import LastLogin
from fingerd.sources import leave_out
from fingerd.utmp import TIMES_OF_64_BITS, field_text

LASTLOG = "/var/log/lastlog"
WTMPDB = ("/var/lib/wtmpdb/wtmp.db", "/var/log/wtmp.db")  # wtmpdb 0.7 moved it, and left a link
LASTLOG2 = ("/var/lib/lastlog/lastlog2.db",)

BUSY_SECONDS = 0.5  # that a database may be locked by who writes to it; a login locks it for some ms

# bits/utmp.h: ll_time, ll_line[32], ll_host[256]; a record for each uid.
_RECORD = struct.Struct("=q32s256s" if TIMES_OF_64_BITS else "=I32s256s")

# wtmpdb(8): a row for each boot (Type 1) and each login (Type 3), times in microseconds; rows are added at the end.
_LAST_IN_WTMPDB = "SELECT Login / 1e6, TTY, RemoteHost FROM wtmp WHERE User = ? AND Type = 3 ORDER BY ID DESC LIMIT 1"
# lastlog2(8): a row for each user, times in seconds.
_LAST_IN_LASTLOG2 = "SELECT Time, TTY, RemoteHost FROM Lastlog2 WHERE Name = ?"


class LastLogins:
    """The last login of everybody, from all sources that there are; shared by all threads."""

    def __init__(
        self, lastlog: str = LASTLOG, wtmpdb: Sequence[str] = WTMPDB, lastlog2: Sequence[str] = LASTLOG2
    ) -> None:
        self._lastlog = lastlog
        self._databases = (_Database(wtmpdb, _LAST_IN_WTMPDB), _Database(lastlog2, _LAST_IN_LASTLOG2))

    def of(self, login: str, uid: int) -> LastLogin | None:
        """The last login, which may be ``never``; None where nobody keeps it."""
        found = [self._in_lastlog(uid), *(database.find(login) for database in self._databases)]
        return max(filter(None, found), key=lambda login: login.when or 0, default=None)

    def _in_lastlog(self, uid: int) -> LastLogin | None:
        try:
            with open(self._lastlog, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), _RECORD.size, uid * _RECORD.size)
        except FileNotFoundError:
            return None
        except OSError as error:
            leave_out("last logins of lastlog", str(error))
            return None
        when, terminal, host = _RECORD.unpack(data) if len(data) == _RECORD.size else (0, b"", b"")
        return LastLogin(when or None, field_text(terminal), field_text(host))

    def close(self) -> None:
        """Close the databases."""
        for database in self._databases:
            database.close()


def missing_last_logins(root: Path) -> Iterator[str]:
    """A complaint where no source is below ``root``."""
    paths = (LASTLOG, *WTMPDB, *LASTLOG2)
    if not any(root.joinpath(path.lstrip("/")).exists() for path in paths):
        yield f"no last logins are told: there is none of {', '.join(paths)}"


class _Database:
    """A file of SQLite's, at the first of the paths where there is one, asked one thread at a time."""

    def __init__(self, paths: Sequence[str], question: str) -> None:
        self._paths = paths
        self._question = question
        self._lock = threading.Lock()
        self._open: tuple[object, sqlite3.Connection] | None = None

    def find(self, login: str) -> LastLogin | None:
        """What the question finds of this login; None without a database, or where it cannot be read."""
        place = self._place()
        if place is None:
            return None
        try:
            with self._lock:
                rows = self._connected(*place).execute(self._question, (login,)).fetchall()
        except (sqlite3.Error, UnicodeEncodeError) as error:
            self.close()
            leave_out(f"last logins of {place[0]}", str(error))
            return None
        if not rows:
            return LastLogin(None)
        when, terminal, host = rows[0]
        return LastLogin(float(when) if when else None, str(terminal or ""), str(host or ""))

    def _place(self) -> tuple[str, object] | None:
        """The path of the file, and what is another when another file lies there; an empty one is no database yet."""
        for path in self._paths:
            try:
                status = os.stat(path)
            except OSError:
                continue
            if status.st_size:
                return path, (status.st_dev, status.st_ino)
        return None

    def _connected(self, path: str, identity: object) -> sqlite3.Connection:
        if self._open is None or self._open[0] != identity:
            self._close()
            uri = f"file:{quote(path)}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
            self._open = identity, connection
        return self._open[1]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None
