"""The databases of the tests."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.postgresql import MISSING, Postgresql, is_installed

PEOPLE = """
CREATE TABLE people (id integer, login text PRIMARY KEY, name text, plan text);
INSERT INTO people VALUES (1, 'alice', 'Alice Archer', 'Back on Monday'), (2, 'bob', NULL, NULL);
INSERT INTO people VALUES (3, 'Zoë', 'Zoë 日本', '100%'), (4, 'it''s', 'Quote', ''), (5, ':user', 'Colon', '');
"""


def create(path: Path, statements: str) -> str:
    """Execute the statements in an SQLite file, and return its URL."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def server() -> Iterator[Postgresql]:
    pytest.importorskip("psycopg2", reason="needs psycopg2 (pip install psycopg2-binary)")
    if not is_installed():
        pytest.skip(MISSING)
    server = Postgresql()
    try:
        server.run(PEOPLE)
        server.run("CREATE ROLE finger LOGIN PASSWORD 'a secret'; GRANT SELECT ON people TO finger")
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with some people."""
    if request.param == "sqlite":
        return create(tmp_path / "people.db", PEOPLE)
    server: Postgresql = request.getfixturevalue("server")
    return server.url("finger", "a secret")
