"""Last logins: records of lastlog, and SQLite databases as wtmpdb and lastlog2 write them."""

import logging
import os
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fingerd.backends.system import last_logins
from fingerd.backends.system.facts import warn_once
from fingerd.backends.system.last_logins import RECORD, LastLogins, missing_last_logins
from fingerd.people import LastLogin

# The tables of wtmpdb 0.73 and util-linux 2.41 in Debian 13.
WTMPDB = (
    "CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, "
    "TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT"
)
LASTLOG2 = "CREATE TABLE Lastlog2(Name TEXT PRIMARY KEY, Time INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT)"


class Files:
    """The files of a host, none of which exists at first."""

    def __init__(self, directory: Path) -> None:
        self.lastlog, self.wtmpdb = directory / "lastlog", directory / "wtmp.db"
        self.lastlog2 = directory / "lastlog2.db"
        self.logins = LastLogins(
            str(self.lastlog), (str(directory / "absent.db"), str(self.wtmpdb)), (str(self.lastlog2),)
        )

    def write_lastlog(self, uid: int, when: int, terminal: bytes = b"pts/0", host: bytes = b"client") -> None:
        with open(self.lastlog, "ab") as file:
            os.pwrite(file.fileno(), b"", 0)
        with open(self.lastlog, "r+b") as file:
            file.seek(uid * RECORD.size)
            file.write(RECORD.pack(when, terminal, host))

    def write_wtmpdb(
        self, user: str, when: int, terminal: str | None = "pts/1", kind: int = 3, host: str = "192.0.2.7"
    ) -> None:
        with sqlite3.connect(self.wtmpdb) as database:
            if not self.wtmpdb.stat().st_size:
                database.execute(WTMPDB)
            database.execute(
                "INSERT INTO wtmp(Type, User, Login, TTY, RemoteHost, Service) VALUES(?, ?, ?, ?, ?, 'sshd')",
                (kind, user, when * 1_000_000 + 250_000, terminal, host if terminal else None),
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
    warn_once.cache_clear()
    for name in ("CACHE_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(last_logins, name, 0.0)
    return Files(tmp_path)


def test_a_host_without_sources(files: Files) -> None:
    assert files.logins.for_login("ann", 1000) is None
    files.lastlog2.touch()  # as libpam-lastlog2 creates it before the first login
    assert files.logins.for_login("ann", 1000) is None


@pytest.mark.parametrize("uid", [1000, 65533, 4_294_967_290])
def test_lastlog(files: Files, uid: int) -> None:
    files.lastlog.touch()
    assert files.logins.for_login("ann", uid) == LastLogin(None)
    files.write_lastlog(uid, 1_700_000_000)
    assert files.logins.for_login("ann", uid) == LastLogin(1_700_000_000, "pts/0", "client")
    assert files.logins.for_login("bob", uid - 1) == LastLogin(None)
    assert files.logins.for_login("eve", uid + 1) == LastLogin(None)
    files.write_lastlog(uid, 2_200_000_000, b"x" * 32, b"h\xf6st" + b"y" * 252)  # after 2038; fields without a NUL
    assert files.logins.for_login("ann", uid) == LastLogin(2_200_000_000, "x" * 32, "höst" + "y" * 252)


def test_wtmpdb(files: Files) -> None:
    files.write_wtmpdb("reboot", 1_700_000_000, "~", kind=1)
    assert files.logins.for_login("reboot", 0) is None
    files.write_wtmpdb("ann", 1_700_000_100)
    files.write_wtmpdb("bob", 1_700_000_200, None)
    assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_100.25, "pts/1", "192.0.2.7")
    assert files.logins.for_login("bob", 1001) == LastLogin(1_700_000_200.25)
    files.write_wtmpdb("ann", 1_700_000_300, "tty1")
    assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_300.25, "tty1", "192.0.2.7")
    assert files.logins.for_login("ann' OR 1 --", 1000) is None
    assert files.logins.for_login("\udcff", 1000) is None


@pytest.mark.parametrize(
    ("terminal", "host", "is_host"),
    [
        (":0", ":0", False),
        ("tty7", ":0", False),
        ("tty2", "tty2", False),
        ("seat0", "login screen", False),
        ("pts/1", ":0.0", False),
        ("pts/1", "::1", True),
        (":10", "192.0.2.7", True),
    ],
)
def test_a_display_is_no_host(files: Files, terminal: str, host: str, is_host: bool) -> None:
    files.write_lastlog(1000, 1_700_000_000, terminal.encode(), host.encode())
    expected = LastLogin(1_700_000_000, terminal, host if is_host else "")
    assert files.logins.for_login("ann", 1000) == expected
    files.write_wtmpdb("ann", 1_700_000_100, terminal, host=host)
    assert files.logins.for_login("ann", 1000) == replace(expected, when=1_700_000_100.25)


def test_lastlog2(files: Files) -> None:
    files.write_lastlog2("ann", 1_700_000_100)
    assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_100, "ssh", "2001:db8::7")
    assert files.logins.for_login("bob", 1001) is None
    files.lastlog2.unlink()  # the new file is detected
    files.write_lastlog2("bob", 1_700_000_200)
    assert files.logins.for_login("bob", 1001) == LastLogin(1_700_000_200, "ssh", "2001:db8::7")
    assert files.logins.for_login("ann", 1000) is None


def test_the_newest_login_of_all_sources_counts(files: Files) -> None:
    files.write_lastlog(1000, 1_700_000_000)  # left over from before the upgrade
    files.write_lastlog2("ann", 1_700_000_200)
    files.write_wtmpdb("ann", 1_700_000_100)
    assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_200, "ssh", "2001:db8::7")
    assert files.logins.for_login("bob", 1001) is None  # lastlog is no longer written, so it cannot say "never"
    files.write_wtmpdb("ann", 1_700_000_200)  # the same login in both: wtmpdb has the terminal
    assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_200.25, "pts/1", "192.0.2.7")


def test_a_broken_source_is_ignored_and_logged_once(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.write_lastlog2("ann", 1_700_000_100)
    files.wtmpdb.write_text("not a database, but long enough to be one\n" * 100)
    files.lastlog.mkdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_100, "ssh", "2001:db8::7")
    assert len(caplog.messages) == 2
    assert f"last logins of {files.wtmpdb} unavailable: file is not a database" in caplog.messages
    files.wtmpdb.unlink()
    files.write_wtmpdb("ann", 1_700_000_300)
    assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_300.25, "pts/1", "192.0.2.7")


def test_a_locked_database_is_ignored_after_busy_seconds(files: Files) -> None:
    files.write_wtmpdb("ann", 1_700_000_100)
    files.write_lastlog2("ann", 1_700_000_000)
    with sqlite3.connect(files.wtmpdb) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_000, "ssh", "2001:db8::7")
    writer.close()
    assert files.logins.for_login("ann", 1000) == LastLogin(1_700_000_100.25, "pts/1", "192.0.2.7")


def test_a_failed_database_is_not_read_for_retry_seconds(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_logins, "RETRY_SECONDS", 3600.0)
    files.write_wtmpdb("ann", 1_700_000_100)
    assert files.logins.for_login("ann", 1000) is not None
    with sqlite3.connect(files.wtmpdb) as writer:
        writer.execute("INSERT INTO wtmp(Type, User, Login) VALUES(3, 'bob', 1)")
    with sqlite3.connect(files.wtmpdb) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        found = [files.logins.for_login("ann", 1000) for _ in range(100)]  # would take 50 s in all if each read it
    writer.close()
    assert set(found) == {LastLogin(1_700_000_100.25, "pts/1", "192.0.2.7")}  # the cached login


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
    found = [files.logins.for_login(login, 1000) for login in ("ann", "bob", "7", "eve")]
    assert found == [None, LastLogin(1_700_000_000.5), LastLogin(5.0, "", "h"), None]


def test_reading_does_not_block_writers(files: Files) -> None:
    for number in range(5):
        files.write_wtmpdb("ann", 1_700_000_000 + number)
        found = files.logins.for_login("ann", 1000)
        assert found is not None
        assert found.when == 1_700_000_000.25 + number


def test_concurrent_lookups(files: Files) -> None:
    for number in range(50):
        files.write_wtmpdb(f"user{number}", 1_700_000_000 + number)
    wrong: list[object] = []

    def look_up() -> None:
        for number in range(50):
            found = files.logins.for_login(f"user{number}", number)
            if found is None or found.when != 1_700_000_000.25 + number:
                wrong.append(found)

    threads = [threading.Thread(target=look_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_missing_requirement_is_reported_if_no_source_exists(tmp_path: Path) -> None:
    (message,) = missing_last_logins(tmp_path)
    assert message.startswith(
        "last logins are unavailable: there is none of /var/log/lastlog, /var/lib/wtmpdb/wtmp.db,"
    )
    (tmp_path / "var/lib/lastlog").mkdir(parents=True)
    (tmp_path / "var/lib/lastlog/lastlog2.db").touch()
    assert list(missing_last_logins(tmp_path)) == []
