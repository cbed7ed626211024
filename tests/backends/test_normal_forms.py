"""Names in Unicode: one name has several spellings, as é or e and an accent; they are compared in NFC."""

import sqlite3
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest

from fingerd.errors import ConfigError
from fingerd.protocol.query import Query
from fingerd.ruip.ruip import AnswerContext
from fingerd.server.active_config import ActiveConfig
from fingerd.settings import load_config

UNKNOWN = "No such user\n"


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


# Each name in NFC, and in all its other spellings.
NAMES: Mapping[str, tuple[str, ...]] = {
    "rené": (nfd("rené"),),
    "Ångström": (nfd("Ångström"), "\u212bngström", "Ångstro\u0308m"),
    "ệ": ("e\u0323\u0302", "e\u0302\u0323", "\u1eb9\u0302", "ê\u0323"),
    "김": (nfd("김"),),
    "Ωmega": ("\u2126mega",),
    "שּׁ": ("\ufb2c",),
}
SPELLINGS = [(name, spelling) for name, others in NAMES.items() for spelling in (name, *others)]


def ask(tmp_path: Path, config: str, *queries: str, policy: str = "{from: any, list: true}") -> list[str]:
    """The answers to the queries, with this backend and this rule."""
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {config}\npolicy: [{policy}]\n", encoding="utf-8")
    active = ActiveConfig(load_config(str(path)))
    try:
        context = AnswerContext("192.0.2.7", float("inf"), 1_700_000_000.0)
        answers = [active.ruip.answer_line(Query(query).encode(), context).reply for query in queries]
    finally:
        active.close()
    return [answer.decode().replace("\r\n", "\n") for answer in answers]


def sqlite_of(tmp_path: Path, *rows: tuple[str, str]) -> str:
    with sqlite3.connect(tmp_path / "people.db") as database:
        database.execute("CREATE TABLE people (login TEXT, plan TEXT)")
        database.executemany("INSERT INTO people VALUES (?, ?)", rows)
    database.close()
    return f'{{type: sql, url: "sqlite:///{tmp_path}/people.db", query: "SELECT * FROM people WHERE login = :user"}}'


@pytest.mark.parametrize(("name", "spelling"), SPELLINGS)
def test_every_spelling_of_a_login_finds_every_spelling(name: str, spelling: str, tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / f"{spelling}.txt").write_text("found")
    (tmp_path / "directories" / spelling).mkdir(parents=True)
    (tmp_path / "directories" / spelling / "plan").write_text("found")
    story = f'[["-1s"]]\ntype = "create"\nlogin = "{spelling}"\nname = "found"\n'
    (tmp_path / "story.toml").write_text(story, encoding="utf-8")
    (tmp_path / "finger.conf").write_text(f"{spelling}:bob\n", encoding="utf-8")
    static = f'{{type: static, users: {{"{spelling}": found}}}}'
    bob = "{type: static, users: {bob: found}}"
    configs = (
        static,
        f"{{type: cache, backend: {static}}}",
        f"{{type: chain, merge: true, backends: [{static}, {{type: static, users: {{x: y}}}}]}}",
        f"{{type: files, folder: {tmp_path}/people}}",
        f"{{type: files, folder: {tmp_path}/directories}}",
        f"{{type: scenario, file: {tmp_path}/story.toml}}",
        f'{{type: aliases, names: {{"{spelling}": bob}}, backend: {bob}}}',
        f'{{type: aliases, names: {{one: "{spelling}", "{spelling}": bob}}, backend: {bob}}}',
        f"{{type: aliases, file: {tmp_path}/finger.conf, backend: {bob}}}",
        f'{{type: vending, slots: {{"{spelling}": {{count: 1, text: found}}}}}}',
    )
    for config in configs:
        for answer in ask(tmp_path, config, name, spelling, *NAMES[name]):
            assert "found" in answer, config


@pytest.mark.parametrize("stored", ["rené", nfd("rené")])
def test_the_path_of_a_text_stays_as_it_is_written(stored: str, tmp_path: Path) -> None:
    (tmp_path / stored).write_text("found")
    config = f'{{type: aliases, names: {{one: "{tmp_path}/{stored}"}}, backend: {{type: empty}}}}'
    assert ask(tmp_path, config, "one") == ["found\n"]


@pytest.mark.parametrize("name", NAMES)
def test_a_database_that_compares_bytes_is_asked_for_both_forms(name: str, tmp_path: Path) -> None:
    config = sqlite_of(tmp_path, (nfd(name), "found"), (f"{name}2", "too"))
    for spelling in (name, *NAMES[name]):
        answers = ask(tmp_path, config, spelling, f"{spelling}2", f"{spelling}3")
        assert ["found" in answers[0], "too" in answers[1], answers[2]] == [True, True, UNKNOWN]


@pytest.mark.parametrize(("name", "spelling"), [pair for pair in SPELLINGS if pair[0] != pair[1]])
def test_two_spellings_of_one_key_are_a_duplicate(name: str, spelling: str, tmp_path: Path) -> None:
    for users in (
        f"static\n  users:\n    '{name}': one\n    '{spelling}': two\n",
        f"aliases\n  names:\n    '{name}': one\n    '{spelling}': two\n  backend: {{type: empty}}\n",
        f"vending\n  slots:\n    '{name}': {{count: 1}}\n    '{spelling}': {{count: 2}}\n",
    ):
        (tmp_path / "fingerd.yaml").write_text(f"backend:\n  type: {users}", encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_config(str(tmp_path / "fingerd.yaml"))
        (problem,) = caught.value.problems
        assert ":5:5: backend." in problem
        assert problem.endswith("duplicate key, first given in line 4")


def test_words_of_full_names_are_compared_in_any_spelling_and_case(tmp_path: Path) -> None:
    (tmp_path / "people" / "q").mkdir(parents=True)
    (tmp_path / "people" / "q" / "name").write_text(nfd("Zoë Quill"))
    story = f'[["-1s"]]\ntype = "create"\nlogin = "q"\nname = "{nfd("Zoë Quill")}"\n'
    (tmp_path / "story.toml").write_text(story, encoding="utf-8")
    configs = (
        f"{{type: files, folder: {tmp_path}/people}}",
        f"{{type: scenario, file: {tmp_path}/story.toml}}",
        f'{{type: static, users: {{q: {{name: "{nfd("Zoë Quill")}"}}}}}}',
        '{type: static, users: {q: {name: "Zoë Quill"}}}',
    )
    rule = "{from: any, match: name, list: true}"
    for config in configs:
        for query in ("zoë", nfd("zoë"), "ZOË", nfd("ZOË quill"), "Zoë Quill"):
            assert "In real life: " in ask(tmp_path, config, query, policy=rule)[0], (config, query)
        assert ask(tmp_path, config, "zoe", policy=rule) == [UNKNOWN]


def test_a_directory_with_two_spellings_of_one_name_has_one_person(tmp_path: Path) -> None:
    people = tmp_path / "people"
    (people / nfd("rené")).mkdir(parents=True)
    (people / nfd("rené") / "plan").write_text("decomposed")
    (people / "rené.txt").write_text("composed")
    config = f"{{type: files, folder: {people}}}"
    found, same, listed = ask(tmp_path, config, "rené", nfd("rené"), "")
    assert "composed" in found
    assert found == same
    assert listed.count("ren") == 2  # the columns of login and name, once each


@pytest.mark.parametrize("hidden", ["rené", nfd("rené")])
def test_whoever_hides_under_one_spelling_is_not_shown_under_another(hidden: str, tmp_path: Path) -> None:
    people = tmp_path / "people"
    for name in ("rené", nfd("rené")):
        (people / name).mkdir(parents=True)
        (people / name / "plan").write_text("shown")
    (people / hidden / "nofinger").touch()
    config = f"{{type: files, folder: {people}}}"
    assert ask(tmp_path, config, "rené", nfd("rené"), "") == [UNKNOWN, UNKNOWN, "No one logged on.\n"]


def test_a_person_is_listed_and_merged_once_under_all_spellings(tmp_path: Path) -> None:
    (tmp_path / "people" / nfd("rené")).mkdir(parents=True)
    (tmp_path / "people" / nfd("rené") / "name").write_text("René Example")
    database = sqlite_of(tmp_path, (nfd("rené"), "from the database")).replace(
        "query:", 'list_query: "SELECT * FROM people", query:'
    )
    config = f"{{type: chain, merge: true, backends: [{{type: files, folder: {tmp_path}/people}}, {database}]}}"
    found, listed = ask(tmp_path, config, nfd("rené"), "")
    assert "René Example" in found
    assert listed.count("\n") == 2


@pytest.mark.parametrize("match", ["login", "name", "unique"])
def test_a_person_asked_for_by_two_spellings_is_shown_once(match: str, tmp_path: Path) -> None:
    rule = f"{{from: any, list: true, match: {match}, users_per_query: 5}}"
    config = "{type: static, users: {rené: {name: René Example}, bob: {name: Bob Example}}}"
    query = f"rené {nfd('rené')} bob bob"
    (answer,) = ask(tmp_path, config, query, policy=rule)
    assert answer.count("Login name") == 2
    if match == "name":
        (answer,) = ask(tmp_path, config, f"René {nfd('RENÉ')} rené BOB Bob", policy=rule)
        assert answer.count("Login name") == 2
