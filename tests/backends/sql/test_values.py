"""``type: sql``: values of every type become the text that the database writes, and none costs the answer."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")

from fingerd.backends.sql import database
from fingerd.backends.sql.driver import Driver
from fingerd.errors import BackendError
from fingerd.people import Person
from tests.backends.sql.backend import ENDLESS, find, list_users, opened
from tests.backends.sql.conftest import PEOPLE, create
from tests.helpers.postgresql import Postgresql

POSTGRESQL = {
    "5": "5",
    "123456789012345678901234567890": "123456789012345678901234567890",
    "0.00000000::numeric": "0.00000000",
    "1e30::numeric": "1" + "0" * 30,
    "'NaN'::numeric": "NaN",
    "1.50": "1.50",
    "1e20::float8": "1" + "0" * 20,
    "1.5e-9::float8": "0.0000000015",
    "-2.5::float4": "-2.5",
    "5::float8": "5",
    "'-Infinity'::float8": "-Infinity",
    "'$1,234.50'::money::numeric": "1234.50",
    "true": "true",
    "1 > 2": "false",
    """'{"a": [1, null, true], "b": 1e2}'::json""": '{"a": [1, null, true], "b": 1e2}',
    """'{"a":null,"é":1.0}'::jsonb""": '{"a": null, "é": 1.0}',
    "'[1,2]'::jsonb": "[1, 2]",
    "(repeat('[', 9000) || repeat(']', 9000))::json": "[" * 9000 + "]" * 9000,
    r"'\x42c3a4'::bytea": "Bä",
    r"'\x636166e9'::bytea": "café",
    r"'\x00ff'::bytea": r"\x00ff",
    r"'\x89504e470d0a1a0a'::bytea": r"\x89504e470d0a1a0a",
    "''::bytea": "",
    "ARRAY['a', NULL, 'b c', '1,2']": '{a,NULL,"b c","1,2"}',
    "ARRAY[ARRAY[1, 2], ARRAY[3, 4]]": "{{1,2},{3,4}}",
    "ARRAY[true, false]": "{t,f}",
    "ARRAY[0.00000000]": "{0.00000000}",
    "ARRAY[date '2026-11-23', 'infinity']": "{2026-11-23,infinity}",
    "'{}'::text[]": "{}",
    "interval '1 day 2 hours'": "1 day 02:00:00",
    "interval '-3 months 00:00:00.5'": "-3 mons +00:00:00.5",
    "time '24:00'": "24:00:00",
    "timetz '12:30:00+05:30'": "12:30:00+05:30",
    "date '2026-11-23'": "2026-11-23",
    "date '12345-01-01'": "12345-01-01",
    "date '0044-03-15 BC'": "0044-03-15 BC",
    "timestamp 'infinity'": "infinity",
    "timestamp '2026-11-23 10:00:00.25'": "2026-11-23 10:00:00.25",
    "timestamptz '2026-11-23 10:00:00+02' AT TIME ZONE 'UTC'": "2026-11-23 08:00:00",
    "timestamptz '294276-01-01 00:00:00+00'": "294276-01-01 00:00:00+00",
    "timestamptz '0001-01-01 00:00:00+00 BC'": "0001-01-01 00:00:00+00 BC",
    "'550e8400-e29b-41d4-a716-446655440000'::uuid": "550e8400-e29b-41d4-a716-446655440000",
    "inet '192.0.2.1/24'": "192.0.2.1/24",
    "int4range(1, 5)": "[1,5)",
    "tstzrange('0044-03-15 BC', 'infinity')::text <> ''": "true",
    "ROW(1, 'a b', NULL)": '(1,"a b",)',
    "point(1, 2)": "(1,2)",
    "'happy'::mood": "happy",
    "B'101'": "101",
}
SQLITE = {
    "5": "5",
    "1e20": "1" + "0" * 20,
    "1.5e-9": "0.0000000015",
    "0.0": "0.0",
    "9e999": "Infinity",
    "1 > 2": "0",
    "x'42c3a4'": "Bä",
    "x'636166e9'": "café",
    "x'00ff'": r"\x00ff",
    "x''": "",
    "CAST(x'636166e9' AS text)": "café",
    "CAST(x'ff' AS text)": "ÿ",
    """'{"a": null}'""": '{"a": null}',
}


@pytest.fixture(scope="module")
def typed(server: Postgresql) -> Iterator[Postgresql]:
    server.run("CREATE TYPE mood AS ENUM ('happy', 'sad'); ALTER ROLE finger SET timezone = 'UTC'")
    yield server
    server.run("ALTER ROLE finger RESET timezone; DROP TYPE mood")


def check(url: str, values: Mapping[str, str]) -> None:
    """Hold each value against its text, for a name and in a list."""
    for value, text in values.items():
        query = f"SELECT CAST(:user AS text) AS login, {value.replace(':', chr(92) + ':')} AS plan"
        with opened(url, query, query.replace("CAST(:user AS text)", "'alice'")) as backend:
            assert find(backend, "alice") == [Person("alice", plan=text)], value
            assert list(list_users(backend)) == [Person("alice", plan=text)], value


def test_postgresql_writes_its_values(typed: Postgresql) -> None:
    check(typed.url("finger", "a secret"), POSTGRESQL)


def test_sqlite_writes_its_values(tmp_path: Path) -> None:
    check(create(tmp_path / "people.db", ""), SQLITE)


def test_numbers_and_truths_are_logins(url: str) -> None:
    query = (
        "SELECT :user AS asked, 1 AS login, 'x' AS plan"
        if url.startswith("sqlite")
        else ("SELECT CAST(:user AS text) AS asked, true AS login, 'x' AS plan")
    )
    with opened(url, query) as backend:
        (person,) = find(backend, "alice")
        assert person.login == ("1" if url.startswith("sqlite") else "true")


BYTES = """CREATE TABLE people (login text, name text, plan text[]);
INSERT INTO people VALUES ('Zoë', 'Zoë 日本', NULL), (E'caf\\xe9', E'na\\xefve', NULL);
INSERT INTO people VALUES ('bob', E'\\xff', ARRAY[E'\\xe4'])"""


def test_a_database_without_a_charset_may_hold_any_bytes(server: Postgresql) -> None:
    """The server refuses to send what is not in the client's charset, and one row would cost the whole list."""
    server.run("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    server.run(BYTES, "bytes")
    query = "SELECT login, name, plan, 'ä' AS job FROM people WHERE login = :user OR name = 'ä'"
    with opened(server.url(database="bytes"), query, "SELECT login, name FROM people ORDER BY name") as backend:
        assert find(backend, "Zoë") == [Person("Zoë", name="Zoë 日本", job="ä", plan="")]
        assert find(backend, "bob") == [Person("bob", name="ÿ", job="ä", plan="{ä}")]
        assert find(backend, "日本") == []
        assert {(person.login, person.name) for person in list_users(backend)} == {
            ("Zoë", "Zoë 日本"), ("café", "naïve"), ("bob", "ÿ"),
        }  # fmt: skip
    latin = server.url(database="bytes") + "?client_encoding=latin1"
    with opened(latin, query.replace("ä", "a"), "SELECT login FROM people WHERE login <> 'Zo'") as backend:
        assert "café" in {person.login for person in list_users(backend)}


# What is checked and what is sent

ENDS = (
    "",
    ";",
    ";\n",
    "; -- note",
    ";--note",
    "; /* a; b */ ;",
    " -- note",
    " /* ; */",
    "\n--;\n;-- 'it''s'\n",
    " ; ; ",
)


@pytest.mark.parametrize("end", ENDS)
def test_a_statement_may_end_in_semicolons_and_comments(end: str, url: str) -> None:
    query = "SELECT login, 'a;b--c/*d*/' AS plan FROM people WHERE login = :user"
    with opened(url, query + end, query.replace(":user", "'bob'") + end) as backend:
        for people in (find(backend, "bob"), list(list_users(backend))):
            assert people == [Person("bob", plan="a;b--c/*d*/")]
        assert find(backend, "nobody") == []


def test_comments_inside_of_a_statement_are_sent(url: str) -> None:
    query = "-- first; line\nSELECT login /* a ; */ FROM people -- where?\n WHERE login = :user -- ; the end"
    with opened(url, query, query.replace(":user", "'bob'")) as backend:
        assert find(backend, "bob") == list(list_users(backend)) == [Person("bob", plan="")]


# A database type without special support


def test_any_database_of_sqlalchemy_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite by the driver of all others: no LIMIT, SQLAlchemy's transactions, its rows one batch after the other."""
    monkeypatch.setattr(database, "DRIVER_TYPES", {})
    url = create(tmp_path / "people.db", PEOPLE)
    ends = "SELECT login, name, '100%' AS plan FROM people WHERE login = :user; -- note"
    with opened(url, ends, f"{ENDLESS} LIMIT 1000;") as backend:
        assert type(backend._database.driver) is Driver
        for _ in range(3):
            assert find(backend, "alice") == [Person("alice", name="Alice Archer", plan="100%")]
            assert len(list(list_users(backend))) == 1000
            people = list_users(backend)
            assert next(people).login == "u1"
            people.close()  # type: ignore[attr-defined]
    with opened(url, "SELECT no_such AS login WHERE :user", "SELECT no_such AS login") as backend:
        with pytest.raises(BackendError, match="no such column: no_such"):
            find(backend, "alice")
        with pytest.raises(BackendError, match="no such column: no_such"):
            list(list_users(backend))
