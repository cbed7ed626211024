"""``type: static``: users that are written in the configuration."""

import math
from pathlib import Path

import pytest

from fingerd.backends.static import Static
from fingerd.errors import ConfigError
from fingerd.people import Person, Record
from fingerd.settings import load_config
from fingerd.testing import make_lookup
from tests.conftest import Start

ANN = Record(name="Ann Archer", office="Room 7")
USERS = Static({"ann": ANN, "archer": "I am archer", "bob": Record(name="Bob Archer")})


@pytest.mark.parametrize(
    ("name", "logins", "by_name_logins"),
    [
        ("ann", ["ann"], ["ann"]),
        ("Ann", [], ["ann"]),
        ("archer", ["archer"], ["archer", "ann", "bob"]),
        ("archer bob", [], ["bob"]),
        ("arch", [], []),
        ("", [], []),
    ],
)
def test_find_matches_the_exact_login_and_by_name_words_of_full_names(
    name: str, logins: list[str], by_name_logins: list[str]
) -> None:
    assert [person.login for person in USERS.find(make_lookup(name))] == logins
    assert [person.login for person in USERS.find(make_lookup(name, by_name=True))] == by_name_logins


def test_a_user_is_a_record_or_a_text_that_ends_with_one_newline() -> None:
    assert USERS.find(make_lookup("ann")) == (Person("ann", name="Ann Archer", office="Room 7", plan=""),)
    for text in ("I am zoe", "I am zoe\n"):
        assert Static({"zoe": text}).find(make_lookup("zoe")) == (Person("zoe", "I am zoe\n"),)


def test_the_list_has_all_users_in_the_order_of_the_configuration() -> None:
    assert [person.login for person in USERS.list_users(make_lookup(""))] == ["ann", "archer", "bob"]
    assert list(Static({}).list_users(make_lookup(""))) == []


def test_its_answers_may_be_repeated_until_the_next_reload() -> None:
    assert not USERS.blocking
    assert USERS.repeatable_seconds == math.inf


@pytest.mark.parametrize("name", ["a@b", "/W", " ann", ""])
def test_a_name_that_no_query_can_contain_is_an_error_at_its_place(name: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend:\n  type: static\n  users:\n    '{name}': x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}:4:")
    assert problem.endswith(f": backend.users.{name}: no query can ask for a user called {name!r}")


def test_a_daemon_answers_with_texts_and_records(start: Start) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\nbackend: {type: static, users: {moshez: Happy and well, ann: {name: Ann Archer}}}\n'
    )
    assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"
    assert daemon.ask(b"ann\r\n").startswith(b"Login name: ann")
    assert b"In real life: Ann Archer\r\n" in daemon.ask(b"ann\r\n")
    assert daemon.ask(b"bob\r\n") == b"No such user\r\n"
