"""``type: cache``: what is remembered, for how long, and what becomes of all who wait for one look-up."""

import logging
import math
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fingerd.backends import Backend, Lookup
from fingerd.backends.cache import Cache
from fingerd.backends.cache import answer_store as remembered
from fingerd.backends.cache.answer_store import DOWN, PAUSE, Kept, Remembered, weight
from fingerd.backends.static import Static
from fingerd.errors import BackendError, ConfigError
from fingerd.people import Person, Session
from fingerd.ruip.ruip import Answer
from fingerd.server.handler import FingerHandler
from fingerd.settings import load_config, read_config
from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, hear, serving, wait_until
from tests.helpers.daemons import ask as ask_server


@dataclass(frozen=True)
class Source(Backend):
    """Says how often it was asked for whom; fails, waits or keeps to the deadline as it is told to."""

    people: dict[str, str] = field(default_factory=lambda: {"bob": "bob"})
    asked: list[Lookup] = field(default_factory=list)
    failing: threading.Event = field(default_factory=threading.Event)
    patient: threading.Event = field(default_factory=threading.Event)  # a deadline that is near is too near
    open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def _look_up(self, lookup: Lookup) -> None:
        self.asked.append(lookup)
        self.open.wait(TIMEOUT)
        left = lookup.deadline - time.monotonic()
        if self.patient.is_set() and left < 1:
            time.sleep(max(0, left))
        if self.failing.is_set() or time.monotonic() >= lookup.deadline:
            raise BackendError(f"the cause for {lookup.username}")

    def find(self, lookup: Lookup) -> Sequence[Person]:
        self._look_up(lookup)
        text = self.people.get(lookup.username)
        return [] if text is None else [Person(lookup.username, f"{text} {len(self.asked)}")]

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        self._look_up(lookup)
        return (Person(login, name=text) for login, text in self.people.items())


def ask(name: str, seconds: float = TIMEOUT, by_name: bool = False, verbose: bool = False) -> Lookup:
    return Lookup(name, verbose, "192.0.2.7", time.monotonic() + seconds, by_name)


def told(cache: Backend, name: str, seconds: float = TIMEOUT) -> str:
    """The text of one person; "" for nobody, and the cause of a failure after an exclamation mark."""
    try:
        return "".join(person.text or "" for person in cache.find(ask(name, seconds)))
    except BackendError as error:
        return f"!{error}"


def logins(cache: Backend) -> list[str]:
    people = cache.list_users(ask(""))
    assert people is not None
    return [person.login for person in people]


class Crowd:
    """Threads that do the same at the same time."""

    def __init__(self, number: int, work: Callable[[], str]) -> None:
        self.answers: list[str] = []
        self.threads = [threading.Thread(target=lambda: self.answers.append(work())) for _ in range(number)]
        for thread in self.threads:
            thread.start()

    def done(self) -> list[str]:
        for thread in self.threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
        return self.answers


# What is remembered


def test_an_answer_is_remembered_for_everybody_who_asks_the_same() -> None:
    source = Source()
    cache = Cache(source)
    assert [told(cache, "bob") for _ in range(3)] == ["bob 1"] * 3
    assert cache.find(ask("bob", verbose=True)) != cache.find(ask("bob", by_name=True))
    assert [cache.find(ask("bob", verbose=True)) for _ in range(2)] == [(Person("bob", "bob 2"),)] * 2
    assert len(source.asked) == 3


def test_nobody_is_remembered_too_and_for_a_shorter_time() -> None:
    source = Source()
    cache = Cache(source, unknown_seconds=0.05)
    assert [told(cache, "ann"), told(cache, "ann"), told(cache, "bob")] == ["", "", "bob 2"]
    source.people["ann"] = "ann"
    wait_until(lambda: told(cache, "ann") == "ann 3")
    assert told(cache, "bob") == "bob 2"


def test_an_answer_is_asked_for_again_when_its_time_is_over() -> None:
    source = Source()
    cache = Cache(source, seconds=0.05)
    assert told(cache, "bob") == "bob 1"
    wait_until(lambda: told(cache, "bob") == "bob 2")
    assert [told(Cache(source, seconds=0), "bob") for _ in range(2)] == ["bob 3", "bob 4"]


def test_a_list_is_remembered_and_none_is_none() -> None:
    source = Source()
    cache = Cache(source)
    assert logins(cache) == logins(cache) == ["bob"]
    assert len(source.asked) == 1
    assert Cache(Cache(Source())).list_users(ask("")) is not None

    @dataclass(frozen=True)
    class Listless(Source):
        def list_users(self, lookup: Lookup) -> None:  # type: ignore[override]
            return None

    assert Cache(Listless()).list_users(ask("")) is None


def test_a_list_of_a_million_is_passed_through_and_not_held() -> None:
    made: list[int] = []

    @dataclass(frozen=True)
    class Crowded(Source):
        def list_users(self, lookup: Lookup) -> Iterator[Person]:
            for number in range(1_000_000):
                made.append(number)
                yield Person(f"user{number}")

    cache = Cache(Crowded())
    for _ in range(2):
        people = cache.list_users(ask(""))
        assert people is not None
        assert [next(people).login, next(people).login] == ["user0", "user1"]
    assert len(made) < 5_000


# Memory


def test_the_number_of_answers_is_bounded_and_the_least_wanted_goes_first() -> None:
    source = Source({name: name for name in "abcd"})
    cache = Cache(source, entries=3)
    for name in "abcada":
        told(cache, name)
    assert [request.username for request in source.asked] == ["a", "b", "c", "d"]
    assert told(cache, "b") == "b 5"
    for number in range(100):
        told(cache, f"nobody{number}")
    assert len(cache._remembered) == 4  # three answers, and a quarter as many nobodies
    assert told(cache, "a") == "a 1"  # whom no nobody has pushed out


def test_the_size_of_answers_is_bounded() -> None:
    long = "x" * (2 * remembered.ANSWER_BYTES)
    source = Source({"bob": "bob", "long": long, "middle": "x" * 100_000})
    cache = Cache(source, entries=25)
    assert len({told(cache, "long") for _ in range(2)}) == 2
    assert told(cache, "bob") == told(cache, "bob") == "bob 3"
    assert told(cache, "middle") == told(cache, "middle")
    assert told(cache, "bob") == "bob 5"  # the long one took the room of all others
    assert weight((Person("a", sessions=(Session("tty"),) * 100),)) > weight((Person("a"),)) + 10_000
    small = Remembered(1)
    small.keep(("a", False, False), Kept((Person("a", "x" * 5_000),), 1, 1))
    assert len(small) == 0


def test_names_and_causes_count_and_all_together_take_what_was_promised() -> None:
    entries, long = 2_000, "\U0001f600" * 900
    tracemalloc.start()
    try:
        answers = Remembered(entries)
        for number in range(entries):
            name = f"{number}{long}"
            answers.keep((name, False, False), Kept((Person(name, "x" * 900 + str(number)),), 1, 1))
            answers.keep((f"n{name}", False, False), Kept((), 1, 1))
            answers.fail((f"f{name}", False, False), f"cause of {name * 3}", 1)
        assert tracemalloc.get_traced_memory()[0] < entries * remembered.UNIT_BYTES * 1.5
    finally:
        tracemalloc.stop()
    key = ("x", False, False)
    answers.fail(key, "the cause" * 100, 1)
    assert len(answers.failure(key, 1)) == 200
    short = Remembered(1)
    short.fail(("x" * 10_000, False, False), "the cause", 1)
    assert len(short) == 0


# One look-up for all


@pytest.mark.parametrize("question", [lambda cache: told(cache, "bob"), lambda cache: "".join(logins(cache))])
def test_thirty_two_threads_share_one_look_up(question: Callable[[Cache], str]) -> None:
    source = Source()
    source.open.clear()
    cache = Cache(source)
    crowd = Crowd(32, lambda: question(cache))
    wait_until(lambda: source.asked)
    source.open.set()
    assert len(set(crowd.done())) == 1
    assert len(source.asked) == 1


def test_other_names_do_not_wait_for_a_look_up() -> None:
    source = Source({"ann": "ann", "bob": "bob"})
    cache = Cache(source)
    assert told(cache, "ann") == "ann 1"
    source.open.clear()
    crowd = Crowd(1, lambda: told(cache, "bob"))
    wait_until(lambda: len(source.asked) == 2)
    assert told(cache, "ann") == "ann 1"
    assert cache.at_once(ask("bob")) is None
    source.open.set()
    assert crowd.done() == ["bob 2"]


def test_all_who_wait_get_the_failure_or_the_old_answer() -> None:
    for seconds, answer in ((60.0, "!the cause for carl"), (0.0, "carl 1")):
        source = Source({"carl": "carl"})
        cache = Cache(source, seconds=seconds)
        if not seconds:
            assert told(cache, "carl") == "carl 1"
        source.asked.clear()
        source.open.clear()
        source.failing.set()
        crowd = Crowd(32, lambda: told(cache, "carl"))
        wait_until(lambda: source.asked)
        source.open.set()
        assert crowd.done() == [answer] * 32
        assert len(source.asked) == 1


def test_nobody_waits_longer_than_until_the_own_deadline() -> None:
    source = Source()
    source.open.clear()
    cache = Cache(source)
    leader = Crowd(1, lambda: told(cache, "bob"))
    wait_until(lambda: source.asked)
    start = time.monotonic()
    assert told(cache, "bob", 0.1) == "!cache: a look-up for another query took all the time"
    assert 0.1 <= time.monotonic() - start < TIMEOUT / 2
    assert told(cache, "bob", -1) == "!cache: a look-up for another query took all the time"
    source.open.set()
    assert leader.done() == ["bob 1"]


def test_who_has_more_time_looks_up_again_where_the_leader_had_too_little() -> None:
    source = Source()
    source.patient.set()
    cache = Cache(source)
    leader = Crowd(1, lambda: told(cache, "bob", 0.2))
    wait_until(lambda: source.asked)
    others = Crowd(8, lambda: told(cache, "bob"))
    assert leader.done() == ["!the cause for bob"]
    assert others.done() == ["bob 2"] * 8
    assert len(source.asked) == 2


def test_a_bug_in_a_look_up_reaches_nobody_else() -> None:
    @dataclass(frozen=True)
    class Buggy(Source):
        def find(self, lookup: Lookup) -> Sequence[Person]:
            if not self.asked:
                self._look_up(lookup)
                raise ZeroDivisionError
            return Source.find(self, lookup)

    source = Buggy()
    source.open.clear()
    cache = Cache(source)
    caught: list[BaseException] = []

    def lead() -> None:
        try:
            cache.find(ask("bob"))
        except ZeroDivisionError as error:
            caught.append(error)

    leader = threading.Thread(target=lead)
    leader.start()
    wait_until(lambda: source.asked)
    others = Crowd(4, lambda: told(cache, "bob"))
    source.open.set()
    assert others.done() == ["bob 2"] * 4
    leader.join(TIMEOUT)
    assert len(caught) == 1


# While the backend fails


def test_old_answers_are_told_while_the_backend_fails_with_one_line_for_each_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Source({"ann": "ann", "bob": "bob"})
    cache = Cache(source, seconds=0)
    assert [told(cache, "ann"), told(cache, "bob")] == ["ann 1", "bob 2"]
    people = logins(cache)
    source.failing.set()
    with caplog.at_level(logging.WARNING):
        assert [told(cache, "bob") for _ in range(10)] == ["bob 2"] * 10
        assert logins(cache) == people
    assert [record.getMessage() for record in caplog.records] == [
        f"backend failed, and an old answer is told: the cause for {name}" for name in ("bob", "")
    ]
    assert told(cache, "carl") == "!the cause for carl"


def test_an_old_answer_is_not_told_for_ever() -> None:
    source = Source()
    cache = Cache(source, seconds=0, stale_seconds=0.05)
    assert told(cache, "bob") == "bob 1"
    source.failing.set()
    wait_until(lambda: told(cache, "bob") == "!the cause for bob")


def test_a_backend_that_fails_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "PAUSE", 0.1)
    source = Source()
    source.failing.set()
    cache = Cache(source)
    assert {told(cache, "bob") for _ in range(10)} == {"!the cause for bob"}
    assert len(source.asked) == 1
    source.failing.clear()
    assert told(cache, "ann") == ""  # whom nobody has asked for yet
    wait_until(lambda: told(cache, "bob").startswith("bob"))


def test_an_old_answer_is_told_in_time_where_the_backend_uses_up_all_of_it() -> None:
    source = Source({"ann": "ann", "bob": "bob"})
    cache = Cache(source, seconds=0)
    assert [told(cache, "ann"), told(cache, "bob")] == ["ann 1", "bob 2"]
    source.patient.set()
    request = ask("bob", 0.5)
    assert [person.text for person in cache.find(request)] == ["bob 2"]
    assert time.monotonic() < request.deadline
    leader = Crowd(1, lambda: told(cache, "ann", 0.3))
    wait_until(lambda: len(source.asked) == 4)
    start = time.monotonic()
    assert told(cache, "ann") == "ann 1"  # as soon as the leader's time is over
    assert time.monotonic() - start < TIMEOUT / 2
    assert leader.done() == ["ann 1"]


def test_who_has_an_old_answer_does_not_wait_for_a_look_up_that_is_late() -> None:
    source = Source()
    cache = Cache(source, seconds=0)
    assert told(cache, "bob") == "bob 1"
    source.open.clear()
    leader = Crowd(1, lambda: told(cache, "bob", 0.2))
    wait_until(lambda: len(source.asked) == 2)
    start = time.monotonic()
    assert told(cache, "bob") == "bob 1"
    assert time.monotonic() - start < TIMEOUT / 2
    source.open.set()
    assert leader.done() == ["bob 1"]


def test_names_that_nobody_has_asked_for_before_keep_no_old_answer_alive() -> None:
    answers = Remembered(100)
    bob = ("bob", False, False)
    answers.keep(bob, Kept((Person("bob"),), fresh=0, stale=1000))
    for number in range(5 * DOWN):
        answers.fail((f"stranger{number}", False, False), "the cause", now=1)
        assert answers.good(bob, now=1) is None
    source = Source()
    cache = Cache(source, seconds=0)
    assert told(cache, "bob") == "bob 1"
    source.failing.set()
    for number in range(2 * DOWN):
        told(cache, f"stranger{number}")
    source.failing.clear()
    assert told(cache, "bob") == f"bob {2 + 2 * DOWN}"


DOUBTS = {
    "{type: chain, on_error: skip, backends: [{type: static, users: {}}]}": "what a chain with on_error: skip finds",
    "{type: aliases, names: {a: b}, backend: {type: command, argv: [echo, '{client}']}}": "a command in it is told who",
    "{type: command, argv: [sh, -c, 'echo $FINGER_CLIENT']}": "a command in it is told who asks",
    "{type: command, argv: [echo]}": "",
    "{type: chain, backends: [{type: cache, backend: {type: command, argv: [echo, '{client}']}}]}": "a command in it",
}


@pytest.mark.parametrize(("backend", "doubt"), DOUBTS.items())
def test_what_is_remembered_as_what_it_is_not_is_a_doubt(backend: str, doubt: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: cache, backend: {backend}}}\n")
    doubts = [warning for warning in read_config(str(path), {})[1] if ": backend" in warning]
    assert len(doubts) == bool(doubt)
    assert all(doubt in told for told in doubts)


def test_when_a_backend_is_down_one_look_up_at_a_time_finds_out_whether_it_still_is() -> None:
    answers = Remembered(100)
    keys = [(name, False, False) for name in "abcdef"]
    for key in keys:
        answers.keep(key, Kept((Person(key[0]),), fresh=0, stale=1000))
    for number, key in enumerate(keys[:DOWN]):
        assert answers.good(keys[-1], now=1) is None
        answers.fail(key, "the cause", now=1)
        assert answers.failure(key, now=1) == "the cause"
        assert answers.good(key, now=1), number
    assert answers.good(keys[-1], now=1 + PAUSE / 2)
    later = 2 + PAUSE
    assert not answers.good(keys[-1], later)
    answers.begin(until=later + 20)  # a look-up for somebody
    assert answers.good(keys[-1], later + 19)
    answers.fail(keys[0], "", later + 20)
    assert answers.good(keys[-1], later + 21)
    assert not answers.failure(keys[0], later + 21)  # which was for want of time
    answers.keep(keys[0], Kept((), later + 22, later + 22))
    assert not answers.good(keys[-1], later + 22)
    answers.begin(until=later + 40)
    assert not answers.good(keys[-1], later + 22)


# As a part of fingerd


def test_it_promises_what_the_other_backend_promises() -> None:
    cache, static = Cache(Source()), Cache(Static({"bob": "bob"}))
    assert cache.blocking
    assert not cache.searches_names
    assert not static.blocking
    assert static.repeatable_seconds == math.inf
    assert cache.repeatable_seconds == 1.0
    assert static.searches_names


def test_it_closes_the_other_backend() -> None:
    closed: list[str] = []

    @dataclass(frozen=True)
    class Closing(Source):
        def close(self) -> None:
            closed.append("closed")

    Cache(Closing()).close()
    assert closed == ["closed"]


@pytest.mark.parametrize(
    ("options", "problem"),
    {
        "backend: {type: drop}": "backend.backend: answers no queries, so it cannot be part of another backend",
        "seconds: 60": "backend.backend: required, but not given",
        "backend: {type: empty}, entries: 0": "backend.entries: must be from 1 to 1,000,000",
        "backend: {type: empty}, stale: 5": "backend.stale: unknown option",
    }.items(),
)
def test_what_is_wrong_with_its_options_is_told_with_its_place(options: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: cache, {options}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert problem in str(caught.value)


PROGRAM = """\
#!/bin/sh
cd {folder} || exit 2
echo "$1" >> asked
while [ "$1" = slow ] && [ ! -e go ]; do sleep 0.05; done
[ "$1" = nobody ] || echo "$1"
"""
CONFIG = """
listen: "127.0.0.1:0"
limits: {{threads: 1}}
policy: [{{from: any, list: true, users_per_query: 2}}]
backend:
  type: cache
  backend: {{type: command, argv: [sh, {folder}/program, "{{user}}"], list_argv: [echo, the list]}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A cache over a program that notes who was asked for; the user slow takes until there is a file go."""
    (tmp_path / "program").write_text(PROGRAM.format(folder=tmp_path))
    return CONFIG.format(folder=tmp_path)


def test_what_is_remembered_is_told_while_every_thread_is_stuck(config: str, start: Start, tmp_path: Path) -> None:
    daemon = start(config)
    answers = {b"bob": b"bob\r\n", b"nobody": b"No such user\r\n", b"bob nobody": b"bob\r\n\r\nNo such user\r\n"}
    assert [daemon.ask(query + b"\r\n") for query in answers] == list(answers.values())
    assert daemon.ask(b"\r\n") == b"the list\r\n"
    with daemon.connect() as client:
        client.sendall(b"slow\r\n")
        wait_until(lambda: "slow" in (tmp_path / "asked").read_text())
        assert [daemon.ask(query + b"\r\n") for query in answers] == list(answers.values())
        assert daemon.ask(b"a@b\r\n") == b"Finger forwarding service denied\r\n"
        (tmp_path / "go").touch()
        assert hear(client) == b"slow\r\n"
    assert (tmp_path / "asked").read_text().split() == ["bob", "nobody", "slow"]
    daemon.stop()
    assert sum("outcome=" in line for line in daemon.log) == 9


def test_a_handler_of_somebody_else_gets_every_query(config: str) -> None:
    class Loud(FingerHandler):
        def answer(self, line: bytes) -> Answer:
            return Answer("answered", super().answer(line).reply.upper())

    with serving(config, RequestHandlerClass=Loud) as server:
        address = ("127.0.0.1", server.server_address[1])
        assert [ask_server(address, b"bob\r\n") for _ in range(2)] == [b"BOB\r\n"] * 2


def test_every_rule_tells_what_it_allows_of_what_is_remembered(start: Start) -> None:
    users = "users: {bob: {name: Bob Bobson, office: Room 7}}"
    daemon = start(
        'listen: "127.0.0.1:0"\n'
        "policy: [{from: 127.0.0.2, show: [name]}, {from: 127.0.0.3, deny: true}, {from: any, show: [name, office]}]\n"
        f"backend: {{type: cache, backend: {{type: chain, backends: [{{type: static, {users}}}, "
        "{type: command, argv: ['false']}]}}\n"
    )
    full = b"In real life: Bob Bobson\r\nOffice: Room 7\r\n"
    for _ in range(2):
        assert daemon.ask(b"bob\r\n") == full
        assert daemon.ask(b"bob\r\n", source="127.0.0.2") == b"In real life: Bob Bobson\r\n"
        assert daemon.ask(b"bob\r\n", source="127.0.0.3") == b"Finger service denied\r\n"
