"""``type: sql`` with SQLite files and a real PostgreSQL server: slow, locked, frozen, killed, and large."""

import contextlib
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")

from fingerd import load_config  # noqa: E402
from fingerd.backends import Lookup  # noqa: E402
from fingerd.backends.sql import Sql  # noqa: E402
from fingerd.backends.sql.sqlite import RECHECK_SECONDS  # noqa: E402
from fingerd.backends.sql.statement import check_statement  # noqa: E402
from fingerd.config.system_options import Secret  # noqa: E402
from fingerd.errors import BackendError, ConfigError  # noqa: E402
from fingerd.people import Person  # noqa: E402
from fingerd.ruip.policy import Policy, Rule  # noqa: E402
from fingerd.ruip.ruip import AnswerContext, ReplyOptions, Ruip  # noqa: E402
from tests.conftest import Start  # noqa: E402
from tests.helpers.daemons import (  # noqa: E402
    EXAMPLES,
    FINGERD,
    ROOT,
    TIMEOUT,
    ask,
    descriptors,
    let_everybody_in,
    status,
    wait_until,
)
from tests.helpers.postgresql import MISSING, PASSWORD, Postgresql, is_installed  # noqa: E402

QUERY = "SELECT login, name, plan FROM people WHERE login = :user"
LIST = "SELECT login, name FROM people ORDER BY login"
PEOPLE = """
CREATE TABLE people (id integer, login text PRIMARY KEY, name text, plan text);
INSERT INTO people VALUES (1, 'alice', 'Alice Archer', 'Back on Monday'), (2, 'bob', NULL, NULL);
INSERT INTO people VALUES (3, 'Zoë', 'Zoë 日本', '100%'), (4, 'it''s', 'Quote', ''), (5, ':user', 'Colon', '');
"""
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'u' || i AS login FROM n"
MILLION = 1_000_000


def find(backend: Sql, username: str, seconds: float = 10) -> Sequence[Person]:
    return backend.find(Lookup(username, False, "192.0.2.1", time.monotonic() + seconds))


def list_users(backend: Sql, seconds: float = 10) -> Iterator[Person]:
    people = backend.list_users(Lookup("", False, "192.0.2.1", time.monotonic() + seconds))
    assert people is not None
    return people


def create(path: Path, statements: str) -> str:
    """Execute the statements in an SQLite file, and return its URL."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
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


@contextlib.contextmanager
def opened(url: str, query: str = QUERY, list_query: str | None = LIST, **options: Any) -> Iterator[Sql]:
    """A backend, closed after the block."""
    backend = Sql(url, query, list_query, **options)
    try:
        yield backend
    finally:
        backend.close()


# People


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
    with opened(url, "SELECT * FROM people WHERE login = :user OR id < 4 ORDER BY id") as backend:
        assert [person.login for person in find(backend, "bob")] == ["bob", "alice", "Zoë"]
    many = "SELECT 'u' || a.id || b.id || c.id AS login FROM people a, people b, people c WHERE :user <> ''"
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
    empty = "SELECT CAST('{}' AS text[]) AS login, 'a secret' AS name UNION ALL SELECT ARRAY[NULL], 'a secret'"
    if url.startswith("postgresql"):
        with opened(url, list_query=empty) as backend:
            assert list(list_users(backend)) == []


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
    assert person.project == ("" if url.startswith("sqlite") else "a\nb\nc")


def test_percent_signs_colons_and_casts_reach_the_database_unchanged(url: str) -> None:
    query = r"SELECT login, '\:x 100%' AS plan FROM people WHERE login = :user AND name LIKE '%e A%'"
    with opened(url, query, "SELECT login FROM people WHERE name LIKE '%e A%' OR plan LIKE '100%';\n") as backend:
        assert find(backend, "alice") == [Person("alice", plan=":x 100%")]
        assert sorted(person.login for person in list_users(backend)) == ["Zoë", "alice"]


# Names

HOSTILE = [
    *(
        "'",
        '"',
        "''",
        "\\",
        "\\'",
        "alice'--",
        "alice' OR '1'='1",
        "' UNION SELECT 'a', 'b', 'c' --",
        "'; DROP TABLE people; --",
    ),
    *(
        "%",
        "_____",
        "a%",
        "alic_",
        "*",
        "alice/*",
        "alice --",
        "$1",
        "?",
        "%s",
        "%(user)s",
        "{user}",
        ":user2",
        "::text",
    ),
    *(
        "-l",
        "../../etc/passwd",
        ".",
        "0",
        "search.**",
        "`id`",
        "$(id)",
        ";id",
        "|id",
        "\x1b[2J",
        "%n%n%x",
        "a" * 1024,
        "alice ",
    ),
    *(
        "ALICE",
        "\u202e",
        "日本",
        "\U0001f600",
        "e\u0301",
        "Zoe\u0308",
        "alice\0",
        "\0",
        "\ud800",
        "alice\udcff",
        "1 OR 1=1",
        "$$",
        "E'\\'",
    ),
]


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


# Statements and options

BAD = {
    "SELECT login FROM people": "must contain :user",
    "SELECT login FROM people WHERE login = ':user'": "has :user in quotes or in a comment",
    'SELECT login AS ":user", :user': "has :user in quotes or in a comment",
    "SELECT :user -- not :user": "has :user in quotes or in a comment",
    "SELECT :user /* :user */": "has :user in quotes or in a comment",
    r"SELECT '\', :user, '": "a backslash before a quote differently",
    "SELECT $$ :user $$, :user": "dollar-quoted text is not supported",
    "SELECT :user, :other": "unknown parameter :other",
    "SELECT :user::text": r"write the cast as CAST\(:user AS …\)",
    "SELECT :user; SELECT 1": "must be a single statement",
    "SELECT :user; DROP TABLE people; --": "must be a single statement",
    "SELECT ':user": "an unterminated quote or comment",
    "SELECT :user /* /* */ */": "an unterminated quote or comment",
    "DELETE FROM people WHERE login = :user": "must begin with SELECT or WITH",
    "-- SELECT :user": "has :user in quotes or in a comment",
    "selection :user": "must begin with SELECT or WITH",
    "": "must begin with SELECT or WITH",
    "SELECT :user\0": "NUL",
}


@pytest.mark.parametrize(("query", "what"), BAD.items(), ids=BAD)
def test_a_query_must_be_one_select_with_user_as_its_only_parameter(query: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        check_statement(query, frozenset({"user"}))


@pytest.mark.parametrize(
    "query",
    [
        "select * from p where a = :user;\n",
        " /* it's */ SELECT 'it''s', \"a;b\" -- ;\n FROM p WHERE :user = a",
        r"WITH a AS (SELECT :user) SELECT x::text, '\:b', to_char(d, 'HH24:MI') FROM a WHERE c = ARRAY[:user]",
    ],
)
def test_accepted_queries(query: str) -> None:
    check_statement(query, frozenset({"user"}))


def problem_of(directory: Path, options: str) -> str:
    """The error message for a backend with these options, without its location."""
    path = directory / "fingerd.yaml"
    given = "" if "  query:" in options else '\n  query: "SELECT :user AS login"'
    path.write_text(f"backend:\n  type: sql{given}\n  {options}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    (problem,) = caught.value.problems
    return problem.partition("backend.")[2]


PROBLEMS = {
    "url: people.db": "url: must be a database URL such as postgresql://",
    "url: 'postgresql://u:a secret@h:x/db'": "url: must be a database URL such as postgresql://",
    "url: 'postgresql://u:a@secret@h/db'": "url: write @ in a password as %40",
    "url: 'postgres://h/db'": "url: unknown database type postgres (did you mean postgresql?)",
    "url: 'sqlite://'": "url: must be sqlite:/// and the path of a file",
    "url: 'sqlite://people.db'": "url: must be sqlite:/// and the path of a file",
    "url: 'sqlite:///:memory:'": "url: must be sqlite:/// and the path of a file",
    "url: 'sqlite:///people.db?mode=rwc'": "url: must be sqlite:/// and the path of a file",
    "url: 'oracle://secret@h'": "url: needs ",
    "url: 'postgresql+pg8000://u:secret@h/db'": "url: PostgreSQL needs psycopg2: write postgresql:// instead of",
    "url: 'postgresql://u:secret@h/db?async=1'": "url: async is not a libpq option",
    "url: 'postgresql://u:secret@h/db?connection_factory=x'": "url: connection_factory is not a libpq option",
    "url: 'postgresql://u:secret@h/db?client_encoding=none'": "url: client_encoding: unknown charset none",
    "url: 'sqlite:///p.db'\n  query: SELECT 1": "query: must contain :user",
    "url: 'sqlite:///p.db'\n  list_query: 'SELECT :user'": "list_query: has an unknown parameter :user",
    "url: 'sqlite:///p.db'\n  fields: {nam: x}": "fields.nam: there is no atom nam (did you mean name?)",
    "url: 'sqlite:///p.db'\n  connections: 0": "connections: must be from 1 to 1,000",
    "url: 'sqlite:///p.db'\n  password_env: NO_SUCH": "password_env: environment variable NO_SUCH is not set",
    "url: 'sqlite:///p.db'\n  password_file: none": "password_file: ",
    "url: 'sqlite:///p.db'\n  password_env: PATH": "url: SQLite has no users and no passwords",
    "url: 'postgresql://u:secret@h/db'\n  password_env: PATH": "url: already contains a password",
}


@pytest.mark.parametrize(("options", "what"), PROBLEMS.items(), ids=PROBLEMS)
def test_invalid_options_are_reported_without_secrets(
    options: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    message = problem_of(tmp_path, options)
    assert message.startswith(what)
    assert "secret" not in message


def test_only_one_password_option_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x\n")
    options = f"url: 'postgresql://h/db'\n  password_env: PATH\n  password_file: {tmp_path}/secret"
    assert problem_of(tmp_path, options) == "password_file: cannot be combined with password_env"


def test_a_missing_library_is_reported_with_its_packages(tmp_path: Path) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text('backend:\n  type: sql\n  url: postgresql://h/db\n  query: "SELECT :user AS login"\n')
    errors = {}
    for module in ("psycopg2", "sqlalchemy"):
        code = f"import sys; sys.modules['{module}'] = None; from fingerd.daemon.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "--check", "-c", str(config)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert result.returncode == 78
        errors[module] = result.stderr
    assert (
        "backend.url: needs psycopg2, which is not installed (pip install 'fingerd[postgresql]'" in errors["psycopg2"]
    )
    assert "the backend sql needs something that is not installed" in errors["sqlalchemy"]
    assert "(pip install 'fingerd[sql]', or Debian's python3-sqlalchemy)" in errors["sqlalchemy"]


def test_a_driver_that_cannot_be_loaded_is_reported(tmp_path: Path) -> None:
    (tmp_path / "psycopg2.py").write_text("raise ImportError('libpq.so.5: cannot open shared object file')\n")
    config = tmp_path / "fingerd.yaml"
    config.write_text('backend:\n  type: sql\n  url: postgresql://h/db\n  query: "SELECT :user AS login"\n')
    command = [*FINGERD, "--check", "-c", str(config)]
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})
    what = "backend.url: its driver cannot be loaded: libpq.so.5: cannot open shared object file\n"
    assert (result.returncode, result.stderr) == (78, f"{config}:3:8: {what}")


def test_requirements_that_a_chroot_lacks_are_reported(tmp_path: Path) -> None:
    def missing(url: str) -> list[str]:
        with opened(url) as backend:
            return [what.replace(str(tmp_path), "ROOT") for what in backend.missing_requirements(tmp_path)]

    assert missing("sqlite:////people.db") == ["there is no file ROOT/people.db"]
    create(tmp_path / "people.db", PEOPLE)
    assert missing("sqlite:////people.db") == []
    pytest.importorskip("psycopg2")
    assert missing("postgresql://127.0.0.1/db") == missing("postgresql://[::1]/db") == []
    names = "without etc/resolv.conf or etc/hosts in ROOT no host name can be looked up"
    assert missing("postgresql://db.example.org/db") == [names]
    socket = "there is no directory ROOT/run/postgresql with the server's socket"
    assert missing("postgresql:///db") == missing("postgresql:///db?host=/run/postgresql") == [socket]
    (tmp_path / "run" / "postgresql").mkdir(parents=True)
    assert missing("postgresql:///db") == []
    unknown = "sslmode=verify-full needs an sslrootcert in ROOT, where there is no home directory with root.crt"
    assert missing("postgresql://127.0.0.1/db?sslmode=verify-full") == [unknown]
    for name in ("sslrootcert", "sslcert", "sslkey", "passfile"):
        path = f"postgresql://127.0.0.1/db?sslmode=verify-ca&sslrootcert=/people.db&{name}=/etc/a"
        assert missing(path.replace("sslrootcert=/people.db&sslrootcert", "sslrootcert")) == [
            f"there is no file ROOT/etc/a ({name})"
        ]
    assert missing("postgresql://127.0.0.1/db?sslmode=verify-full&sslrootcert=/people.db") == []
    two = "postgresql:///db?host=/nowhere:5432&host=127.0.0.1:5432"
    assert missing(two) == ["there is no directory ROOT/nowhere with the server's socket"]
    assert missing("postgresql://db.example.org/db?hostaddr=127.0.0.1") == []


def test_a_list_sorted_without_an_index_requires_a_temporary_directory(tmp_path: Path) -> None:
    url = create(tmp_path / "people.db", PEOPLE).replace(str(tmp_path), "")

    def missing(list_query: str | None) -> list[str]:
        with opened(url, list_query=list_query) as backend:
            return [what.replace(str(tmp_path), "ROOT") for what in backend.missing_requirements(tmp_path)]

    sorted_by_name = "SELECT login, name || '\\:' AS name FROM people ORDER BY name"
    assert missing(None) == missing(LIST) == missing("SELECT login FROM nothing ORDER BY login") == []
    assert missing(sorted_by_name) == ["list_query sorts without an index: add an index, or the directory ROOT/tmp"]
    (tmp_path / "tmp").mkdir()
    assert missing(sorted_by_name) == []


# Passwords and failures


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
    "nested too deep": (
        {"query": "SELECT CAST(repeat('[', 9000) || repeat(']', 9000) AS json) AS plan WHERE :user <> ''"},
        "recursion depth exceeded",
    ),
    "value": ({"query": "SELECT date '12345-01-01' AS login WHERE :user <> ''"}, "year 12345 is out of range"),
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
        with connection, pytest.raises(sqlalchemy.exc.OperationalError, match="readonly"):
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


def failure_within(seconds: float, backend: Sql, lookup_seconds: float = 10) -> str:
    """The message of the failure, which must come within these seconds."""
    started = time.monotonic()
    with pytest.raises(BackendError) as caught:
        find(backend, "alice", lookup_seconds)
    assert time.monotonic() - started < seconds
    return str(caught.value)


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
    for host, what in {"nowhere.invalid": "nowhere.invalid: ", "a..b": "a..b: is no name of a host"}.items():
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
    with opened(server.url(), list_query=ENDLESS) as backend:
        people = list_users(backend)
        next(people)
        server.kill()
        server.start()
        with pytest.raises(BackendError, match=r"closed the connection|terminating connection"):
            list(people)
        assert len(find(backend, "alice")) == 1


# Concurrency


def test_threads_share_at_most_the_configured_connections(url: str) -> None:
    found: list[int] = []
    with opened(url, connections=4) as backend:
        before = descriptors(os.getpid())

        def work() -> None:
            found.extend(len(find(backend, "alice")) for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1] * 640
        assert before < descriptors(os.getpid()) <= before + 4
        people = [list_users(backend) for _ in range(4)]
        assert all(next(each).login for each in people)
        assert "all connections are in use" in failure_within(2, backend, 0.2)
        people.clear()  # an abandoned list releases its connection
        assert len(find(backend, "alice")) == 1
    assert descriptors(os.getpid()) == before


def test_clients_are_answered_in_time_while_the_server_is_killed_and_restarted(
    server: Postgresql, start: Start, tmp_path: Path
) -> None:
    daemon = start(
        f'listen: "127.0.0.1:0"\nlimits: {{answer_seconds: 3, threads: 8}}\nprocess: {{umask: "022"}}\n'
        f"backend: {{type: sql, url: '{server.url()}', query: '{QUERY}', timeout: 2}}\n"
    )
    address, good, failed = daemon.address, daemon.ask(b"alice\r\n"), b"Internal error in server\r\n"
    assert b"Alice Archer" in good
    answers: list[bytes] = []
    slowest = [0.0]
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            started = time.monotonic()
            answers.append(ask(address, b"alice\r\n"))
            slowest.append(time.monotonic() - started)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            wait_until(lambda: answers[-20:].count(good) == 20)
            server.kill()
            wait_until(lambda: answers[-20:].count(failed) == 20)
            server.start()
        wait_until(lambda: answers[-20:].count(good) == 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {good, failed}
    assert max(slowest) < 4
    assert int(status(daemon.process.pid, "Threads")[0]) <= 3 + 8
    count_connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fingerd'"
    assert 1 <= int(server.run(count_connections)) <= 8
    daemon.stop()
    assert not [line for line in daemon.log if "Traceback" in line or PASSWORD in line]
    assert [
        line for line in daemon.log if f"backend failed: sql postgresql://127.0.0.1:{server.port}/postgres: " in line
    ]
    wait_until(lambda: server.run(count_connections) == "0")


def test_a_frozen_server_delays_no_client_beyond_the_deadline(server: Postgresql, start: Start) -> None:
    daemon = start(
        f'listen: "127.0.0.1:0"\nlimits: {{answer_seconds: 2, threads: 4, per_client: 100}}\n'
        f"backend: {{type: sql, url: '{server.url()}', query: '{QUERY}', timeout: 1}}\n"
    )
    good = daemon.ask(b"alice\r\n")
    server.freeze(True)
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.ask(b"alice\r\n"))) for _ in range(12)]
    started = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        server.freeze(False)
    assert time.monotonic() - started < 5
    assert set(answers) <= {b"Internal error in server\r\n", b"Finger service is busy, try again later\r\n"}
    wait_until(lambda: daemon.ask(b"alice\r\n") == good)


# Large tables


LARGE = {
    "sqlite": f"""CREATE TABLE people (login text PRIMARY KEY, name text) WITHOUT ROWID;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MILLION})
        INSERT INTO people SELECT printf('u%07d', i), 'Name ' || i FROM n;""",
    "postgresql": f"""CREATE DATABASE large;
        \\connect large
        CREATE TABLE people AS SELECT 'u' || lpad(i::text, 7, '0') AS login, 'Name ' || i AS name
        FROM generate_series(1, {MILLION}) i; CREATE INDEX ON people (login)""",
}

MEASURED = """if True:
    import sys, time
    from fingerd.backends import Lookup
    from fingerd.backends.sql import Sql
    from fingerd.ruip.policy import Policy, Rule
    from fingerd.ruip.ruip import AnswerContext, ReplyOptions, Ruip
    from tests.helpers.daemons import status
    url, list_query = sys.argv[1:]
    backend = Sql(url, "SELECT * FROM people WHERE login = :user", list_query)
    unfiltered = Sql(url, "SELECT login FROM people WHERE :user <> ''")
    ruip = Ruip(backend, Policy((Rule(from_=("any",), list=True),)), ReplyOptions(), 1024, 262144)
    answer = lambda line: ruip.answer_line(line, AnswerContext("unix", time.monotonic() + 20, time.time())).reply
    assert b"Name 777777\\r\\n" in answer(b"u0777777"), answer(b"u0777777")
    assert answer(b"u7777777") == b"No such user\\r\\n"
    answer(b"")
    before = int(status("self", "VmHWM")[0])
    for _ in range(5):
        reply = answer(b"")
        assert len(unfiltered.find(Lookup("u", False, "unix", time.monotonic() + 20))) == 100
    assert reply.endswith(b"[answer cut]\\r\\n"), reply[-500:]
    assert b"u0000001" in reply and 250_000 < len(reply) <= 262144
    print(int(status("self", "VmHWM")[0]) - before)
"""


@pytest.mark.parametrize("kind", LARGE)
def test_a_million_rows_are_not_loaded(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "sqlite":
        url = create(tmp_path / "large.db", LARGE[kind])
    else:
        server: Postgresql = request.getfixturevalue("server")
        server.run(LARGE[kind])
        url = server.url(database="large")
    for list_query in ("SELECT login, name FROM people ORDER BY login", ENDLESS.replace("'u'", "'u000000'")):
        result = subprocess.run(
            [sys.executable, "-c", MEASURED, url, list_query], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert result.stderr == ""
        assert int(result.stdout) < 4096  # KiB


WIDE = {
    "sqlite": """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
        SELECT 'u' || i AS login, hex(zeroblob(524288)) AS plan FROM n WHERE '' <> '""",
    "postgresql": "SELECT 'u' || i AS login, repeat('x', 1048576) AS plan FROM generate_series(1, 600) i WHERE '' <> '",
}

WIDE_MEASURED = """if True:
    import sys, time
    from fingerd.backends import Lookup
    from fingerd.backends.sql import Sql
    from tests.helpers.daemons import status
    url, query = sys.argv[1:]
    backend = Sql(url, query + "' || :user", query + "x'")
    lookup = Lookup("u", False, "unix", time.monotonic() + 60)
    before = int(status("self", "VmHWM")[0])
    assert sum(1 for person in backend.list_users(lookup)) == 600
    print(int(status("self", "VmHWM")[0]) - before)
    assert len(backend.find(lookup)) == 100
"""


def test_wide_rows_are_fetched_in_small_batches(url: str) -> None:
    query = WIDE[url.partition(":")[0]]
    result = subprocess.run(
        [sys.executable, "-c", WIDE_MEASURED, url, query], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.stderr == ""
    assert int(result.stdout) < 200 * 1024  # KiB: a third of them all


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


# The examples


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
