"""The options of ``type: sql``: statements, URLs, passwords, and what a chroot lacks for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")

from fingerd import load_config
from fingerd.backends.sql.statement import read_statement
from fingerd.errors import ConfigError
from tests.backends.sql.backend import LIST, opened
from tests.backends.sql.conftest import PEOPLE, create
from tests.helpers.daemons import FINGERD, ROOT

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
    "SELECT :user /* /* */ */": "another /[*] in it",
    "SELECT :user /* /* */": "another /[*] in it",
    "SELECT :user */": "an unterminated quote or comment",
    "SELECT 1 /*! ; DROP TABLE people */ WHERE :user": "a comment with /[*]!",
    "SELECT :user) AS people, (SELECT 1": r"has a \) without its \(",
    "SELECT (:user": r"has a \( that is never closed",
    "SELECT ARRAY[:user": r"has a \[ that is never closed",
    "SELECT ARRAY[(:user])": r"has a \] without its \[",
    "SELECT a FROM p WHERE [b--c] = 1 AND a = :user": "has :user in quotes or in a comment",
    "SELECT a FROM p WHERE a = :user AND [b--c] = 1": r"has a \[ that is never closed",
    "; SELECT :user": "must begin with SELECT or WITH",
    "DELETE FROM people WHERE login = :user": "must begin with SELECT or WITH",
    "-- SELECT :user": "has :user in quotes or in a comment",
    "selection :user": "must begin with SELECT or WITH",
    "": "must begin with SELECT or WITH",
    "SELECT :user\0": "NUL",
}


@pytest.mark.parametrize(("query", "what"), BAD.items(), ids=BAD)
def test_a_query_must_be_one_select_with_user_as_its_only_parameter(query: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_statement(query, frozenset({"user"}))


@pytest.mark.parametrize(
    "query",
    [
        "select * from p where a = :user;\n",
        " /* it's */ SELECT 'it''s', \"a;b\" -- ;\n FROM p WHERE :user = a",
        r"WITH a AS (SELECT :user) SELECT x::text, '\:b', to_char(d, 'HH24:MI') FROM a WHERE c = ARRAY[:user]",
    ],
)
def test_accepted_queries(query: str) -> None:
    read_statement(query, frozenset({"user"}))


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
    "url: 'postgresql://u:secret@h/db?client_encoding=none'": "url: client_encoding: unknown charset",
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
    hint = "(pip install psycopg2-binary, or Debian's python3-psycopg2)"
    assert f"backend.url: needs psycopg2, which is not installed {hint}" in errors["psycopg2"]
    assert "the backend sql needs something that is not installed" in errors["sqlalchemy"]
    assert "(pip install SQLAlchemy, or Debian's python3-sqlalchemy)" in errors["sqlalchemy"]


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
    names = "host names cannot be resolved in ROOT: it needs etc/resolv.conf or etc/hosts"
    assert missing("postgresql://db.example.org/db") == [names]
    socket = "there is no directory ROOT/run/postgresql with the server's socket"
    assert missing("postgresql:///db") == missing("postgresql:///db?host=/run/postgresql") == [socket]
    (tmp_path / "run" / "postgresql").mkdir(parents=True)
    assert missing("postgresql:///db") == []
    unknown = "sslmode=verify-full needs sslrootcert: ~/.postgresql/root.crt is not visible in ROOT"
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
