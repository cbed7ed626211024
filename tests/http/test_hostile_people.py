"""What a backend gives, or raises, ends no other answer, and makes no response that is malformed."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.http import get
from tests.helpers.plugins import RUDE, RUDE_ERRORS, install_backend

URL = 'base_url: "https://a.example", domains: [a.example]'
LISTEN = (
    'listen: "127.0.0.1:0"\nhttp: {listen: "127.0.0.1:0", %s}\npolicy: [{from: any, list: true, show: everything}]\n'
)

WEIRD = '''
from dataclasses import dataclass

from fingerd.backends import Backend, Lookup, Person

TEXTS = {
    "surrogate": "a\\ud800b",
    "controls": "a\\x00\\x1b[2J\\x7f\\x9b\\r\\nb",
    "markup": "</title><script>]]>&amp;\\"'",
    "directions": "\\u202eb\\u2066\\ufeff\\ufffe\\uffff",
    "lines": "a\\u2028b\\x85c\\x0b",
}


@dataclass(frozen=True)
class Weird(Backend):
    """Has one weird person for each text, whose atoms are all that text."""

    def find(self, lookup: Lookup):
        text = TEXTS.get(lookup.username) or ("usual" if lookup.username == "usual" else "")
        if not text:
            return ()
        return (Person(text, name=text, office=text, project=text, plan=text, pgpkey=text, links=f"me https://{text}"),)

    def list_users(self, lookup: Lookup):
        return (person for name in (*TEXTS, "usual") for person in self.find(Lookup(name, False, "unix", 0)))
'''
NAMES = ("surrogate", "controls", "markup", "directions", "lines", "usual")


def address_of(listening: str) -> tuple[str, int]:
    return "127.0.0.1", int(listening.rpartition(":")[2])


def test_texts_of_any_characters_make_well_formed_responses(start: Start, tmp_path: Path) -> None:
    path = install_backend(tmp_path, "weird", WEIRD)
    daemon = start(LISTEN % URL + "backend: {type: weird}\n", inside=("env", f"PYTHONPATH={path}"))
    address = address_of(daemon.listening)
    for name in NAMES:
        page, document, feed = (get(address, f"/~{name}{end}") for end in ("", "/json", "/feed"))
        assert {page.status, document.status, feed.status, get(address, f"/~{name}/text").status} == {200}
        assert "<script>" not in page.text
        assert "\x1b" not in page.text
        assert len(json.loads(document.body)["people"]) == 1
        ET.fromstring(feed.body)
    assert "usual" in get(address, "/").text
    assert len(get(address, "/list/json").json["people"]) == len(NAMES)
    assert len(ET.fromstring(get(address, "/feed").body).findall("{http://www.w3.org/2005/Atom}entry")) >= 1
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line or "internal error" in line]


@pytest.mark.parametrize("waits", ["true", "false"])
def test_what_a_backend_raises_is_500_for_one_request_and_says_nothing(
    start: Start, tmp_path: Path, waits: str
) -> None:
    path = install_backend(tmp_path, "rude", RUDE)
    config = LISTEN % URL + f"backend: {{type: rude, waits: {waits}}}\n"
    daemon = start(config, inside=("env", f"PYTHONPATH={path}"))
    address = address_of(daemon.listening)
    targets = ("/~find", "/~find/json", "/~find/text", "/~find/feed", "/", "/list/json", "/list/text")
    for target in targets:
        for number in range(len(RUDE_ERRORS)):
            response = get(address, target, source=f"127.0.0.{2 + number}")
            assert response.status == 500, target
            assert "Internal error in server" in response.text
            assert "secret" not in response.text
    assert get(address, "/~alice").status == 200
    assert daemon.stop() == 0
    for text in ("internal error while answering", "outcome=error"):
        assert sum(text in line for line in daemon.log) == len(targets) * len(RUDE_ERRORS)


MANY = """
import threading
from dataclasses import dataclass

from fingerd.backends import Backend, Lookup, Person


@dataclass(frozen=True)
class Many(Backend):
    "One person, whose name is that of the thread, and who says that there are more."

    count: str

    blocking = False

    @property
    def people_count(self):
        return int(self.count)

    def find(self, lookup: Lookup):
        return (Person("alice", name=threading.current_thread().name, plan="Reading"),)

    def list_users(self, lookup: Lookup):
        yield from self.find(lookup)
"""


def test_a_list_is_laid_out_on_the_loop_s_thread_only_if_it_is_short(start: Start, tmp_path: Path) -> None:
    """Markup takes several times as long as Finger's text."""
    path = install_backend(tmp_path, "many", MANY)
    for count, by_http, by_feed in (
        (9, "MainThread", "MainThread"),
        (50, "MainThread", "worker"),
        (100, "worker", "worker"),
    ):
        backend = f"backend: {{type: many, count: '{count}'}}\n"
        daemon = start(LISTEN % URL + backend, inside=("env", f"PYTHONPATH={path}"))
        assert "MainThread" in daemon.ask(b"\r\n").decode()
        assert by_feed in get(address_of(daemon.listening), "/feed").text
        for target in ("/", "/list/json"):
            assert by_http in get(address_of(daemon.listening), target).text, target
        for target in ("/~alice", "/~alice/json"):
            assert "MainThread" in get(address_of(daemon.listening), target).text, target
        assert daemon.stop() == 0
