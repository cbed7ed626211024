"""``type: sql`` with SQLite files and a real PostgreSQL server: rows, usernames, lookups in a chroot, the examples."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")

from fingerd import load_config
from fingerd.backends import Lookup
from fingerd.backends.sql import Sql
from fingerd.errors import BackendError
from fingerd.people import Person
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.ruip import AnswerContext, ReplyOptions, Ruip
from tests.backends.sql.backend import LIST, QUERY, find, list_users, opened
from tests.backends.sql.conftest import PEOPLE
from tests.conftest import Start
from tests.helpers.daemons import EXAMPLES, FINGERD, ROOT, let_everybody_in
from tests.helpers.postgresql import Postgresql


def test_each_row_is_a_person_and_its_columns_are_atoms(url: str) -> None:
    with opened(url) as backend:
        assert find(backend, "alice") == [Person("alice", name="Alice Archer", plan="Back on Monday")]
        assert find(backend, "bob") == [Person("bob", plan="")]
        assert find(backend, "Zoë") == [Person("Zoë", name="Zoë 日本", plan="100%")]
        assert find(backend, "ALICE") == find(backend, "nobody") == []
        assert {person.login for person in list_users(backend)} == {"alice", "bob", "Zoë", "it's", ":user"}
    with opened(url, list_query=None) as backend:
        assert backend.list_users(Lookup("", False, "unix", time.monotonic() + 1)) is None


def test_fields_maps_atoms_to_columns(url: str) -> None:
    query = "SELECT id AS nr, name AS called, 1 AS plan FROM people WHERE login = :user"
    with opened(url, query, fields={"name": "called", "office": "nr"}) as backend:
        assert find(backend, "alice") == [Person("alice", name="Alice Archer", office="1", plan="")]
        with pytest.raises(BackendError, match="the query returns no column called, only login, name"):
            list(list_users(backend))


def test_several_rows_are_several_people_with_the_exact_login_first_and_at_most_100(url: str) -> None:
    every = "SELECT p.*, CAST(:user AS text) AS asked FROM people p WHERE login = :user OR id < 4 ORDER BY id"
    with opened(url, every) as backend:
        assert [person.login for person in find(backend, "bob")] == ["bob", "alice", "Zoë"]
    many = "SELECT 'u' || a.id || b.id || c.id AS login, 'bob' AS asked FROM people a, people b, people c"
    many += " WHERE :user <> ''"
    with opened(url, many) as backend:
        assert len(find(backend, "bob")) == 100


def test_columns_that_are_not_atoms_are_ignored_but_one_atom_is_required(url: str) -> None:
    with opened(url, "SELECT id, id AS nick, name, id AS name FROM people WHERE login = :user") as backend:
        assert find(backend, "alice") == [Person("alice", name="Alice Archer", plan="")]
    with opened(url, "SELECT id, 1 AS x FROM people WHERE login = :user", "SELECT name, id FROM people") as backend:
        with pytest.raises(BackendError, match=r"the query returns no column named after an atom, only id, x$"):
            find(backend, "alice")
        with pytest.raises(BackendError, match=r"list_query returns no column for login$"):
            next(list_users(backend))


def test_rows_without_a_login_are_not_listed(url: str) -> None:
    secret = (
        "SELECT '' AS login, 'a secret' AS name UNION ALL SELECT NULL, 'a secret' UNION ALL SELECT '  ', 'a secret'"
        " UNION ALL SELECT 'bob', 'Bob'"
    )
    with opened(url, list_query=secret) as backend:
        assert [person.login for person in list_users(backend)] == ["bob"]


VALUES = {
    "sqlite": (
        "SELECT :user AS login, 5 AS name, 1.5 AS office, x'42C3A4' AS plan, CAST(x'62E468' AS text) AS job",
        "bäh",
    ),
    "postgresql": (
        "SELECT CAST(:user AS text) AS login, 5 AS name, 1.50 AS office, '\\x42c3a4' :: bytea AS plan,"
        " date '2026-11-23' AS job, ARRAY[ARRAY['a',NULL],ARRAY['b','c']] AS project",
        "2026-11-23",
    ),
}


def test_values_of_every_type_become_text(url: str) -> None:
    query, job = VALUES[url.partition(":")[0]]
    with opened(url, query) as backend:
        (person,) = find(backend, "alice")
    assert (person.name, person.office.rstrip("0"), person.plan, person.job) == ("5", "1.5", "Bä", job)
    assert person.project == ("" if url.startswith("sqlite") else "{{a,NULL},{b,c}}")


def test_percent_signs_colons_and_casts_reach_the_database_unchanged(url: str) -> None:
    query = r"SELECT login, '\:x 100%' AS plan FROM people WHERE login = :user AND name LIKE '%e A%'"
    with opened(url, query, "SELECT login FROM people WHERE name LIKE '%e A%' OR plan LIKE '100%';\n") as backend:
        assert find(backend, "alice") == [Person("alice", plan=":x 100%")]
        assert sorted(person.login for person in list_users(backend)) == ["Zoë", "alice"]


# Usernames

HOSTILE = [
    "'", '"', "''", "\\", "\\'", "alice'--", "alice' OR '1'='1", "' UNION SELECT 'a', 'b', 'c' --",
    "'; DROP TABLE people; --", "%", "_____", "a%", "alic_", "*", "alice/*", "alice --", "$1", "?", "%s", "%(user)s",
    "{user}", ":user2", "::text", "-l", "../../etc/passwd", ".", "0", "search.**", "`id`", "$(id)", ";id", "|id",
    "\x1b[2J", "%n%n%x", "a" * 1024, "alice ", "ALICE", "\u202e", "日本", "\U0001f600", "e\u0301", "Zoe\u0301",
    "alice\0", "\0", "\ud800", "alice\udcff", "1 OR 1=1", "$$", "E'\\'",
]  # fmt: skip


def test_a_username_is_only_a_value(url: str) -> None:
    with opened(url) as backend:
        for username in HOSTILE:
            assert list(find(backend, username)) == [], username
        assert [person.name for name in ("it's", ":user") for person in find(backend, name)] == ["Quote", "Colon"]
        assert len(list(list_users(backend))) == 5


def test_a_username_that_the_charset_of_the_database_lacks_is_unknown(server: Postgresql) -> None:
    server.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    server.run("CREATE TABLE people (login text); INSERT INTO people VALUES ('Zoë')", "latin")
    query = "SELECT login FROM people WHERE login = :user"
    for options in ("", "?client_encoding=latin1"):  # the server reports it, or the driver
        with opened(server.url(database="latin") + options, query) as backend:
            assert find(backend, "Zoë") == [Person("Zoë", plan="")]
            assert list(find(backend, "日本")) == []
    with opened(server.url(database="latin"), query.replace("WHERE", "WHERE '日本' = login OR")) as backend:
        with pytest.raises(BackendError, match="has no equivalent"):
            find(backend, "alice")


# Chroot

WITHOUT_IMPORTS = """if True:
    import os, sys, time
    from fingerd.backends import Lookup
    from fingerd.backends.sql import Sql
    from fingerd.errors import BackendError
    url, query, list_query = sys.argv[1:]
    backends = [Sql(url, query, list_query), Sql(url, "SELECT FROM nothing WHERE :user"), Sql(url, query, list_query)]
    class Refuse:
        def find_spec(self, name, *_):
            os.write(2, f"late import of {name}".encode())
            os._exit(1)
    sys.meta_path.insert(0, Refuse())
    lookup = lambda name: Lookup(name, False, "unix", time.monotonic() + 5)
    assert len(backends[0].find(lookup("alice"))) == 1 and len(list(backends[0].list_users(lookup("")))) == 5
    assert not backends[0].find(lookup("Zo\\u00eb2\\ud800")) and not backends[0].find(lookup("nobody\\u65e5"))
    for backend, seconds in ((backends[1], 5), (backends[2], -1)):
        try:
            backend.find(Lookup("alice", False, "unix", time.monotonic() + seconds))
            os._exit(2)
        except BackendError:
            pass
    for backend in backends:
        backend.close()
    del sys.meta_path[0]
"""


def test_lookups_import_nothing(url: str) -> None:
    check_imports(url)


def test_lookups_in_a_database_without_a_charset_import_nothing(server: Postgresql) -> None:
    server.run("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    server.run(PEOPLE, "ascii")
    check_imports(server.url(database="ascii"))


def check_imports(url: str) -> None:
    command = [sys.executable, "-c", WITHOUT_IMPORTS, url, QUERY, LIST]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.root
def test_people_are_found_in_a_chroot(url: str, start: Start, tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    path = url.removeprefix("sqlite:///")
    inside = url.replace(path, "/people.db") if url.startswith("sqlite") else url
    daemon = start(
        f'listen: "127.0.0.1:0"\nbackend: {{type: sql, url: "{inside}", query: "{QUERY}", list_query: "{LIST}"}}\n'
        f"policy: [{{from: any, list: true}}]\nprocess: {{user: nobody, chroot: {tmp_path}}}\n"
    )
    assert b"Alice Archer" in daemon.ask(b"alice\r\n")
    assert daemon.ask(b"nobody\r\n") == b"No such user\r\n"
    assert b"alice" in daemon.ask(b"\r\n")


# Examples


def test_the_sqlite_example_works(tmp_path: Path) -> None:
    created = subprocess.run([sys.executable, EXAMPLES / "people-db", "people.db"], cwd=tmp_path, check=False)
    assert created.returncode == 0
    config = EXAMPLES / "sql.yaml"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def output(*arguments: str) -> str:
        command = [*FINGERD, "-c", str(config), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    assert output("--check") == f"{config}: no problem found\n"
    member_output = output("--query", "brindle")
    assert "Brindle Oakenshaw" in member_output
    assert "555-0102" in member_output
    assert "555-0102" not in output("--query", "brindle", "--from", "203.0.113.9")
    assert "zoe" in output("--query", "")
    assert output("--query", "tansy") == output("--query", "nobody") == "No such user\n"


def test_the_postgresql_example_works(server: Postgresql, tmp_path: Path) -> None:
    server.run("CREATE DATABASE people")
    server.run((EXAMPLES / "postgresql.sql").read_text(), "people")
    server.run("ALTER ROLE fingerd PASSWORD 'a secret'")
    text = (EXAMPLES / "postgresql.yaml").read_text()
    assert "url: postgresql://fingerd@/people?host=/run/postgresql" in text
    path = tmp_path / "fingerd.yaml"
    path.write_text(
        text.replace("host=/run/postgresql", f"host={server.directory}&port={server.port}&password=a+secret")
    )
    backend = load_config(str(path)).backend
    assert isinstance(backend, Sql)
    ruip = Ruip(backend, Policy((Rule(from_=("any",), show=("everything",), list=True),)), ReplyOptions(), 1024, 65536)

    def output(line: str) -> str:
        return ruip.answer_line(line.encode(), AnswerContext("unix", time.monotonic() + 5, time.time())).reply.decode()

    assert "Brindle Oakenshaw" in output("brindle")
    assert "zoe" in output("")
    assert output("tansy") == output("nobody") == "No such user\r\n"
    backend.close()
    with opened(server.url("fingerd", "a secret", "people"), "SELECT * FROM people WHERE login = :user") as direct:
        with pytest.raises(BackendError, match="permission denied"):  # the view hides people and columns
            find(direct, "brindle")
