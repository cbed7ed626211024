"""Failures of ``type: sql``: wrong passwords, locks, long statements, and servers that are frozen or killed."""

import contextlib
import gc
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")

from sqlalchemy import exc

from fingerd import load_config
from fingerd.backends.sql import Sql
from fingerd.backends.sql.sqlite import RECHECK_SECONDS
from fingerd.config.system_options import Secret
from fingerd.errors import BackendError
from tests.backends.sql.backend import ENDLESS, QUERY, failure_within, find, list_users, opened
from tests.backends.sql.conftest import PEOPLE, create
from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, descriptors, wait_until
from tests.helpers.postgresql import Postgresql


def test_the_password_comes_from_a_file_or_the_environment(
    server: Postgresql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.url("finger", "")
    (tmp_path / "secret").write_text("a secret\nand more\n")
    path = tmp_path / "fingerd.yaml"
    path.write_text(
        f"backend:\n  type: sql\n  url: {address}\n  password_file: {tmp_path}/secret\n  query: {QUERY!r}\n"
    )
    monkeypatch.setenv("FINGER_SECRET", "a secret")
    backend_with_file = load_config(str(path)).backend
    assert isinstance(backend_with_file, Sql)
    assert "a secret" not in repr(backend_with_file)
    for backend in (backend_with_file, Sql(address, QUERY, password_env="FINGER_SECRET")):
        assert len(find(backend, "alice")) == 1
        backend.close()


def test_a_changed_password_is_used_after_a_reload(server: Postgresql, start: Start, tmp_path: Path) -> None:
    server.run("CREATE ROLE changing LOGIN PASSWORD 'old'; GRANT SELECT ON people TO changing")
    secret = tmp_path / "secret"
    secret.write_text("old\n")
    address = server.url("changing", "")
    options = f"type: sql, url: '{address}', query: '{QUERY}', password_file: {secret}"
    daemon = start(f'listen: "127.0.0.1:0"\nbackend: {{{options}}}\n')
    good = daemon.ask(b"alice\r\n")
    assert b"Alice Archer" in good
    server.run("ALTER ROLE changing PASSWORD 'new'")
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'changing'")
    assert daemon.ask(b"alice\r\n") == b"Internal error in server\r\n"
    secret.write_text("new\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == good


WRONG = {
    "password": ({"password_file": Secret("a wrong one")}, 'password authentication failed for user "finger"'),
    "table": ({"query": "SELECT * FROM nothing WHERE login = :user"}, 'relation "nothing" does not exist'),
    "rights": ({"query": "SELECT rolname AS login FROM pg_authid WHERE :user <> ''"}, "permission denied"),
    "statement": ({"query": "SELECT FROM WHERE :user"}, 'syntax error at or near "WHERE"'),
    "writing": (
        {"query": "SELECT set_config('x.y', nextval('s')::text, true) AS login WHERE :user <> ''"},
        "read-only",
    ),
}


@pytest.mark.parametrize(("options", "what"), WRONG.values(), ids=WRONG)
def test_a_failure_is_one_line_with_the_cause_and_no_secret(
    options: dict[str, Any], what: str, server: Postgresql
) -> None:
    server.run("CREATE SEQUENCE IF NOT EXISTS s; GRANT ALL ON s TO finger")
    secret = "a wrong one" if "password_file" in options else "a secret"
    address = server.url("finger", "" if "password_file" in options else secret)
    with opened(address, **options) as backend, pytest.raises(BackendError) as caught:
        find(backend, "mallory")
    message = str(caught.value)
    assert message.startswith(f"sql postgresql://127.0.0.1:{server.port}/postgres: ")
    assert what in message
    assert not [word for word in ("\n", secret, "sqlalche.me", "mallory", "SELECT", "finger:") if word in message]


def test_an_sqlite_file_is_never_created_or_written(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with opened(f"sqlite:///{path}") as backend:
        with pytest.raises(BackendError, match="unable to open database file"):
            find(backend, "alice")
        assert not path.exists()
        path.write_text("no database, but long enough to be looked at" * 50)
        with pytest.raises(BackendError, match="file is not a database"):
            find(backend, "alice")
        create(path.with_suffix(".new"), PEOPLE)
        path.with_suffix(".new").replace(path)
        time.sleep(2 * RECHECK_SECONDS)
        assert len(find(backend, "alice")) == 1
        create(path.with_suffix(".new"), PEOPLE.replace("Archer", "Baker"))
        path.with_suffix(".new").replace(path)
        time.sleep(2 * RECHECK_SECONDS)  # a replaced file is detected by the next query, but not within milliseconds
        assert find(backend, "alice")[0].name == "Alice Baker"
        path.unlink()
        time.sleep(2 * RECHECK_SECONDS)
        with pytest.raises(BackendError):
            find(backend, "alice")
    create(path, PEOPLE)
    with opened(f"sqlite:///{path}") as backend:
        connection = backend._database._engine.connect()
        with connection, pytest.raises(exc.OperationalError, match="readonly"):
            connection.exec_driver_sql("DELETE FROM people")


def test_a_relative_path_starts_at_the_working_directory_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b?#%41").mkdir()
    monkeypatch.chdir(tmp_path / "a b?#%41")
    create(Path("people.db").absolute(), PEOPLE)
    with opened("sqlite:///people.db") as backend:
        monkeypatch.chdir("/")
        assert len(find(backend, "alice")) == 1


# Deadlines


def test_a_lock_is_awaited_until_the_deadline(server: Postgresql, tmp_path: Path) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    with opened(server.url(), timeout=0.6) as backend:
        assert len(find(backend, "alice")) == 1
        with contextlib.closing(psycopg2.connect(server.url())) as writer:
            writer.cursor().execute("LOCK TABLE people")
            assert "statement timeout" in failure_within(3, backend)
            assert "statement timeout" in failure_within(3, backend, 0.3)
            assert server.run("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fingerd'") == "1"
            with pytest.raises(BackendError, match="statement timeout"):
                next(list_users(backend))
        assert len(find(backend, "alice")) == 1
    with opened(create(tmp_path / "people.db", PEOPLE), timeout=0.5) as backend:
        assert len(find(backend, "alice")) == 1
        with contextlib.closing(sqlite3.connect(tmp_path / "people.db", isolation_level=None)) as file:
            file.execute("BEGIN EXCLUSIVE")
            assert "database is locked" in failure_within(3, backend)
            assert "database is locked" in failure_within(3, backend, 0.2)
            file.execute("ROLLBACK")
        assert len(find(backend, "alice")) == 1


def test_a_long_statement_is_cancelled_at_the_deadline(url: str) -> None:
    endless = f"SELECT login FROM ({ENDLESS}) x WHERE login = :user"
    with opened(url, endless, ENDLESS, timeout=0.5) as backend:
        assert failure_within(3, backend).endswith(("statement timeout", "not done in time"))
        with pytest.raises(BackendError, match="not done in time"):
            for _ in list_users(backend, 0.3):
                pass
        with pytest.raises(BackendError):
            find(backend, "alice", -1)
    with opened(url) as backend:
        assert len(find(backend, "alice")) == 1


def test_a_frozen_server_is_abandoned_at_the_deadline(server: Postgresql) -> None:
    with opened(server.url(), timeout=0.5) as backend, opened(server.url(), timeout=0.5) as fresh:
        assert len(find(backend, "alice")) == 1
        before = descriptors(os.getpid())
        gc.collect()
        gc.disable()  # no connection may wait for a collection to be closed
        server.freeze(True)
        try:
            for each in (backend, fresh, backend):  # with an idle connection, and with a new one
                assert failure_within(3, each).endswith("not done in time")
            assert descriptors(os.getpid()) <= before
        finally:
            server.freeze(False)
            gc.enable()
        wait_until(lambda: len(find(backend, "alice")) == 1)


def test_closing_an_unfinished_list_does_not_wait_for_a_frozen_server(server: Postgresql) -> None:
    with opened(server.url(), list_query=ENDLESS, timeout=1) as backend:
        people = list_users(backend)
        next(people)
        closing = threading.Thread(target=people.close, daemon=True)  # type: ignore[attr-defined]
        server.freeze(True)
        try:
            closing.start()
            closing.join(TIMEOUT)
            assert not closing.is_alive()
        finally:
            server.freeze(False)
            closing.join(TIMEOUT)
        wait_until(lambda: len(find(backend, "alice")) == 1)


def test_a_connection_released_after_close_is_closed(server: Postgresql) -> None:
    before = descriptors(os.getpid())
    gc.collect()
    gc.disable()
    try:
        with opened(server.url()) as backend:
            people = list_users(backend)
            next(people)
        assert descriptors(os.getpid()) == before + 1
        assert len(list(people)) == 4
        assert descriptors(os.getpid()) == before
    finally:
        gc.enable()


def test_host_names_are_resolved(server: Postgresql) -> None:
    by_name = server.url().replace("127.0.0.1", "localhost")
    several = f"{server.url().partition('@')[0]}@/postgres?host=nowhere.invalid:1&host=LOCALHOST:{server.port}"
    for address in (by_name, several, f"{several}&host={server.directory}:{server.port}"):
        with opened(address) as backend:
            assert len(find(backend, "alice")) == 1
    for host, what in {"nowhere.invalid": "nowhere.invalid: ", "a..b": "a..b: is not a host name"}.items():
        with opened(f"postgresql://u@{host}/db") as backend, pytest.raises(BackendError) as caught:
            find(backend, "alice")
        assert f"sql postgresql://{host}/db: {what}" in str(caught.value)


def test_a_lookup_after_a_restart_of_the_server_succeeds(server: Postgresql) -> None:
    with opened(server.url()) as backend:
        people = list_users(backend)
        assert next(people).login
        server.kill()
        try:
            assert failure_within(3, backend)
        finally:
            server.start()
        assert len(list(people)) == 4  # already fetched
        assert len(find(backend, "alice")) == 1
        server.kill()
        server.start()
        assert len(find(backend, "alice")) == 1
    with opened(server.url()) as backend:
        several = [list_users(backend) for _ in range(4)]
        assert all(next(people).login for people in several)
        assert [len(list(people)) for people in several] == [4] * 4  # four idle connections
        server.kill()
        server.start()
        for _ in range(4):
            assert len(find(backend, "alice")) == 1
    with opened(server.url(), list_query=ENDLESS) as backend:
        people = list_users(backend)
        next(people)
        server.kill()
        server.start()
        with pytest.raises(BackendError, match=r"closed the connection|terminating connection"):
            list(people)
        assert len(find(backend, "alice")) == 1
