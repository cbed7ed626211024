"""The sources of the backends that are measured: a file, servers and a program, each with the same people."""

import base64
import contextlib
import json
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.peers import UnavailableError
from bench.people import NAME, PLAN
from tests.helpers import postgresql, slapd
from tests.helpers.daemons import wait_until
from tests.helpers.ports import free_port

USER, PEOPLE = "alice", 1_000
TEXT = f"{NAME}\nPlan:\n{PLAN}"
RECORD = f"{{name: {NAME}, plan: {json.dumps(PLAN)}}}"

COLUMNS = "login VARCHAR(40) PRIMARY KEY, name VARCHAR(80), plan TEXT"
QUERY = "SELECT login, name, plan FROM people WHERE login = :user"
ATTRIBUTES = ("uid", "cn", "description")
FIELDS = "name: [cn], plan: [description], " + ", ".join(
    f"{atom}: []" for atom in ("office", "office_phone", "home_phone", "job", "directory", "shell")
)


@dataclass(frozen=True, slots=True)
class Access:
    """How a running source is queried: the configuration of fingerd's backend, and the arguments of the baseline."""

    backend: str
    arguments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Source:
    """A source of people."""

    name: str
    library: str  # a module of bench.baselines
    start: Callable[[], contextlib.AbstractContextManager[Access]]  # may raise UnavailableError
    queries: int  # of a run
    is_text: bool = False  # an answer is a text, not a record
    forks: bool = False


@contextlib.contextmanager
def _sqlite() -> Iterator[Access]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "people.db")
        with contextlib.closing(sqlite3.connect(path)) as file, file:
            file.execute(f"CREATE TABLE people ({COLUMNS})")
            file.executemany("INSERT INTO people VALUES (?, ?, ?)", ((login, NAME, PLAN) for login in _logins()))
        yield _sql(f"sqlite:///{path}")


@contextlib.contextmanager
def _postgresql() -> Iterator[Access]:
    """Over TCP, with a password."""
    if not postgresql.is_installed():
        raise UnavailableError(postgresql.MISSING)
    with contextlib.closing(postgresql.Postgresql()) as server:
        rows = ", ".join(f"('{login}', '{NAME}', '{PLAN}')" for login in _logins())
        server.run(f"CREATE TABLE people ({COLUMNS}); INSERT INTO people VALUES {rows}; ANALYZE people")
        yield _sql(server.url())


def _sql(url: str) -> Access:
    return Access(f"{{type: sql, url: {json.dumps(url)}, query: {json.dumps(QUERY)}}}", (url, QUERY))


@contextlib.contextmanager
def _ldap() -> Iterator[Access]:
    """Over TCP, anonymously."""
    if not slapd.SLAPD:
        raise UnavailableError("needs slapd (Debian: apt install slapd)")
    plan = base64.b64encode(PLAN.encode()).decode()
    people = "".join(
        f"\ndn: uid={login},{slapd.SUFFIX}\nobjectClass: inetOrgPerson\n"
        f"uid: {login}\ncn: {NAME}\nsn: Example\ndescription:: {plan}\n"
        for login in _logins()
    )
    with tempfile.TemporaryDirectory() as directory:
        server = slapd.Slapd(Path(directory), f"dn: {slapd.SUFFIX}\nobjectClass: domain\ndc: example\n{people}")
        try:
            backend = f"{{type: ldap, url: ['{server.ldap}'], base: '{slapd.SUFFIX}', fields: {{{FIELDS}}}}}"
            yield Access(backend, (server.ldap, slapd.SUFFIX, ",".join(ATTRIBUTES)))
        finally:
            server.stop()


@contextlib.contextmanager
def _web() -> Iterator[Access]:
    """A C program with the same page for all users."""
    port = free_port()
    with subprocess.Popen([peers.compiled("pages"), str(port), TEXT]) as process:
        try:
            wait_until(lambda: _listens(port))
            prefix = f"http://127.0.0.1:{port}/"
            yield Access(f"{{type: web, prefix: '{prefix}'}}", (prefix,))
        finally:
            process.kill()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


@contextlib.contextmanager
def _command() -> Iterator[Access]:
    argv = ("/bin/echo", TEXT)
    yield Access(f"{{type: command, argv: {json.dumps([*argv, '{user}'])}}}", argv)


def _logins() -> Sequence[str]:
    return (USER, *(f"user{number}" for number in range(1, PEOPLE)))


SOURCES = (
    Source("SQLite", "sql", _sqlite, 5_000),
    Source("PostgreSQL", "sql", _postgresql, 5_000),
    Source("LDAP", "ldap", _ldap, 3_000),
    Source("web", "web", _web, 3_000, is_text=True),
    Source("command", "command", _command, 600, is_text=True, forks=True),
)
