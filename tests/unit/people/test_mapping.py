"""JSON documents as people: every shape is people or a complaint."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.errors import OptionError
from fingerd.people import Person, Record
from fingerd.people.mapping import check_paths, people_of

FIELDS = {"login": "id", "name": "profile.name", "home_phone": "phones.1", "plan": "says"}
ALICE = {"id": "alice", "profile": {"name": "Alice Archer"}, "phones": ["1", 22.50], "says": ["one", "two", None]}
TOLD = Person.from_record("alice", Record(name="Alice Archer", home_phone="22.5", plan="one\ntwo"))


def people(document: object, at: str | None = None) -> tuple[Person, ...]:
    return people_of(json.dumps(document).encode(), at, FIELDS, "asked")


SHAPES = {
    "one": (ALICE, None, ("alice",)),
    "several": ([ALICE, {"id": "bob"}], None, ("alice", "bob")),
    "who was asked for comes first": ([ALICE, {"id": "asked"}], None, ("asked", "alice")),
    "no login": ({"profile": {}}, None, ("asked",)),
    "null": (None, None, ()),
    "an empty list": ([], None, ()),
    "below": ({"data": {"found": [ALICE]}}, "data.found", ("alice",)),
    "below, in a list": ({"data": [None, ALICE]}, "data.1", ("alice",)),
    "below, and null": ({"data": {"found": None}}, "data.found", ()),
}


@pytest.mark.parametrize(("document", "at", "logins"), SHAPES.values(), ids=SHAPES)
def test_people_of_a_document(document: object, at: str | None, logins: tuple[str, ...]) -> None:
    assert tuple(person.login for person in people(document, at)) == logins


def test_the_atoms_are_where_the_paths_say() -> None:
    assert people(ALICE) == (TOLD,)
    assert people_of(b'{"id": 12345678901234567890123, "says": true}', None, FIELDS, "") == (
        Person("12345678901234567890123", plan="true"),
    )
    assert people_of(f'{{"id": {"9" * 5000}}}'.encode(), None, FIELDS, "")[0].login == "9" * 5000


MISSING: dict[str, dict[str, object]] = {
    "no key": {},
    "null": {"profile": None, "phones": None, "says": None},
    "a list instead of an object": {"profile": ["name"], "phones": {"x": 1}},
    "a text instead of an object": {"profile": "name", "phones": "123"},
    "a short list": {"phones": ["1"]},
}


@pytest.mark.parametrize("entry", MISSING.values(), ids=MISSING)
def test_what_is_not_there_is_left_out(entry: dict[str, object]) -> None:
    assert people({"id": "alice", **entry}) == (Person("alice", plan=""),)


WRONG = {
    "nothing": (b"", "not JSON: Expecting value"),
    "a page": (b"<p>not found</p>", "not JSON: Expecting value"),
    "half of it": (b'{"id": "ali', "not JSON: Unterminated string"),
    "not UTF-8": (b'{"id": "\xe4"}', "not JSON: it is not UTF-8"),
    "UTF-16": ("{}".encode("utf-16"), "not JSON"),
    "no number": (b'{"id": NaN}', "not JSON: NaN"),
    "a text": (b'"alice"', "neither an object nor a list of objects"),
    "a number": (b"5", "neither an object nor a list of objects"),
    "false": (b"false", "neither an object nor a list of objects"),
    "a list of texts": (b'["alice"]', "neither an object nor a list of objects"),
    "a list with null": (b"[null]", "neither an object nor a list of objects"),
    "an object for a text": (b'{"says": {"a": 1}}', "says is no text"),
    "an object in a list of texts": (b'{"says": [[]]}', "says is no text"),
    "deep lists": (b"[" * 100_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize(("document", "complaint"), WRONG.values(), ids=WRONG)
def test_another_shape_is_a_complaint(document: bytes, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared below
        people_of(document, None, FIELDS, "alice")
    assert str(caught.value).startswith(complaint)


def test_a_path_that_leads_nowhere_is_a_complaint() -> None:
    for document in ({"other": ALICE}, [ALICE], None, {"found": None}):
        with pytest.raises(ValueError, match=r"^has no found\.here$"):
            people(document, "found.here")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_people_or_a_complaint(document: bytes) -> None:
    try:
        found = people_of(document, None, FIELDS, "alice")
    except ValueError:
        return
    assert all(isinstance(person, Person) for person in found)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "profile", "name", "says"]), inner)
    ),
)


@given(VALUES, st.sampled_from([None, "0", "profile", "profile.name"]))
def test_any_json_is_people_or_a_complaint(document: object, at: str | None) -> None:
    try:
        found = people(document, at)
    except ValueError:
        return
    assert all(isinstance(getattr(person, atom), str) for person in found for atom in ("login", "name", "plan"))


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert people_of(b"\xef\xbb\xbf{}", None, FIELDS, "alice") == (Person("alice", plan=""),)


OPTIONS = {
    "no atom": ({"nam": "a"}, False, {}, ("fields", "nam"), "there is no atom nam"),
    "an empty path": ({"name": ""}, False, {}, ("fields", "name"), "must be a path"),
    "an empty step": ({"name": "a..b"}, False, {}, ("fields", "name"), "must be a path"),
    "an empty step to people": ({"name": "a"}, False, {"people": "a."}, ("people",), "must be a path"),
    "people without fields": ({}, False, {"people": "a"}, ("people",), "is about a JSON answer"),
    "a list without logins": ({"name": "a"}, True, {}, ("fields",), "needs login, for the list of users"),
}


@pytest.mark.parametrize(("fields", "listed", "others", "keys", "complaint"), OPTIONS.values(), ids=OPTIONS)
def test_options_that_make_no_sense(
    fields: dict[str, str], listed: bool, others: dict[str, str], keys: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(OptionError, match=f"^{complaint}") as caught:
        check_paths(fields, listed, **others)
    assert caught.value.keys == keys
