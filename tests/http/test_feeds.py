"""Feeds: Atom that readers take without a complaint, whatever people write, and the plans of those who may be seen."""

import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.http.feeds import FirstSeen, Source, feed
from fingerd.people import Person
from tests.helpers.atom import RFC3339, Feed, read_feed
from tests.helpers.http import HttpDaemon
from tests.http.conftest import StartHttp

BASE = "https://people.example.org"
URL = f'base_url: "{BASE}"'
LIST = "policy: [{from: any, list: true}]\n"
WHEN = 1_600_000_000

feedparser: ModuleType = pytest.importorskip("feedparser", reason="needs feedparser (pip install feedparser)")


def fetch(daemon: HttpDaemon, path: str, base_url: str = BASE) -> Feed:
    """A feed that keeps all rules."""
    response = daemon.get(path)
    assert (response.status, response.headers["content-type"]) == (200, "application/atom+xml")
    parsed: Any = feedparser.parse(response.body, response_headers={"content-type": "application/atom+xml"})
    assert not parsed.bozo, parsed.bozo_exception
    assert parsed.version == "atom10"
    found = read_feed(response.body, f"{base_url}{path}")
    assert [entry.id for entry in parsed.entries] == [entry.id for entry in found.entries]
    assert [entry.content[0].type for entry in parsed.entries] == ["text/plain"] * len(found.entries)
    return found


class Folder:
    """A directory of people, whose plans have a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def write(self, login: str, plan: str, when: float = WHEN, **atoms: str) -> None:
        (self.path / login).mkdir(exist_ok=True)
        for atom, text in {**atoms, "plan": plan}.items():
            (self.path / login / atom).write_bytes(text.encode(errors="surrogatepass"))
        os.utime(self.path / login / "plan", (1, when))

    @property
    def config(self) -> str:
        """Without the memory for answers, which would hide a change for a second."""
        return f"backend: {{type: files, folder: {self.path}}}\nreply: {{header: '{{time}}'}}\n"


@pytest.fixture
def people(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "people")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Folder, HttpDaemon]]:
    """A daemon, and its directory of people."""
    path = tmp_path_factory.mktemp("feeds")
    folder = Folder(path / "people")
    found = HttpDaemon(path, folder.config + LIST, URL)
    yield folder, found
    assert found.stop() == 0
    assert not [line for line in found.log if "Traceback" in line or "internal error" in line]


def test_an_entry_is_a_plan_with_the_time_of_its_file(start_http: StartHttp, people: Folder) -> None:
    people.write("zoe", "\nReading\n  two books\n\n", name="Zoe Quill")
    daemon = start_http(people.config, URL)
    found = fetch(daemon, "/~zoe/feed")
    assert found.id == f"{BASE}/~zoe/feed"
    assert found.title == "Zoe Quill · people.example.org"
    (entry,) = found.entries
    assert (entry.title, entry.author, entry.content) == ("Reading", "Zoe Quill", "Reading\n  two books")
    assert entry.link == f"{BASE}/~zoe"
    assert entry.updated == found.updated == local(WHEN)
    assert re.fullmatch(r"tag:people\.example\.org,2026:/~zoe/[0-9a-f]{32}", entry.id)


def local(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))[:-2] + ":00"


def test_the_id_changes_with_the_text_alone(start_http: StartHttp, people: Folder) -> None:
    people.write("zoe", "Reading", name="Zoe")
    people.write("bob", "Reading")
    daemon = start_http(people.config, URL)
    (first,) = fetch(daemon, "/~zoe/feed").entries
    people.write("zoe", "Reading", WHEN + 60, name="Zoe Quill", office="B 12")
    (second,) = fetch(daemon, "/~zoe/feed").entries
    assert (first.id, first.author) == (second.id, "Zoe")
    assert (second.updated, second.author) == (local(WHEN + 60), "Zoe Quill")
    people.write("zoe", "Writing", WHEN + 60)
    (third,) = fetch(daemon, "/~zoe/feed").entries
    people.write("zoe", "Reading", WHEN + 120)
    (fourth,) = fetch(daemon, "/~zoe/feed").entries
    assert third.id != first.id == fourth.id
    (bob,) = fetch(daemon, "/~bob/feed").entries
    assert bob.id != first.id


def test_the_plans_of_all_who_are_listed_the_newest_first(start_http: StartHttp, people: Folder) -> None:
    for number, login in enumerate(("ann", "bob", "carol", "dora", "eve")):
        people.write(login, f"plan of {login}", WHEN + (number * 7 % 5))
    (people.path / "dora" / "nofinger").touch()
    (people.path / "eve" / "plan").unlink()
    daemon = start_http(people.config + LIST, URL)
    found = fetch(daemon, "/feed")
    assert found.id == f"{BASE}/feed"
    assert [entry.content for entry in found.entries] == ["plan of carol", "plan of bob", "plan of ann"]
    assert found.updated == found.entries[0].updated
    assert daemon.get("/~dora/feed").body == daemon.get("/~nobody/feed").body
    assert fetch(daemon, "/~eve/feed").entries == ()


def test_a_change_of_the_same_size_is_another_entity(start_http: StartHttp, people: Folder) -> None:
    people.write("zoe", "Reading")
    daemon = start_http(people.config, URL)
    tag = daemon.get("/~zoe/feed").headers["etag"]
    assert daemon.get("/~zoe/feed", If_None_Match=tag).status == 304
    people.write("zoe", "Writing")
    assert daemon.get("/~zoe/feed", If_None_Match=tag).status == 200


@pytest.mark.parametrize("show", ["minimal", "[name, login]"])
def test_a_hidden_plan_is_a_feed_without_entries(start_http: StartHttp, people: Folder, show: str) -> None:
    people.write("zoe", "Reading")
    before = local(time.time())
    daemon = start_http(f"{people.config}policy: [{{from: any, list: true, show: {show}}}]\n", URL)
    for path in ("/~zoe/feed", "/feed"):
        found = fetch(daemon, path)
        assert found.entries == ()
        assert before <= found.updated <= local(time.time())
        assert daemon.get(path).headers["etag"] == daemon.get(path).headers["etag"]


@pytest.mark.parametrize(
    ("show", "authors"),
    [("[name, plan]", {"Zoe Quill", "bob"}), ("[plan]", {"people.example.org"})],
)
def test_a_hidden_login_is_nowhere(start_http: StartHttp, people: Folder, show: str, authors: set[str]) -> None:
    people.write("zoe", "Reading", name="Zoe Quill")
    people.write("bob", "Writing")
    daemon = start_http(f"{people.config}policy: [{{from: any, list: true, show: {show}}}]\n", URL)
    entries = fetch(daemon, "/feed").entries
    assert {entry.author for entry in entries} == authors
    assert {entry.content for entry in entries} == {"Reading", "Writing"}
    assert "~zoe" not in daemon.get("/feed").text
    (entry,) = fetch(daemon, "/~zoe/feed").entries
    assert (entry.link, entry.content) == ("", "Reading")


def test_unknown_people_refused_lists_and_a_site_without_address(start_http: StartHttp, people: Folder) -> None:
    people.write("zoe", "Reading")
    daemon = start_http(people.config, URL)
    assert daemon.get("/~nobody/feed").status == 404
    assert daemon.get("/feed").status == 403
    without = start_http(people.config + LIST)
    assert [without.get(path).status for path in ("/~zoe/feed", "/~nobody/feed", "/feed")] == [404, 404, 404]
    assert b"/feed" not in without.get("/~zoe").body


def test_several_people_who_are_found_by_a_name(start_http: StartHttp, people: Folder) -> None:
    for login in ("ann", "bob"):
        people.write(login, "the same plan", name=f"{login.title()} Archer")
    daemon = start_http(f"{people.config}policy: [{{from: any, match: name, users_per_query: 3}}]\n", URL)
    found = fetch(daemon, "/~archer/feed")
    assert found.title == "archer · people.example.org"
    assert {(entry.author, entry.link) for entry in found.entries} == {
        ("Ann Archer", f"{BASE}/~ann"),
        ("Bob Archer", f"{BASE}/~bob"),
    }
    assert len(fetch(daemon, "/~bob%20ann/feed").entries) == 2


def test_a_text_is_no_plan(start_http: StartHttp) -> None:
    daemon = start_http("backend: {type: static, users: {bob: Happy and well}}\n" + LIST, URL)
    assert fetch(daemon, "/~bob/feed").entries == fetch(daemon, "/feed").entries == ()


def test_the_time_of_a_plan_in_the_configuration(start_http: StartHttp) -> None:
    daemon = start_http("backend: {type: static, users: {zoe: {plan: Reading}}}\n" + LIST, URL)
    written = local(daemon.config.stat().st_mtime)
    assert fetch(daemon, "/~zoe/feed").entries[0].updated == written
    assert fetch(daemon, "/feed").entries[0].updated == written


def test_a_source_without_times_has_that_at_which_a_text_was_first_seen(start_http: StartHttp, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")
    database = sqlite3.connect(tmp_path / "people.db")
    database.execute("CREATE TABLE people AS SELECT 'zoe' AS login, 'Reading' AS plan")
    database.commit()
    daemon = start_http(
        f"backend: {{type: sql, url: 'sqlite:///{tmp_path}/people.db', query: SELECT * FROM people WHERE login = :user,"
        f" list_query: SELECT login FROM people}}\n{LIST}",
        URL,
    )
    before = time.time()
    (first,) = fetch(daemon, "/~zoe/feed").entries
    after = time.time()
    assert local(before) <= first.updated <= local(after)
    while local(time.time()) == local(after):
        time.sleep(0.05)
    assert fetch(daemon, "/feed").entries[0].updated == first.updated
    with database:
        database.execute("UPDATE people SET plan = 'Writing'")
    (second,) = fetch(daemon, "/~zoe/feed").entries
    assert second.updated > first.updated
    assert second.id != first.id
    database.close()


HOSTILE = {
    "markup": "<script>alert('x')</script> & \"quotes\" ]]> <!-- <![CDATA[ &amp; &#0; </content></entry>",
    "control characters": "".join(map(chr, range(1, 33))) + "\x7f" + "".join(map(chr, range(0x80, 0xA0))),
    "no characters of XML": "a\ufffe\uffffb\x00c",
    "lone surrogates": "a\ud800b\udfff",
    "the last planes": "a\U0001fffe\U0010ffff😀",
    "bidi marks": "a\u202e\u2066\u200f",
    "line ends": "a\r\nb\rc\u2028d\x0be\x0cf\x85g",
    "64 KiB in one line": "<" * (64 << 10),
    "over file_bytes": "many lines\n" * 10_000,
    "one character": "x",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_every_text_makes_a_feed(hostile: tuple[Folder, HttpDaemon], text: str) -> None:
    folder, daemon = hostile
    folder.write("zoe", text, name=text[:200])
    for path in ("/~zoe/feed", "/feed"):
        (entry,) = fetch(daemon, path).entries
        assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]", entry.content)
        assert len(entry.title) <= 80
        assert entry.content.startswith(text.strip()[:1].replace("\x01", "?"))


@pytest.mark.parametrize("when", [-3e9, 0, 94_000_000, 4e9, 3e11])
def test_every_time_is_written_as_rfc_3339_wants(
    start_http: StartHttp, people: Folder, monkeypatch: pytest.MonkeyPatch, when: float
) -> None:
    """In Liberia the time was 44 minutes and 30 seconds behind until 1972."""
    people.write("zoe", "Reading", when)
    monkeypatch.setenv("TZ", "Africa/Monrovia")
    daemon = start_http(people.config, URL)
    assert RFC3339.fullmatch(fetch(daemon, "/~zoe/feed").entries[0].updated)
    assert RFC3339.fullmatch(daemon.get("/~zoe/json").json["people"][0]["plan_changed"])


@pytest.mark.parametrize("base_url", ["http://[2001:db8::1]:8079", "http://192.0.2.1", "https://a-b.example"])
def test_ids_are_tag_uris_wherever_the_site_is(start_http: StartHttp, people: Folder, base_url: str) -> None:
    people.write("Zoë quill'", "Reading")
    daemon = start_http(people.config + LIST, f'base_url: "{base_url}"')
    assert len(fetch(daemon, "/~Zo%C3%AB%20quill%27/feed", base_url).entries) == 1
    assert len(fetch(daemon, "/feed", base_url).entries) == 1


def test_a_feed_keeps_to_reply_bytes(start_http: StartHttp, people: Folder) -> None:
    for number in range(50):
        people.write(f"user{number:02}", f"plan {number} " + "&" * 1000, WHEN + number)
    daemon = start_http(f"{people.config}{LIST}limits: {{reply_bytes: 20KiB}}\n", URL)
    body = daemon.get("/feed").body
    found = fetch(daemon, "/feed")
    assert 15_000 < len(body) < 21_000
    assert [entry.content.split()[1] for entry in found.entries] == ["49", "48", "47"]


def test_the_plan_alone_is_cut_where_it_is_too_long(start_http: StartHttp, people: Folder) -> None:
    people.write("zoe", "many words\n" * 5000)
    daemon = start_http(f"{people.config}limits: {{reply_bytes: 20KiB}}\n", URL)
    (entry,) = fetch(daemon, "/~zoe/feed").entries
    assert entry.content.endswith("\nmany words\n[answer cut]")
    assert len(daemon.get("/~zoe/feed").body) < 21_000
    assert fetch(start_http(people.config, URL), "/~zoe/feed").entries[0].id == entry.id


def threads_of(daemon: HttpDaemon) -> int:
    return len(os.listdir(f"/proc/{daemon.process.pid}/task"))


def test_many_plans_are_a_worker_s_and_not_the_loop_s(start_http: StartHttp) -> None:
    users = {f"user{number}": {"plan": "Reading"} for number in range(20)}
    daemon = start_http(f"backend: {json.dumps({'type': 'static', 'users': users})}\n{LIST}", URL)
    before = threads_of(daemon)
    assert [daemon.get(path).status for path in ("/list/json", "/~user1/feed")] == [200, 200]
    assert threads_of(daemon) == before
    assert len(fetch(daemon, "/feed").entries) == 20
    assert threads_of(daemon) == before + 1


SLOW = """#!/bin/sh
if [ $# = 0 ]; then
    for number in 1 2 3 4 5 6 7 8 9; do echo '{"id": "u'$number'"}'; done | paste -sd, | sed 's/.*/[&]/'
else
    sleep 0.5
    echo '{"id": "'"$1"'", "status": "plan of '"$1"'"}'
fi
"""


def test_a_feed_has_what_was_found_in_half_of_the_time(start_http: StartHttp, tmp_path: Path) -> None:
    program = tmp_path / "slow"
    program.write_text(SLOW)
    program.chmod(0o755)
    backend: dict[str, object] = {"type": "command", "argv": [str(program), "{user}"], "list_argv": [str(program)]}
    backend["fields"] = {"login": "id", "plan": "status"}
    daemon = start_http(f"backend: {json.dumps(backend)}\nlimits: {{answer_seconds: 6}}\n{LIST}", URL)
    found = fetch(daemon, "/feed")
    assert 1 <= len(found.entries) < 9
    assert found.entries[-1].content == "plan of u1"  # the one that was seen first


def test_a_feed_for_whose_first_plan_there_is_no_time_is_busy(start_http: StartHttp) -> None:
    backend = {
        "type": "command",
        "argv": ["sh", "-c", "sleep 2; echo {}"],
        "list_argv": ["echo", '[{"id": "zoe"}]'],
        "fields": {"login": "id"},
    }
    config = f"backend: {json.dumps(backend)}\nlimits: {{answer_seconds: 3.6}}\n"
    daemon = start_http(config + LIST, URL)
    assert daemon.get("/~zoe/feed").status == 200
    busy = daemon.get("/feed")
    assert (busy.status, busy.text) == (503, "Finger service is busy, try again later\r\n")
    assert int(busy.headers["retry-after"]) > 0


def test_a_failing_source_is_no_feed(start_http: StartHttp) -> None:
    config = (
        "backend: {type: command, argv: ['false'], list_argv: [echo, '[{\"id\": \"zoe\"}]'], fields: {login: id}}\n"
    )
    daemon = start_http(config + LIST, URL)
    assert [daemon.get(path).status for path in ("/~zoe/feed", "/feed")] == [500, 500]


TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)
PEOPLE = st.builds(
    Person,
    login=TEXTS,
    text=st.none() | TEXTS,
    name=TEXTS,
    plan=st.none() | TEXTS,
    plan_changed=st.none() | st.floats(allow_nan=False),
)


@settings(deadline=None)
@given(st.lists(PEOPLE, max_size=5), TEXTS.filter(str.strip))
def test_all_people_make_a_feed(found: list[Person], title: str) -> None:
    document = feed(found, FirstSeen(), Source(BASE, "/feed", "/", f"A {title}"), 1 << 16)
    assert len(read_feed(document, f"{BASE}/feed").entries) <= sum(bool(person.plan) for person in found)


def test_only_so_many_texts_are_remembered_and_the_ones_in_use_stay() -> None:
    seen = FirstSeen()
    first = seen.when("in use")
    for number in range(30_000):
        seen.when(str(number))
        if number % 1000 == 0:
            assert seen.when("in use") == first
    assert len(seen._times) == 10_000


def test_all_threads_are_told_the_same_time() -> None:
    seen = FirstSeen()
    found: list[list[float]] = []
    barrier = threading.Barrier(8)

    def ask_for_all() -> None:
        barrier.wait()
        found.append([seen.when(str(number)) for number in range(2000)])

    threads = [threading.Thread(target=ask_for_all) for _ in range(8)]
    run_all(threads, threading.Thread.start)
    run_all(threads, threading.Thread.join)
    assert len(found) == 8
    assert all(times == found[0] for times in found)


def run_all(threads: list[threading.Thread], call: Callable[[threading.Thread], None]) -> None:
    for thread in threads:
        call(thread)


def test_a_plan_of_spaces_is_none(start_http: StartHttp) -> None:
    daemon = start_http(f'backend: {{type: static, users: {{zoe: {{plan: " \\t\\n "}}}}}}\n{LIST}', URL)
    assert [fetch(daemon, path).entries for path in ("/~zoe/feed", "/feed")] == [(), ()]
