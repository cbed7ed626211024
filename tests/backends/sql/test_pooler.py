"""``type: sql`` on a connection of the server's that another program uses too: pgbouncer, in transaction mode."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")

from fingerd.errors import BackendError
from tests.backends.sql.backend import ENDLESS, QUERY, find, list_users, opened
from tests.helpers.pgbouncer import Pgbouncer
from tests.helpers.postgresql import Postgresql
from tests.helpers.requirements import need

BACKEND = "SELECT pg_backend_pid()"
SETTINGS = "SELECT name, setting FROM pg_settings WHERE name <> 'application_name' ORDER BY name"  # pgbouncer sets that
SLEEPY = "SELECT login, pg_sleep(5)::text AS name FROM people WHERE login = :user"


@pytest.fixture(scope="module")
def pooler(server: Postgresql) -> Iterator[Pgbouncer]:
    need("pgbouncer")
    with contextlib.closing(Pgbouncer(server)) as pooler:
        server.run("CREATE TABLE written (login text)")
        yield pooler


class Neighbour:
    """Another program on the same connection of the server's."""

    def __init__(self, pooler: Pgbouncer) -> None:
        psycopg2: Any = pytest.importorskip("psycopg2")
        self._connection = psycopg2.connect(pooler.url())
        self._connection.autocommit = True

    def ask(self, statement: str) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def write(self) -> None:
        assert self.ask("INSERT INTO written VALUES ('x') RETURNING login") == [("x",)]

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def neighbour(pooler: Pgbouncer) -> Iterator[Neighbour]:
    with contextlib.closing(Neighbour(pooler)) as neighbour:
        yield neighbour


def found(pooler: Pgbouncer) -> None:
    with opened(pooler.url()) as backend:
        assert [person.name for person in find(backend, "alice")] == ["Alice Archer"]
        assert find(backend, "nobody") == []


def listed(pooler: Pgbouncer) -> None:
    with opened(pooler.url()) as backend:
        assert len(list(list_users(backend))) == 5


def abandoned(pooler: Pgbouncer) -> None:
    with opened(pooler.url(), list_query=ENDLESS) as backend:
        people = list_users(backend)
        assert next(people).login == "u1"
        people.close()  # type: ignore[attr-defined]


def failed(pooler: Pgbouncer) -> None:
    with opened(pooler.url(), "SELECT login FROM nothing WHERE login = :user", "SELECT nothing AS login") as backend:
        with pytest.raises(BackendError, match="does not exist"):
            find(backend, "alice")
        with pytest.raises(BackendError, match="does not exist"):
            list(list_users(backend))


def late(pooler: Pgbouncer) -> None:
    with opened(pooler.url(), SLEEPY, "SELECT login FROM (SELECT pg_sleep(5), 'x' AS login) x", timeout=0.5) as backend:
        for _ in range(2):
            with pytest.raises(BackendError, match="statement timeout"):
                find(backend, "alice")
            with pytest.raises(BackendError, match=r"statement timeout|not done in time"):
                list(list_users(backend))


def refused(pooler: Pgbouncer) -> None:
    writing = "SELECT set_config('x.y', nextval('pooled')::text, true) AS login"
    with opened(pooler.url(), f"{writing} WHERE :user <> ''", writing) as backend:
        with pytest.raises(BackendError, match="read-only"):
            find(backend, "alice")
        with pytest.raises(BackendError, match="read-only"):
            list(list_users(backend))


USES = (found, listed, abandoned, failed, late, refused)


@pytest.mark.parametrize("use", USES, ids=[use.__name__ for use in USES])
def test_no_setting_stays_on_the_connection(
    use: Any, pooler: Pgbouncer, neighbour: Neighbour, server: Postgresql
) -> None:
    server.run("CREATE SEQUENCE IF NOT EXISTS pooled")
    neighbour.write()
    before = neighbour.ask(SETTINGS), neighbour.ask(BACKEND)
    for _ in range(2):
        use(pooler)
        neighbour.write()
        assert (neighbour.ask(SETTINGS), neighbour.ask(BACKEND)) == before  # the same connection, as it was


def test_the_setting_of_another_program_is_not_relied_on(pooler: Pgbouncer, neighbour: Neighbour) -> None:
    """What another program leaves on the connection: the time-out that this one has set before is not there."""
    with opened(pooler.url(), SLEEPY, timeout=0.5) as backend:
        for _ in range(2):
            neighbour.ask("SELECT set_config('statement_timeout', '0', false)")
            neighbour.ask("SELECT set_config('default_transaction_read_only', 'off', false)")
            with pytest.raises(BackendError, match="statement timeout"):
                find(backend, "alice")
    neighbour.ask("SELECT set_config('statement_timeout', '1', false)")
    with opened(pooler.url(), QUERY.replace("WHERE", "WHERE pg_sleep(0.2) IS NOT NULL AND")) as backend:
        assert len(find(backend, "alice")) == 1
    neighbour.ask("SELECT set_config('statement_timeout', '0', false)")


def test_a_database_without_a_charset_is_read_through_it(
    server: Postgresql, pooler: Pgbouncer, neighbour: Neighbour
) -> None:
    """The charset that this needs is the client's own: pgbouncer sets it anew for each."""
    server.run("CREATE DATABASE pooled_bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    server.run("CREATE TABLE people AS SELECT 'Zoë' AS login, E'caf\\xe9' AS name", "pooled_bytes")
    psycopg2: Any = pytest.importorskip("psycopg2")
    with contextlib.closing(psycopg2.connect(pooler.url("pooled_bytes"), client_encoding="utf8")) as connection:
        connection.autocommit = True
        with (
            connection.cursor() as cursor,
            opened(pooler.url("pooled_bytes"), "SELECT * FROM people WHERE login = :user") as backend,
        ):
            for _ in range(2):
                assert [person.name for person in find(backend, "Zoë")] == ["café"]
                cursor.execute("SHOW client_encoding")
                assert cursor.fetchall() == [("UTF8",)]
                cursor.execute("SELECT login FROM people")
                assert cursor.fetchall() == [("Zoë",)]
