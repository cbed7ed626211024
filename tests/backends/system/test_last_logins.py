"""Last logins: lastlog's records, and files of SQLite's as wtmpdb and lastlog2 write them."""

import logging
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from fingerd.backends.system import last_logins as lastlogins
from fingerd.backends.system.facts import leave_out
from fingerd.backends.system.last_logins import RECORD, LastLogins, missing_last_logins
from fingerd.people import LastLogin

# As wtmpdb 0.73 and util-linux 2.41 of Debian 13 make them.
WTMPDB = (
    "CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, "
    "TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT"
)
LASTLOG2 = "CREATE TABLE Lastlog2(Name TEXT PRIMARY KEY, Time INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT)"


class Files:
    """The files of a host, none of which is there at first."""

    def __init__(self, folder: Path) -> None:
        self.lastlog, self.wtmpdb, self.lastlog2 = folder / "lastlog", folder / "wtmp.db", folder / "lastlog2.db"
        self.logins = LastLogins(
            str(self.lastlog), (str(folder / "absent.db"), str(self.wtmpdb)), (str(self.lastlog2),)
        )

    def write_lastlog(self, uid: int, when: int, terminal: bytes = b"pts/0", host: bytes = b"client") -> None:
        with open(self.lastlog, "ab") as file:
            os.pwrite(file.fileno(), b"", 0)
        with open(self.lastlog, "r+b") as file:
            file.seek(uid * RECORD.size)
            file.write(RECORD.pack(when, terminal, host))

    def write_wtmpdb(self, user: str, when: int, terminal: str | None = "pts/1", kind: int = 3) -> None:
        with sqlite3.connect(self.wtmpdb) as database:
            if not self.wtmpdb.stat().st_size:
                database.execute(WTMPDB)
            database.execute(
                "INSERT INTO wtmp(Type, User, Login, TTY, RemoteHost, Service) VALUES(?, ?, ?, ?, ?, 'sshd')",
                (kind, user, when * 1_000_000 + 250_000, terminal, "192.0.2.7" if terminal else None),
            )
        database.close()

    def write_lastlog2(self, user: str, when: int) -> None:
        with sqlite3.connect(self.lastlog2) as database:
            if not self.lastlog2.stat().st_size:
                database.execute(LASTLOG2)
            database.execute("REPLACE INTO Lastlog2 VALUES(?, ?, 'ssh', '2001:db8::7', 'sshd')", (user, when))
        database.close()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    leave_out.cache_clear()
    for name in ("AGE_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(lastlogins, name, 0.0)
    return Files(tmp_path)


def test_nobody_keeps_last_logins(files: Files) -> None:
    assert files.logins.of("ann", 1000) is None
    files.lastlog2.touch()  # as libpam-lastlog2 leaves it before the first login
    assert files.logins.of("ann", 1000) is None


@pytest.mark.parametrize("uid", [1000, 65533, 4_294_967_290])
def test_lastlog(files: Files, uid: int) -> None:
    files.lastlog.touch()
    assert files.logins.of("ann", uid) == LastLogin(None)
    files.write_lastlog(uid, 1_700_000_000)
    assert files.logins.of("ann", uid) == LastLogin(1_700_000_000, "pts/0", "client")
    assert files.logins.of("bob", uid - 1) == LastLogin(None)
    assert files.logins.of("eve", uid + 1) == LastLogin(None)
    files.write_lastlog(uid, 2_200_000_000, b"x" * 32, b"h\xf6st" + b"y" * 252)  # after 2038; fields without an end
    assert files.logins.of("ann", uid) == LastLogin(2_200_000_000, "x" * 32, "höst" + "y" * 252)


def test_wtmpdb(files: Files) -> None:
    files.write_wtmpdb("reboot", 1_700_000_000, "~", kind=1)
    assert files.logins.of("reboot", 0) is None
    files.write_wtmpdb("ann", 1_700_000_100)
    files.write_wtmpdb("bob", 1_700_000_200, None)
    assert files.logins.of("ann", 1000) == LastLogin(1_700_000_100.25, "pts/1", "192.0.2.7")
    assert files.logins.of("bob", 1001) == LastLogin(1_700_000_200.25)
    files.write_wtmpdb("ann", 1_700_000_300, "tty1")
    assert files.logins.of("ann", 1000) == LastLogin(1_700_000_300.25, "tty1", "192.0.2.7")
    assert files.logins.of("ann' OR 1 --", 1000) is None
    assert files.logins.of("\udcff", 1000) is None


def test_lastlog2(files: Files) -> None:
    files.write_lastlog2("ann", 1_700_000_100)
    assert files.logins.of("ann", 1000) == LastLogin(1_700_000_100, "ssh", "2001:db8::7")
    assert files.logins.of("bob", 1001) is None
    files.lastlog2.unlink()  # another file in its place is seen
    files.write_lastlog2("bob", 1_700_000_200)
    assert files.logins.of("bob", 1001) == LastLogin(1_700_000_200, "ssh", "2001:db8::7")
    assert files.logins.of("ann", 1000) is None


def test_the_newest_of_all_counts(files: Files) -> None:
    files.write_lastlog(1000, 1_700_000_000)  # left over from before the upgrade
    files.write_lastlog2("ann", 1_700_000_200)
    files.write_wtmpdb("ann", 1_700_000_100)
    assert files.logins.of("ann", 1000) == LastLogin(1_700_000_200, "ssh", "2001:db8::7")
    assert files.logins.of("bob", 1001) is None  # lastlog has not been written to since, and so cannot say "never"
    files.write_wtmpdb("ann", 1_700_000_200)  # the same login in both: wtmpdb knows the terminal
    assert files.logins.of("ann", 1000) == LastLogin(1_700_000_200.25, "pts/1", "192.0.2.7")


def test_what_is_broken_is_left_out_and_told_once(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.write_lastlog2("ann", 1_700_000_100)
    files.wtmpdb.write_text("no database, but a text that is long enough to be one\n" * 100)
    files.lastlog.mkdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert files.logins.of("ann", 1000) == LastLogin(1_700_000_100, "ssh", "2001:db8::7")
    assert len(caplog.messages) == 2
    assert f"last logins of {files.wtmpdb} left out: file is not a database" in caplog.messages
    files.wtmpdb.unlink()
    files.write_wtmpdb("ann", 1_700_000_300)
    assert files.logins.of("ann", 1000) == LastLogin(1_700_000_300.25, "pts/1", "192.0.2.7")


def test_a_database_that_is_locked_is_left_out_after_a_moment(files: Files) -> None:
    files.write_wtmpdb("ann", 1_700_000_100)
    files.write_lastlog2("ann", 1_700_000_000)
    with sqlite3.connect(files.wtmpdb) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert files.logins.of("ann", 1000) == LastLogin(1_700_000_000, "ssh", "2001:db8::7")
    writer.close()
    assert files.logins.of("ann", 1000) == LastLogin(1_700_000_100.25, "pts/1", "192.0.2.7")


def test_one_that_fails_is_left_alone_for_a_while(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastlogins, "RETRY_SECONDS", 3600.0)
    files.write_wtmpdb("ann", 1_700_000_100)
    assert files.logins.of("ann", 1000) is not None
    with sqlite3.connect(files.wtmpdb) as writer:
        writer.execute("INSERT INTO wtmp(Type, User, Login) VALUES(3, 'bob', 1)")
    with sqlite3.connect(files.wtmpdb) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        asked = [files.logins.of("ann", 1000) for _ in range(100)]  # which would take 50 s
    writer.close()
    assert set(asked) == {LastLogin(1_700_000_100.25, "pts/1", "192.0.2.7")}  # as it was known


def test_values_of_any_type(files: Files) -> None:
    with sqlite3.connect(files.lastlog2) as database:
        database.execute(LASTLOG2)
        rows = [
            ("ann", "yesterday", 1, 2),
            ("bob", 1_700_000_000.5, b"\xff\0", b"x"),
            (7, 5, None, "h"),
            ("eve", None, "", ""),
        ]
        database.executemany("INSERT INTO Lastlog2 VALUES(?, ?, ?, ?, 'sshd')", rows)
    database.close()
    found = [files.logins.of(login, 1000) for login in ("ann", "bob", "7", "eve")]
    assert found == [None, LastLogin(1_700_000_000.5), LastLogin(5.0, "", "h"), None]


def test_reading_does_not_hold_up_who_writes(files: Files) -> None:
    for number in range(5):
        files.write_wtmpdb("ann", 1_700_000_000 + number)
        found = files.logins.of("ann", 1000)
        assert found is not None
        assert found.when == 1_700_000_000.25 + number


def test_many_threads_ask_at_once(files: Files) -> None:
    for number in range(50):
        files.write_wtmpdb(f"user{number}", 1_700_000_000 + number)
    wrong: list[object] = []

    def ask() -> None:
        for number in range(50):
            found = files.logins.of(f"user{number}", number)
            if found is None or found.when != 1_700_000_000.25 + number:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_missing_is_said_where_there_is_none(tmp_path: Path) -> None:
    (complaint,) = missing_last_logins(tmp_path)
    assert complaint.startswith("no last logins are told: there is none of /var/log/lastlog, /var/lib/wtmpdb/wtmp.db,")
    (tmp_path / "var/lib/lastlog").mkdir(parents=True)
    (tmp_path / "var/lib/lastlog/lastlog2.db").touch()
    assert list(missing_last_logins(tmp_path)) == []
