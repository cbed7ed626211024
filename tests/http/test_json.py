"""JSON: every atom by its name, what is hidden or unknown is absent, and any text makes a valid document."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.http.people_json import person_json, rfc3339
from fingerd.people import ATOMS, LastLogin, Mail, Person, Session
from tests.helpers.atom import RFC3339
from tests.helpers.http import HttpDaemon
from tests.http.conftest import StartHttp

SCENARIO = """
[["-2d"]]
type = "create"
login = "zoe"
name = "Zoe Quill"
plan = "plan.txt"
[["-90m"]]
type = "login"
login = "zoe"
line = "tty1"
host = "far.example"
[["-30m"]]
type = "idle"
login = "zoe"
[["-2d1s"]]
type = "create"
login = "bob"
name = "Bob"
"""


def record_of(daemon: HttpDaemon, path: str = "/~zoe/json") -> dict[str, Any]:
    """The only person of a document."""
    response = daemon.get(path)
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    (person,) = response.json["people"]
    found: dict[str, Any] = person
    return found


def test_every_atom_has_its_name() -> None:
    person = Person(
        "zoe",
        name="Zoe Quill",
        office="B 12",
        office_phone="12",
        home_phone="34",
        job="potter",
        directory="/home/zoe",
        shell="/bin/sh",
        sessions=(
            Session("tty1", "far.example", 1.6e9, 61.9, False),
            Session("tty2"),
        ),
        last_login=LastLogin(1.6e9, "tty1", "far.example"),
        mail=Mail(1.6e9, 1.5e9),
        forward="zoe@elsewhere.example",
        project="Pots",
        plan="Reading\n",
        pgpkey="a key",
        pubkey="another",
        pronouns="she/her",
        timezone="Europe/Lisbon",
        links="profile\nme https://zoe.example/ text/html\nnothing",
        plan_changed=1.6e9,
    )
    found = person_json(person, "https://people.example.org/~zoe", 1000)
    assert set(found) == {*ATOMS, "plan_changed"}
    when = found["plan_changed"]
    assert RFC3339.fullmatch(when)
    assert found["sessions"] == [
        {"terminal": "tty1", "host": "far.example", "since": when, "idle_seconds": 61, "messages": False},
        {"terminal": "tty2", "messages": True},
    ]
    assert found["last_login"] == {"when": when, "terminal": "tty1", "host": "far.example"}
    assert (found["mail"]["received"], set(found["mail"])) == (when, {"received", "read"})
    assert found["links"] == [
        {
            "rel": "http://webfinger.net/rel/profile-page",
            "href": "https://people.example.org/~zoe",
            "type": "text/html",
        },
        {"rel": "me", "href": "https://zoe.example/", "type": "text/html"},
    ]
    assert (found["name"], found["plan"], found["timezone"]) == ("Zoe Quill", "Reading\n", "Europe/Lisbon")


@pytest.mark.parametrize("atom", ATOMS)
def test_what_is_hidden_or_unknown_is_absent(atom: str) -> None:
    assert person_json(Person(""), "", 1000) == {}
    person = Person("zoe", name="Zoe", sessions=(), last_login=LastLogin(None), mail=Mail(), plan="", forward="x")
    assert set(person_json(person.redacted_to([atom]), "", 1000)) <= {atom}


def test_what_is_known_to_be_empty_is_there() -> None:
    person = Person("zoe", sessions=(), last_login=LastLogin(None), mail=Mail(), plan="")
    expected = {"login": "zoe", "sessions": [], "last_login": {"when": None}, "mail": {}, "plan": ""}
    assert person_json(person, "", 1000) == expected


@pytest.fixture
def story(tmp_path: Path) -> str:
    """The configuration of people who are logged in."""
    (tmp_path / "plan.txt").write_text("Reading\n")
    (tmp_path / "story.toml").write_text(SCENARIO)
    return f"backend: {{type: scenario, file: {tmp_path / 'story.toml'}}}\n"


def test_sessions_have_times_with_their_offset(start_http: StartHttp, story: str) -> None:
    daemon = start_http(story + "policy: [{from: any, show: everything, list: true}]\n")
    zoe = record_of(daemon)
    ((session), last) = zoe["sessions"][0], zoe["last_login"]
    assert RFC3339.fullmatch(session["since"])
    assert session["since"] == last["when"]
    assert 1800 <= session["idle_seconds"] < 1900
    assert zoe["plan"] == "Reading\n"
    listed = record_of(daemon, "/list/json")
    assert {**listed, "sessions": []} == {"login": "zoe", "name": "Zoe Quill", "sessions": []}
    assert listed["sessions"][0]["since"] == session["since"]
    bob = record_of(daemon, "/~bob/json")
    assert (bob["sessions"], bob["last_login"], bob["plan"]) == ([], {"when": None}, "")


def test_what_the_policy_hides_is_absent_in_record_and_list(start_http: StartHttp, story: str) -> None:
    daemon = start_http(story + "policy: [{from: any, show: [name, plan], list: true}]\n")
    assert record_of(daemon) == {"name": "Zoe Quill", "plan": "Reading\n"}
    assert record_of(daemon, "/list/json") == {"name": "Zoe Quill"}


def test_several_people(start_http: StartHttp) -> None:
    users = "{ann: {name: Ann Archer}, bob: {name: Bob Archer}, eve: a text}"
    daemon = start_http(
        f"backend: {{type: static, users: {users}}}\npolicy: [{{from: any, match: name, users_per_query: 2}}]\n"
    )
    assert [person["login"] for person in daemon.get("/~archer/json").json["people"]] == ["ann", "bob"]
    assert daemon.get("/~eve%20bob/json").json["people"][0] == {"login": "eve", "text": "a text"}
    assert daemon.get("/~eve%20nobody/json").json == {"people": [{"login": "eve", "text": "a text"}]}
    assert daemon.get("/~a%20b%20c/json").status == 400


def test_a_list_that_a_program_writes_is_a_text(start_http: StartHttp) -> None:
    daemon = start_http(
        'backend: {type: command, argv: [echo, "I am", "{user}"], list_argv: [printf, "ann\\\\nbob\\\\033\\\\n"]}\n'
        "policy: [{from: any, list: true}]\n"
    )
    assert daemon.get("/list/json").json == {"people": [{"text": "ann\nbob?"}]}
    assert daemon.get("/~zoe/json").json == {"people": [{"login": "zoe", "text": "I am zoe"}]}


HOSTILE = {
    "control characters": (r"\u0000\u0007\u001b[31m\u007f\u0085\u009b", "???[31m???"),
    "lone surrogates": (r"a\ud800b\udfffc", "a?b?c"),
    "no characters of XML": (r"\ufffe\uffff", "??"),
    "line ends and tabs": (r"a\r\nb\rc\td", "a\nb\nc\td"),
    "quotes": (r"\"\\</script>", '"\\</script>'),
    "beyond": (r"\ud83d\ude00\u202e\u2028", "😀\u202e\u2028"),
}


@pytest.mark.parametrize(("written", "text"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts(start_http: StartHttp, tmp_path: Path, written: str, text: str) -> None:
    document = tmp_path / "people.json"
    document.write_text(f'{{"id": "z{written}", "plan": "p{written}", "name": "n{written}", "job": "j"}}')
    fields = "fields: {login: id, plan: plan, name: name, job: job}"
    daemon = start_http(
        f"backend: {{type: command, argv: [cat, {document}], list_argv: [cat, {document}], {fields}}}\n"
        "policy: [{from: any, show: everything, list: true}]\n",
        'base_url: "https://people.example.org", domains: [example.org]',
    )
    expected = {"login": f"z{text}", "plan": f"p{text}", "name": f"n{text}", "job": "j"}
    assert record_of(daemon) == expected
    assert record_of(daemon, "/list/json") == {key: expected[key] for key in ("login", "name", "job")}
    assert [daemon.get(path).status for path in ("/", "/~zoe", "/~zoe/feed", "/feed")] == [200] * 4
    for path in ("/list/json", "/list/text", "/feed"):
        daemon.get(path).body.decode()


def test_whole_people_are_left_out_of_a_long_list(start_http: StartHttp) -> None:
    users = {f"user{number:04}": {"name": f"User “{number}”"} for number in range(500)}
    config = f"backend: {json.dumps({'type': 'static', 'users': users})}\npolicy: [{{from: any, list: true}}]\n"
    daemon = start_http(f"{config}limits: {{reply_bytes: 4KiB}}\n")
    response = daemon.get("/list/json")
    assert 3900 < len(response.body) <= 4096
    assert response.json["truncated"] is True
    assert response.json["people"][-1] == {
        "login": f"user{len(response.json['people']) - 1:04}",
        "name": f"User “{len(response.json['people']) - 1}”",
    }
    assert "truncated" not in start_http(config).get("/list/json").json


@pytest.mark.parametrize("limit", [64, 100, 1000, 20_000])
def test_a_record_that_is_too_long_says_so(start_http: StartHttp, limit: int) -> None:
    links = "".join(f"me https://zoe.example/{number}\n" for number in range(100))
    users = {"zoe": {"name": "Zoe", "plan": '"' * 30_000, "project": "é" * 9000, "links": links}, "bob": "x\n" * 30_000}
    config = f"backend: {json.dumps({'type': 'static', 'users': users})}\n"
    daemon = start_http(f"{config}limits: {{reply_bytes: {limit}}}\n")
    for login in ("zoe", "bob"):
        response = daemon.get(f"/~{login}/json")
        assert len(response.body) <= limit
        assert response.json["truncated"] is True
        assert [person["login"] for person in response.json["people"]] in ([login], [])
    assert "truncated" not in start_http(f"{config}limits: {{reply_bytes: 1MiB}}\n").get("/~zoe/json").json


@pytest.mark.parametrize("when", [-1e300, -3e9, 0.0, 94_000_000.9, 1.6e9, 4e12, 1e300])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "Africa/Monrovia", "America/Caracas"])
def test_times_are_rfc_3339(monkeypatch: pytest.MonkeyPatch, when: float, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert RFC3339.fullmatch(rfc3339(when))
    finally:
        monkeypatch.undo()
        time.tzset()


TEXTS = st.text(st.characters(exclude_categories=()), max_size=30)


@given(
    st.builds(
        Person,
        login=TEXTS,
        text=st.none() | TEXTS,
        name=TEXTS,
        plan=st.none() | TEXTS,
        links=TEXTS,
        sessions=st.none() | st.lists(st.builds(Session, TEXTS, TEXTS), max_size=3).map(tuple),
    ),
    st.integers(1, 100),
)
def test_all_people_make_json(person: Person, max_characters: int) -> None:
    text = json.dumps(person_json(person, "https://people.example.org/~zoe", max_characters), ensure_ascii=False)
    assert not re.search("[\0-\x1f\x7f-\x9f\ud800-\udfff]", text)
