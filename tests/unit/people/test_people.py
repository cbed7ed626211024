"""Person: atoms, redaction to some atoms, and matching of full names."""

import dataclasses
from pathlib import Path

import pytest

from fingerd.backends import Lookup
from fingerd.errors import ConfigError
from fingerd.people import ATOMS, TEXT_ATOMS, LastLogin, Mail, Person, Record, Session
from fingerd.settings import load_config

ANN = Person(
    "ann",
    name="Ann Example",
    office="12 Hill",
    office_phone="x1",
    home_phone="2",
    job="potter",
    directory="/home/ann",
    shell="/bin/sh",
    sessions=(Session("tty1"),),
    last_login=LastLogin(1.0),
    mail=Mail(2.0, 1.0),
    forward="ann@example.org",
    project="Pots",
    plan="More pots",
    pgpkey="key",
    pubkey="public",
    pronouns="she/her",
    timezone="UTC",
    links="me https://ann.example/",
    plan_changed=3.0,
)

NAMES = {
    "the whole name": ("Mark J. Rinehart", "Mark J. Rinehart", True),
    "the first name": ("Mark J. Rinehart", "mark", True),
    "the last name": ("Mark J. Rinehart", "RINEHART", True),
    "words in another order": ("Mark J. Rinehart", "rinehart mark", True),
    "with a comma, as in LDAP": ("Rinehart, Mark J.", "rinehart", True),
    "spaces and tabs": ("Mark J. Rinehart", " mark \t rinehart ", True),
    "another case beyond ASCII": ("Jürgen Groß", "JÜRGEN GROSS", True),
    "half a word": ("Mark J. Rinehart", "rine", False),
    "one word of another name": ("Mark J. Rinehart", "mark smith", False),
    "an empty query": ("Mark J. Rinehart", "", False),
    "spaces alone": ("Mark J. Rinehart", " \t", False),
    "a pattern": ("Mark J. Rinehart", "*", False),
    "a regular expression": ("Mark J. Rinehart", "mar.", False),
    "a person without a name": ("", "mark", False),
    "neither a name nor a query": ("", "", False),
}

USERS = {
    "a text": ("ann: Hello", Person("ann", "Hello\n")),
    "a record": ("ann: {name: Ann Example}", Person("ann", name="Ann Example", plan="")),
    "a record of several lines": (
        "ann:\n      plan: |\n        one\n        two\n",
        Person("ann", plan="one\ntwo\n"),
    ),
    "an empty record": ("ann: {}", Person("ann", plan="")),
    "digits in quotes": ("ann: {office_phone: '5551234'}", Person("ann", office_phone="5551234", plan="")),
}

INVALID_USERS = {
    "an unknown atom": ("ann: {offce: x}", "11: backend.users.ann.offce: unknown option (did you mean office?)"),
    "an atom that is not text": ("ann: {sessions: x}", "11: backend.users.ann.sessions: unknown option"),
    "digits": (
        "ann: {office_phone: 5551234}",
        "25: backend.users.ann.office_phone: YAML reads this as a number; to mean the text, put it in quotes",
    ),
    "nothing": (
        "ann:",
        "9: backend.users.ann: YAML reads an empty value as null; to mean the text, put it in quotes",
    ),
    "a list": ("ann: [a]", "10: backend.users.ann: must be text"),
}  # fmt: skip


def test_every_field_but_text_is_an_atom_and_text_atoms_are_a_subset() -> None:
    fields = [field.name for field in dataclasses.fields(Person)]
    assert list(ATOMS) == [name for name in fields if name not in ("text", "plan_changed")]
    assert set(TEXT_ATOMS) < set(ATOMS)
    assert all(getattr(ANN, atom) for atom in ATOMS)


def test_a_person_made_from_a_record_has_unknown_sessions_and_mail() -> None:
    person = Person.from_record("ann", Record(**{atom: getattr(ANN, atom) for atom in TEXT_ATOMS}), 3.0)
    assert person == dataclasses.replace(ANN, sessions=None, last_login=None, mail=None, forward="")


@pytest.mark.parametrize("atom", ATOMS)
def test_redacting_to_one_atom_removes_all_others(atom: str) -> None:
    person = ANN.redacted_to([atom])
    known = {name for name in ATOMS if getattr(person, name)}
    assert known == {atom}
    assert getattr(person, atom) == getattr(ANN, atom)
    assert person.text is None
    assert person.plan_changed == (3.0 if atom == "plan" else None)


@pytest.mark.parametrize("atom", ATOMS)
def test_redacting_one_atom_keeps_all_others(atom: str) -> None:
    person = ANN.redacted_to([name for name in ATOMS if name != atom])
    assert {name for name in ATOMS if not getattr(person, name)} == {atom}


def test_the_login_replaces_a_missing_full_name() -> None:
    assert Person("ann").redacted_to(["name"]) == Person("", name="ann")
    assert Person("ann", name=" \t").redacted_to(["name"]) == Person("", name="ann")
    assert Person("ann").redacted_to(["plan"]) == Person("")
    assert ANN.redacted_to(["name"]) == Person("", name="Ann Example")


@pytest.mark.parametrize(("name", "query", "matches"), NAMES.values(), ids=NAMES.keys())
def test_names_match_by_whole_words(name: str, query: str, matches: bool) -> None:
    assert Person("x", name=name).matches_name(query) is matches


def test_only_the_full_name_matches() -> None:
    assert not ANN.matches_name("ann potter")
    assert not Person("mark").matches_name("mark")


@pytest.mark.parametrize(("text", "person"), USERS.values(), ids=USERS.keys())
def test_a_configured_user_is_a_text_or_a_record(text: str, person: Person, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend:\n  type: static\n  users:\n    {text}\n")
    found = load_config(str(path)).backend.find(Lookup("ann", False, "unix", 0))
    assert [dataclasses.replace(each, plan_changed=None) for each in found] == [person]


@pytest.mark.parametrize(("text", "problem"), INVALID_USERS.values(), ids=INVALID_USERS.keys())
def test_an_invalid_user_is_an_error_with_its_place(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend:\n  type: static\n  users:\n    {text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert [line.removeprefix(f"{path}:4:") for line in caught.value.problems] == [problem]


MERGED = {
    "unknown atoms are filled in": (Person("ann", name="Ann", plan=None), Person("b", plan="p"), {"plan": "p"}),
    "empty atoms are filled in": (
        Person("ann", plan=""),
        Person("b", name="Bob", plan="p"),
        {"name": "Bob", "plan": "p"},
    ),
    "known atoms stay": (ANN, Person("b", name="Bob", office="1", sessions=(), plan="p", mail=Mail()), {}),
    "an empty tuple is known": (Person("ann", sessions=()), Person("b", sessions=(Session("tty1"),)), {}),
    "a plan comes with its time": (
        Person("ann", plan=""),
        Person("b", plan="p", plan_changed=3.0),
        {"plan": "p", "plan_changed": 3.0},
    ),
    "a known plan keeps its time": (
        Person("ann", plan="p", plan_changed=3.0),
        Person("b", plan="q", plan_changed=4.0),
        {},
    ),
    "links are filled in": (Person("ann"), Person("b", links="profile"), {"links": "profile"}),
    "an empty tuple replaces the unknown": (Person("ann"), Person("b", sessions=()), {"sessions": ()}),
    "an empty text replaces the unknown": (Person("ann"), Person("b", plan=""), {"plan": ""}),
    "a text is filled in": (Person("ann"), Person("b", "text"), {"text": "text"}),
}


@pytest.mark.parametrize(("person", "other", "filled"), MERGED.values(), ids=MERGED)
def test_merging_fills_in_what_is_unknown(person: Person, other: Person, filled: dict[str, object]) -> None:
    assert person.merged_with(other) == dataclasses.replace(person, **filled)  # type: ignore[arg-type]  # any atoms
