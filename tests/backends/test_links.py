"""The atom ``links``, and the time of a plan, in every backend that can have them."""

import json
import logging
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fingerd import load_config
from fingerd.backends import Backend
from fingerd.errors import ConfigError
from fingerd.people import Person
from fingerd.people.links import parse_links
from fingerd.testing import make_lookup

LINES = ["profile", "me https://zoe.example/", "http://ostatus.org/schema/1.0/x acct:zoe@social.example text/html"]
LINKS = "\n".join(LINES)
PROFILE = "https://people.example/~zoe"
PARSED = [
    ("http://webfinger.net/rel/profile-page", PROFILE, "text/html"),
    ("me", "https://zoe.example/", ""),
    ("http://ostatus.org/schema/1.0/x", "acct:zoe@social.example", "text/html"),
]


def load(folder: Path, backend: object) -> Backend:
    """The backend of a configuration, which is JSON, and so YAML."""
    path = folder / "fingerd.yaml"
    path.write_text(json.dumps({"backend": backend}))
    return load_config(str(path)).backend


def zoe_of(backend: Backend) -> Person:
    (person,) = backend.find(make_lookup("zoe", verbose=True))
    return person


def in_static(folder: Path, links: str = LINKS) -> object:
    return {"type": "static", "users": {"zoe": {"plan": "Reading", "links": links}}}


def in_files(folder: Path, links: str = LINKS) -> object:
    (folder / "people" / "zoe").mkdir(parents=True)
    (folder / "people" / "zoe" / "links").write_text(f"\n{links}\n")
    (folder / "people" / "zoe" / "plan").write_text("Reading")
    return {"type": "files", "folder": str(folder / "people")}


def in_sql(folder: Path, links: str = LINKS) -> object:
    pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")
    with sqlite3.connect(folder / "people.db") as database:
        database.execute("CREATE TABLE people (login, plan, links)")
        database.execute("INSERT INTO people VALUES ('zoe', 'Reading', ?)", (links.replace("\n", "\r\n"),))
    database.close()
    return {"type": "sql", "url": f"sqlite:///{folder}/people.db", "query": "SELECT * FROM people WHERE login = :user"}


def in_json(folder: Path, links: object = LINES) -> object:
    (folder / "people.json").write_text(json.dumps({"id": "zoe", "status": "Reading", "urls": links}))
    program = [sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())", str(folder / "people.json")]
    return {"type": "command", "argv": program, "fields": {"login": "id", "plan": "status", "links": "urls"}}


def in_json_text(folder: Path) -> object:
    return in_json(folder, LINKS)


def merged(folder: Path) -> object:
    first = {"type": "static", "users": {"zoe": {"name": "Zoe Quill"}}}
    return {"type": "chain", "merge": True, "backends": [first, in_files(folder)]}


def cached(folder: Path) -> object:
    return {"type": "cache", "backend": in_files(folder)}


def aliased(folder: Path) -> object:
    return {"type": "aliases", "names": {"quill": "zoe"}, "backend": in_files(folder)}


SOURCES: list[Callable[[Path], object]] = [in_static, in_files, in_sql, in_json, in_json_text, merged, cached, aliased]


@pytest.mark.parametrize("source", SOURCES)
def test_every_backend_keeps_the_lines(tmp_path: Path, source: Callable[[Path], object]) -> None:
    backend = load(tmp_path, source(tmp_path))
    for _ in range(2):  # from the cache, the second time
        assert list(map(tuple, parse_links(zoe_of(backend).links, PROFILE))) == PARSED
    backend.close()


@pytest.mark.parametrize("source", [in_files, in_sql])
def test_lines_of_other_people_that_are_no_links_are_ignored(
    tmp_path: Path, source: Callable[[Path, str], object], caplog: pytest.LogCaptureFixture
) -> None:
    bad = "me javascript:alert(1)\n\0\nme https://zoe.example/\nnothing\n"
    with caplog.at_level(logging.INFO):
        backend = load(tmp_path, source(tmp_path, bad))
        assert [link.href for link in parse_links(zoe_of(backend).links)] == ["https://zoe.example/"]
    assert not caplog.messages
    backend.close()


def test_a_line_of_the_configuration_that_is_no_link_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(
        "backend:\n  type: static\n  users:\n"
        "    zoe: {links: profile}\n"
        "    bob: {links: 'me javascript:alert(1)'}\n"
        "    ann:\n      links: |\n        profile\n\n        https://ann.example/\n        me ftp://x\n"
        f"    eve: {{links: {json.dumps(''.join(f'me https://eve.example/{n}  ' + chr(10) for n in range(101)))}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    form = "must be profile, or REL HREF [TYPE], where HREF is a URI of http, https, mailto or acct"
    assert list(caught.value.problems) == [
        f"{path}:5:18: backend.users.bob.links: 'me javascript:alert(1)': {form}",
        f"{path}:7:14: backend.users.ann.links: 'https://ann.example/', 'me ftp://x': {form}",
        f"{path}:12:18: backend.users.eve.links: must be at most 100 links",
    ]


WHEN = 1_600_000_000.25


@pytest.mark.parametrize("source", [in_files, merged, cached, aliased])
def test_the_time_of_a_plan_is_that_of_its_file(tmp_path: Path, source: Callable[[Path], object]) -> None:
    backend = load(tmp_path, source(tmp_path))
    os.utime(tmp_path / "people" / "zoe" / "plan", (1, WHEN))
    assert zoe_of(backend).plan_changed == WHEN
    backend.close()


def test_a_plan_that_is_a_single_file_has_its_time(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "zoe.txt").write_text("Reading")
    os.utime(tmp_path / "people" / "zoe.txt", (1, WHEN))
    backend = load(tmp_path, {"type": "files", "folder": str(tmp_path / "people")})
    assert zoe_of(backend).plan_changed == WHEN
    (listed,) = list(backend.list_users(make_lookup("")) or ())
    assert (listed.plan, listed.plan_changed) == ("", None)


def test_the_time_of_a_plan_in_the_configuration_is_that_of_its_file_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: static, users: {zoe: {plan: Reading}, bob: {name: Bob}, eve: a text}}\n")
    os.utime(path, (1, WHEN))
    backend = load_config(str(path)).backend
    os.utime(path, (1, WHEN + 1))
    people = {person.login: person.plan_changed for person in backend.list_users(make_lookup("")) or ()}
    assert people == {"zoe": WHEN, "bob": None, "eve": None}
    assert zoe_of(load_config(str(path)).backend).plan_changed == WHEN + 1


def test_the_time_of_the_file_is_no_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown option"):
        load(tmp_path, {"type": "static", "users": {}, "changed": 1})


@pytest.mark.parametrize("source", [in_sql, in_json])
def test_a_source_without_times_has_none(tmp_path: Path, source: Callable[[Path], object]) -> None:
    backend = load(tmp_path, source(tmp_path))
    assert (zoe_of(backend).plan, zoe_of(backend).plan_changed) == ("Reading", None)
    backend.close()
