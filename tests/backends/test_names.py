"""``names`` of the backends that ask others: no other name is asked for. So a service can stand beside people."""

import http.server
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fingerd.backends import Backend, load_type
from fingerd.backends.chain import Chain
from fingerd.backends.command import Command
from fingerd.backends.static import Static
from fingerd.backends.web import Web
from fingerd.errors import BackendError
from fingerd.testing import make_lookup
from tests.conftest import Start

NAMES = ("weather:*", "bob", "rene\u0301*", "a*b", "**")
NAMED = ("weather:oslo", "weather:", "weather:new york, us", "bob", "ren\u00e9", "ren\u00e9e", "a*b", "*", "*x")
OTHERS = ("weather", "Weather:oslo", "xweather:oslo", "bobby", "BOB", "rene", "axb", "alice")


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the name in the path."""

    def do_GET(self) -> None:
        """Answer."""
        body = unquote(self.path.rpartition("/")[2]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def command(_: str, __: Path, names: tuple[str, ...] | None) -> Backend:
    return Command(argv=("printf", "%s", "{user}"), names=names)


def web(prefix: str, _: Path, names: tuple[str, ...] | None) -> Backend:
    return Web(prefix=prefix, names=names)


def sql(_: str, folder: Path, names: tuple[str, ...] | None) -> Backend:
    pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")
    sqlite3.connect(folder / "people.db").close()
    url = f"sqlite:///{folder}/people.db"
    backend: Backend = load_type("sql")(url, "SELECT :user AS login, :user AS name", names=names)
    return backend


def text(backend: Backend, name: str) -> str | None:
    people = backend.find(make_lookup(name))
    return (people[0].text or people[0].name) if people else None


Make = Callable[[str, Path, tuple[str, ...] | None], Backend]


@pytest.mark.parametrize("make", [command, web, sql])
def test_only_these_names_are_found(make: Make, pages: str, tmp_path: Path) -> None:
    backend = make(pages, tmp_path, NAMES)
    assert [text(backend, name) for name in NAMED] == list(NAMED)
    assert [text(backend, name) for name in OTHERS] == [None] * len(OTHERS)
    backend.close()
    for names, found in ((None, True), (("*",), True), ((), False)):
        backend = make(pages, tmp_path, names)
        assert [text(backend, name) is not None for name in (*NAMED, *OTHERS)] == [found] * len(NAMED + OTHERS)
        backend.close()


@pytest.mark.parametrize("make", [command, web, sql])
def test_a_service_stands_beside_people(make: Make, pages: str, tmp_path: Path) -> None:
    people = Static({"bob": "a person", "weather": "a person"})
    for merge in (False, True):
        chain = Chain((make(pages, tmp_path, ("weather:*",)), people), merge=merge)
        for by_name in (False, True):
            found = {
                name: chain.find(make_lookup(name, by_name=by_name)) for name in ("weather:oslo", "bob", "weather", "x")
            }
            assert [[person.login for person in each] for each in found.values()] == [
                ["weather:oslo"],
                ["bob"],
                ["weather"],
                [],
            ]
            assert [person.text for person in (*found["bob"], *found["weather"])] == ["a person\n"] * 2
        chain.close()


ABSENT = {
    "command": {"argv": ("/nowhere/program",)},
    "web": {"prefix": "http://127.0.0.1:1/", "retries": 0},
    "sql": {"url": "sqlite:////nowhere/people.db", "query": "SELECT :user AS login"},
    "ldap": {"url": ("ldap://127.0.0.1:1",), "base": "dc=x", "name_filter": "(cn={word})"},
}


@pytest.mark.parametrize(("kind", "options"), ABSENT.items(), ids=ABSENT)
def test_nothing_is_asked_for_another_name(kind: str, options: dict[str, Any]) -> None:
    for module in {"sql": ["sqlalchemy"], "ldap": ["ldap3"]}.get(kind, []):
        pytest.importorskip(module)
    backend = load_type(kind)(names=NAMES, **options)
    for by_name in (False, True):
        assert [backend.find(make_lookup(name, by_name=by_name)) for name in OTHERS] == [()] * len(OTHERS)
        for name in NAMED:
            with pytest.raises(BackendError):
                backend.find(make_lookup(name, by_name=by_name))
    backend.close()


def test_a_daemon_has_a_service_beside_people(start: Start) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\n'
        "backend:\n"
        "  type: chain\n"
        "  backends:\n"
        "    - type: command\n"
        '      names: ["weather:*"]\n'
        '      argv: [printf, "rain in %s", "{user}"]\n'
        "    - {type: static, users: {bob: a person}}\n"
    )
    assert daemon.ask(b"weather:oslo\r\n") == b"rain in weather:oslo\r\n"
    assert daemon.ask(b"weather:new york\r\n") == b"rain in weather:new york\r\n"
    assert daemon.ask(b"bob\r\n") == b"a person\r\n"
    assert daemon.ask(b"weather\r\n") == b"No such user\r\n"
