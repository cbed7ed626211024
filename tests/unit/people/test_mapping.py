"""Conversion of JSON documents to people: every document gives people or a ValueError."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.errors import OptionError
from fingerd.people import MAX_MATCHES, Person, Record
from fingerd.people.mapping import MAPPABLE_ATOMS, MAX_LISTED, as_text, check_paths, people_of, person_of

FIELDS = {"login": "id", "name": "profile.name", "home_phone": "phones.1", "plan": "says"}
ALICE = {"id": "alice", "profile": {"name": "Alice Archer"}, "phones": ["1", 22.50], "says": ["one", "two", None]}
ARCHER = Person.from_record("alice", Record(name="Alice Archer", home_phone="22.5", plan="one\ntwo"))


def people(document: object, path: str | None = None) -> tuple[Person, ...]:
    return people_of(json.dumps(document).encode(), path, FIELDS, "asked", "here")


DOCUMENTS = {
    "one": (ALICE, None, ("alice",)),
    "several": ([ALICE, {"id": "bob"}], None, ("alice", "bob")),
    "the requested login comes first": ([ALICE, {"id": "asked"}], None, ("asked", "alice")),
    "no login": ({"profile": {}}, None, ("asked",)),
    "null": (None, None, ()),
    "an empty list": ([], None, ()),
    "nested": ({"data": {"found": [ALICE]}}, "data.found", ("alice",)),
    "nested, in a list": ({"data": [None, ALICE]}, "data.1", ("alice",)),
    "nested, and null": ({"data": {"found": None}}, "data.found", ()),
}


@pytest.mark.parametrize(("document", "path", "logins"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_people_of_a_document(document: object, path: str | None, logins: tuple[str, ...]) -> None:
    assert tuple(person.login for person in people(document, path)) == logins


def test_atoms_are_read_from_their_paths() -> None:
    assert people(ALICE) == (ARCHER,)
    assert people_of(b'{"id": 12345678901234567890123, "says": true}', None, FIELDS, "", "here") == (
        Person("12345678901234567890123", plan="true"),
    )
    assert people_of(f'{{"id": {"9" * 5000}}}'.encode(), None, FIELDS, "", "here")[0].login == "9" * 5000


MISSING: dict[str, dict[str, object]] = {
    "no key": {},
    "null": {"profile": None, "phones": None, "says": None},
    "a list instead of an object": {"profile": ["name"], "phones": {"x": 1}},
    "a text instead of an object": {"profile": "name", "phones": "123"},
    "a short list": {"phones": ["1"]},
}


@pytest.mark.parametrize("entry", MISSING.values(), ids=MISSING)
def test_missing_values_are_ignored(entry: dict[str, object]) -> None:
    assert people({"id": "alice", **entry}) == (Person("alice", plan=""),)


INVALID = {
    "empty": (b"", "not JSON: Expecting value"),
    "an HTML page": (b"<p>not found</p>", "not JSON: Expecting value"),
    "truncated": (b'{"id": "ali', "not JSON: Unterminated string"),
    "not UTF-8": (b'{"id": "\xe4"}', "not JSON: not encoded in UTF-8"),
    "UTF-16": ("{}".encode("utf-16"), "not JSON"),
    "NaN": (b'{"id": NaN}', "not JSON: NaN"),
    "a text": (b'"alice"', "neither an object nor a list of objects"),
    "a number": (b"5", "neither an object nor a list of objects"),
    "false": (b"false", "neither an object nor a list of objects"),
    "a list of texts": (b'["alice"]', "neither an object nor a list of objects"),
    "a list with null": (b"[null]", "neither an object nor a list of objects"),
    "an object for a text": (b'{"says": {"a": 1}}', "says is not text"),
    "an object in a list of texts": (b'{"says": [[]]}', "says is not text"),
    "deep lists": (b"[" * 100_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize(("document", "message"), INVALID.values(), ids=INVALID)
def test_invalid_documents_are_errors(document: bytes, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is checked below
        people_of(document, None, FIELDS, "alice", "here")
    assert str(caught.value).startswith(message)


def test_a_path_without_a_value_is_an_error() -> None:
    for document in ({"other": ALICE}, [ALICE], None, {"found": None}):
        with pytest.raises(ValueError, match=r"^has no found\.here$"):
            people(document, "found.here")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_people_or_a_value_error(document: bytes) -> None:
    try:
        found = people_of(document, None, FIELDS, "alice", "here")
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
def test_any_json_gives_people_or_a_value_error(document: object, path: str | None) -> None:
    try:
        found = people(document, path)
    except ValueError:
        return
    assert all(isinstance(getattr(person, atom), str) for person in found for atom in ("login", "name", "plan"))


@pytest.mark.parametrize("number", [MAX_MATCHES - 1, MAX_MATCHES, MAX_MATCHES + 1, 10 * MAX_MATCHES])
@pytest.mark.parametrize("login", ["u{}", None], ids=["other logins", "no logins"])
def test_people_for_one_name_are_bounded(number: int, login: str | None, caplog: pytest.LogCaptureFixture) -> None:
    entries = [{"id": login and login.format(index), "profile": {"name": f"n{index}"}} for index in range(number)]
    found = people(entries)
    assert [person.name for person in found] == [f"n{index}" for index in range(min(number, MAX_MATCHES))]
    warning = f"here: more than {MAX_MATCHES} people, of whom only the first are used\n"
    assert caplog.text.count(warning) == (number > MAX_MATCHES)
    exact = people([*entries, {"id": "asked", "profile": {"name": "last"}}])
    assert len(exact) == min(number + 1, MAX_MATCHES)
    if login:
        assert exact[0].name == "last"  # the exact login is the first, wherever it is


@pytest.mark.parametrize("number", [MAX_LISTED, MAX_LISTED + 1])
def test_people_of_a_list_are_bounded(number: int, caplog: pytest.LogCaptureFixture) -> None:
    entries = [{"id": f"u{index}"} for index in range(number)]
    document = json.dumps([*([{}] * 1000), *entries]).encode()  # without a login they are not in a list
    found = people_of(document, None, FIELDS, "", "here")
    assert [person.login for person in found] == [f"u{index}" for index in range(MAX_LISTED)]
    assert ("here: more than 10000 people" in caplog.text) is (number > MAX_LISTED)


def test_a_byte_order_mark_is_ignored() -> None:
    assert people_of(b"\xef\xbb\xbf{}", None, FIELDS, "alice", "here") == (Person("alice", plan=""),)


OPTIONS = {
    "an unknown atom": ({"nam": "a"}, False, {}, ("fields", "nam"), "there is no atom nam"),
    "an atom unlike all others": (
        {"xyz": "a"},
        False,
        {},
        ("fields", "xyz"),
        rf"there is no atom xyz \(there are {', '.join(MAPPABLE_ATOMS)}\)$",
    ),
    "an empty path": ({"name": ""}, False, {}, ("fields", "name"), "must be a path"),
    "an empty step": ({"name": "a..b"}, False, {}, ("fields", "name"), "must be a path"),
    "an empty step to people": ({"name": "a"}, False, {"people": "a."}, ("people",), "must be a path"),
    "people without fields": ({}, False, {"people": "a"}, ("people",), "is a path in a JSON answer"),
    "a list without logins": ({"name": "a"}, True, {}, ("fields",), "needs login, for the list of users"),
}


@pytest.mark.parametrize(("fields", "has_list", "others", "keys", "message"), OPTIONS.values(), ids=OPTIONS)
def test_invalid_options_are_errors(
    fields: dict[str, str], has_list: bool, others: dict[str, str], keys: tuple[str, ...], message: str
) -> None:
    with pytest.raises(OptionError, match=f"^{message}") as caught:
        check_paths(fields, has_list, **others)
    assert caught.value.keys == keys


VALID_OPTIONS: dict[str, tuple[dict[str, str], bool, dict[str, str | None]]] = {
    "no fields, and no list": ({}, False, {"people": None}),
    "no fields, but a list": ({}, True, {}),
    "fields without a list": ({"name": "a"}, False, {"people": "a.0"}),
    "a list with logins": ({"login": "a"}, True, {"people": "a.0"}),
}


@pytest.mark.parametrize(("fields", "has_list", "others"), VALID_OPTIONS.values(), ids=VALID_OPTIONS)
def test_valid_options_raise_nothing(fields: dict[str, str], has_list: bool, others: dict[str, str | None]) -> None:
    check_paths(fields, has_list, **others)


def test_a_row_is_a_person_with_the_atoms_that_it_has() -> None:
    row = {"login": None, "name": b"Zo\xc3\xab", "office": 12, "job": ["a", (None, 2.5)], "plan": None, "x": 1}
    assert person_of("zoe", row) == Person("zoe", name="Zoë", office="12", job="a\n2.5", plan="")
    assert as_text(memoryview(b"caf\xe9")) == "café"


TEXTS: list[tuple[object, str]] = [
    (Decimal("0E-8"), "0.00000000"),
    (Decimal("1E+3"), "1000"),
    (Decimal("-1.50"), "-1.50"),
    (Decimal("NaN"), "NaN"),
    (Decimal("1E+99999999"), "1E+99999999"),
    (1e16, "10000000000000000"),
    (-1.5e-7, "-0.00000015"),
    (5.0, "5.0"),
    (float("nan"), "NaN"),
    (float("-inf"), "-Infinity"),
    (10**20, "100000000000000000000"),
    (True, "true"),
    (False, "false"),
    ([True, None, Decimal("0E-3")], "true\n0.000"),
    ({"a": None, "é": [True, 1.5]}, '{"a": null, "é": [true, 1.5]}'),
    ({"a": Decimal("0E-3"), "b": date(2026, 11, 23), (1, 2): 3}, '{"a": "0.000", "b": "2026-11-23"}'),
    ([{"a": True}, {}], '{"a": true}\n{}'),
    ({"c", "a", "b"}, "a,b,c"),
    (timedelta(days=34, hours=22, minutes=59, seconds=59), "838:59:59"),
    (timedelta(seconds=-1.25), "-00:00:01.25"),
    (timedelta(0), "00:00:00"),
    (datetime(2026, 11, 23, 12, 0, 0, 250000, tzinfo=UTC), "2026-11-23 12:00:00.250000+00:00"),
    (time(12, 30), "12:30:00"),
    (b"", ""),
    ("B\u00e4".encode(), "Bä"),
    (b"caf\xe9 \t\r\n", "café \t\r\n"),
    (b"\x1b[1m\xe4", "\x1b[1mä"),
    (bytearray(b"a\0b"), "\\x610062"),
    (b"\x89PNG\r\n\x1a\n", "\\x89504e470d0a1a0a"),
]


@pytest.mark.parametrize(("value", "text"), TEXTS, ids=[f"{type(value).__name__} {text}" for value, text in TEXTS])
def test_no_value_is_written_as_python_does(value: object, text: str) -> None:
    assert as_text(value) == text
