"""``type: sql``: a name that the database takes for another one is unknown. SQLite files, and a real PostgreSQL."""

import logging
import time
import unicodedata
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")

from fingerd.backends import Lookup
from fingerd.backends.chain import Chain
from fingerd.backends.static import Static
from tests.backends.sql.backend import find, opened
from tests.backends.sql.conftest import create
from tests.helpers.postgresql import Postgresql

NFD = unicodedata.normalize("NFD", "zoë")
PEOPLE = f"""
CREATE TABLE people (nr integer, login text COLLATE NOCASE, padded text COLLATE RTRIM, name text);
INSERT INTO people VALUES (1, 'alice', 'alice', 'Alice'), (2, 'zoë', 'zoë', 'Zoë'), (3, '{NFD}2', '{NFD}2', 'NFD');
INSERT INTO people VALUES (4, NULL, NULL, 'Nobody');
CREATE TABLE aliases (alias text COLLATE NOCASE, login text);
INSERT INTO aliases VALUES ('postmaster', 'alice'), ('Al', 'alice'), ('al', 'zoë');
"""
IGNORED = "is not exactly the requested name, and are ignored"
NEITHER = "the query returns neither login nor asked, so other spellings are not told apart"


def lookup(username: str) -> Lookup:
    return Lookup(username, False, "192.0.2.1", time.monotonic() + 10)


@pytest.fixture
def folding(tmp_path: Path) -> str:
    """The URL of a database that compares without case, or without trailing spaces."""
    return create(tmp_path / "folding.db", PEOPLE)


SPELLINGS = {
    "case": "SELECT login, name FROM people WHERE login = :user",
    "LIKE": "SELECT login, name FROM people WHERE login LIKE :user",
    "a function": "SELECT login, name FROM people WHERE lower(login) = lower(:user)",
    "spaces": "SELECT padded AS login, name FROM people WHERE padded = :user",
    "everybody": "SELECT login, name FROM people WHERE :user <> ''",
    "a mapped column": "SELECT login AS uid, name FROM people WHERE login = :user",
}


@pytest.mark.parametrize("query", SPELLINGS.values(), ids=SPELLINGS)
def test_a_login_is_found_by_its_exact_spelling_only(
    folding: str, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"login": "uid", "name": "name"} if "uid" in query else {}
    with opened(folding, query, fields=fields) as backend:
        assert [person.name for person in find(backend, "alice")] == ["Alice"]
        for name in ("ALICE", "Alice", "alicE", "alice ", "alice  ", "%", "a%", "_lice", "al\u200bice", "\uff41lice"):
            assert find(backend, name) == [], name
        chain = Chain((Static({"alice": "hidden"}), backend))  # the member before it is not passed by
        assert [person.text for person in chain.find(lookup("alice"))] == ["hidden\n"]
        assert list(chain.find(lookup("ALICE"))) == list(chain.find(lookup("alice "))) == []
    assert caplog.text.count(IGNORED) == 1  # however often


def test_canonically_equal_names_are_equal(folding: str) -> None:
    with opened(folding, "SELECT login, name FROM people WHERE :user <> ''") as backend:
        for name in ("zoë", NFD):
            assert [person.name for person in find(backend, name)] == ["Zoë"]
        for name in ("zoë2", f"{NFD}2"):
            assert [person.name for person in find(backend, name)] == ["NFD"]
        for name in ("zoe", "ZOË", "zoë\u0308", "zoë\u200d"):
            assert find(backend, name) == []


def test_an_alias_is_compared_by_the_column_asked(folding: str, caplog: pytest.LogCaptureFixture) -> None:
    query = (
        "SELECT p.login, p.name, a.alias AS asked FROM people p JOIN aliases a ON p.login = a.login"
        " WHERE a.alias = :user ORDER BY p.nr"
    )
    with opened(folding, query) as backend:
        assert [person.login for person in find(backend, "postmaster")] == ["alice"]
        assert not caplog.text
        assert [person.login for person in find(backend, "Al")] == ["alice"]
        assert [person.login for person in find(backend, "al")] == ["zoë"]
        assert find(backend, "POSTMASTER") == find(backend, "AL") == find(backend, "alice") == []
    assert f"rows were found whose asked {IGNORED}" in caplog.text


def test_a_row_without_a_login_is_nobody(folding: str) -> None:
    with opened(folding, "SELECT login, name FROM people WHERE nr = 4 AND :user <> ''") as backend:
        assert find(backend, "alice") == []
    with opened(folding, "SELECT login, name, :user AS asked FROM people WHERE nr = 4") as backend:
        assert [(person.login, person.name) for person in find(backend, "alice")] == [("alice", "Nobody")]


def test_a_number_is_compared_as_text(folding: str) -> None:
    with opened(folding, "SELECT nr AS login, name FROM people WHERE nr = CAST(:user AS integer)") as backend:
        assert [person.name for person in find(backend, "1")] == ["Alice"]
        assert find(backend, "01") == find(backend, "1 ") == find(backend, "1x") == []


def test_a_query_without_login_and_asked_is_warned_of_once(folding: str, caplog: pytest.LogCaptureFixture) -> None:
    with opened(folding, "SELECT name FROM people WHERE login = :user") as backend:
        assert [(person.login, person.name) for person in find(backend, "ALICE")] == [("ALICE", "Alice")]
        find(backend, "nobody")
    assert caplog.text.count(NEITHER) == 1


def test_postgresql_pads_char_and_folds_when_asked_to(server: Postgresql, caplog: pytest.LogCaptureFixture) -> None:
    server.run("CREATE TABLE padded (login char(8), name text); INSERT INTO padded VALUES ('alice', 'Alice')")
    server.run("GRANT SELECT ON padded TO finger")
    url = server.url("finger", "a secret")
    with opened(url, "SELECT login, name FROM padded WHERE login = :user") as backend:
        assert find(backend, "alice") == find(backend, "alice ") == []  # the value is "alice   "
    assert IGNORED in caplog.text
    with opened(url, "SELECT trim(login) AS login, name FROM padded WHERE login = :user") as backend:
        assert [person.name for person in find(backend, "alice")] == ["Alice"]
        assert find(backend, "alice ") == find(backend, "alice   ") == []
    with opened(url, "SELECT login, name FROM people WHERE lower(login) = lower(:user)") as backend:
        assert [person.name for person in find(backend, "Zoë")] == ["Zoë 日本"]
        assert find(backend, "ZOË") == find(backend, "zoë") == find(backend, "ALICE") == []


@pytest.fixture(autouse=True)
def warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
