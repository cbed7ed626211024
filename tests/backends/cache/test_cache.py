"""``type: cache``: what is cached, for how long, and how concurrent queries share one look-up."""

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
from fingerd.backends.cache import Cache, answer_store
from fingerd.backends.cache.answer_store import (
    BREAKER_THRESHOLD,
    RETRY_SECONDS,
    AnswerStore,
    CachedAnswer,
    people_bytes,
)
from fingerd.backends.static import Static
from fingerd.errors import BackendError, ConfigError
from fingerd.people import Person, Session
from fingerd.ruip.ruip import Answer
from fingerd.server.handler import FingerHandler
from fingerd.settings import load_config, read_config
from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, serving, wait_until
from tests.helpers.daemons import ask as ask_server


@dataclass(frozen=True)
class Source(Backend):
    """Records its look-ups; fails, waits, or uses all of the time, as its events say."""

    people: dict[str, str] = field(default_factory=lambda: {"bob": "bob"})
    asked: list[Lookup] = field(default_factory=list)
    failing: threading.Event = field(default_factory=threading.Event)
    slow: threading.Event = field(default_factory=threading.Event)  # takes all of a time of less than a second
    open: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def _look_up(self, lookup: Lookup) -> None:
        self.asked.append(lookup)
        self.open.wait(TIMEOUT)
        remaining = lookup.deadline - time.monotonic()
        if self.slow.is_set() and remaining < 1:
            time.sleep(max(0, remaining))
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


def text_of(cache: Backend, name: str, seconds: float = TIMEOUT) -> str:
    """The text of one person; "" for an unknown name; the cause of a failure after an exclamation mark."""
    try:
        return "".join(person.text or "" for person in cache.find(ask(name, seconds)))
    except BackendError as error:
        return f"!{error}"


def logins(cache: Backend) -> list[str]:
    people = cache.list_users(ask(""))
    assert people is not None
    return [person.login for person in people]


class Threads:
    """Threads that do the same work at the same time."""

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


# What is cached


def test_an_answer_is_cached_for_all_clients_with_the_same_query() -> None:
    source = Source()
    cache = Cache(source)
    assert [text_of(cache, "bob") for _ in range(3)] == ["bob 1"] * 3
    assert cache.find(ask("bob", verbose=True)) != cache.find(ask("bob", by_name=True))
    assert [cache.find(ask("bob", verbose=True)) for _ in range(2)] == [(Person("bob", "bob 2"),)] * 2
    assert len(source.asked) == 3


def test_an_unknown_name_is_cached_for_a_shorter_time() -> None:
    source = Source()
    cache = Cache(source, unknown_seconds=0.05)
    assert [text_of(cache, "ann"), text_of(cache, "ann"), text_of(cache, "bob")] == ["", "", "bob 2"]
    source.people["ann"] = "ann"
    wait_until(lambda: text_of(cache, "ann") == "ann 3")
    assert text_of(cache, "bob") == "bob 2"


def test_an_answer_that_is_no_longer_fresh_is_looked_up_again() -> None:
    source = Source()
    cache = Cache(source, seconds=0.05)
    assert text_of(cache, "bob") == "bob 1"
    wait_until(lambda: text_of(cache, "bob") == "bob 2")
    assert [text_of(Cache(source, seconds=0), "bob") for _ in range(2)] == ["bob 3", "bob 4"]


def test_a_list_is_cached_and_a_missing_list_stays_none() -> None:
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


def test_a_list_of_a_million_people_is_passed_through_and_not_collected() -> None:
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


def test_the_number_of_answers_is_bounded_and_the_least_recently_used_is_evicted() -> None:
    source = Source({name: name for name in "abcd"})
    cache = Cache(source, entries=3)
    for name in "abcada":
        text_of(cache, name)
    assert [request.username for request in source.asked] == ["a", "b", "c", "d"]
    assert text_of(cache, "b") == "b 5"
    for number in range(100):
        text_of(cache, f"unknown{number}")
    assert len(cache._answers) == 4  # three answers, and a quarter as many unknown names
    assert text_of(cache, "a") == "a 1"  # no unknown name has evicted it


def test_the_size_of_answers_is_bounded() -> None:
    long = "x" * (2 * answer_store.MAX_ANSWER_BYTES)
    source = Source({"bob": "bob", "long": long, "middle": "x" * 100_000})
    cache = Cache(source, entries=25)
    assert len({text_of(cache, "long") for _ in range(2)}) == 2
    assert text_of(cache, "bob") == text_of(cache, "bob") == "bob 3"
    assert text_of(cache, "middle") == text_of(cache, "middle")
    assert text_of(cache, "bob") == "bob 5"  # the long one has evicted all others
    assert people_bytes((Person("a", sessions=(Session("tty"),) * 100),)) > people_bytes((Person("a"),)) + 10_000
    small = AnswerStore(1)
    small.store(("a", False, False), CachedAnswer((Person("a", "x" * 5_000),), 1, 1))
    assert len(small) == 0


def test_names_and_causes_count_and_the_total_stays_within_the_documented_memory() -> None:
    entries, long = 2_000, "\U0001f600" * 900
    tracemalloc.start()
    try:
        answers = AnswerStore(entries)
        for number in range(entries):
            name = f"{number}{long}"
            answers.store((name, False, False), CachedAnswer((Person(name, "x" * 900 + str(number)),), 1, 1))
            answers.store((f"n{name}", False, False), CachedAnswer((), 1, 1))
            answers.fail((f"f{name}", False, False), f"cause of {name * 3}", 1)
        assert tracemalloc.get_traced_memory()[0] < entries * answer_store.ENTRY_BYTES * 1.5
    finally:
        tracemalloc.stop()
    key = ("x", False, False)
    answers.fail(key, "the cause" * 100, 1)
    assert len(answers.failure(key, 1)) == 200
    short = AnswerStore(1)
    short.fail(("x" * 10_000, False, False), "the cause", 1)
    assert len(short) == 0


# One look-up for all concurrent queries


@pytest.mark.parametrize("question", [lambda cache: text_of(cache, "bob"), lambda cache: "".join(logins(cache))])
def test_thirty_two_threads_share_one_look_up(question: Callable[[Cache], str]) -> None:
    source = Source()
    source.open.clear()
    cache = Cache(source)
    threads = Threads(32, lambda: question(cache))
    wait_until(lambda: source.asked)
    source.open.set()
    assert len(set(threads.done())) == 1
    assert len(source.asked) == 1


def test_other_names_do_not_wait_for_a_look_up() -> None:
    source = Source({"ann": "ann", "bob": "bob"})
    cache = Cache(source)
    assert text_of(cache, "ann") == "ann 1"
    source.open.clear()
    threads = Threads(1, lambda: text_of(cache, "bob"))
    wait_until(lambda: len(source.asked) == 2)
    assert text_of(cache, "ann") == "ann 1"
    source.open.set()
    assert threads.done() == ["bob 2"]


def test_all_waiting_queries_get_the_failure_or_the_stale_answer() -> None:
    for seconds, answer in ((60.0, "!the cause for carl"), (0.0, "carl 1")):
        source = Source({"carl": "carl"})
        cache = Cache(source, seconds=seconds)
        if not seconds:
            assert text_of(cache, "carl") == "carl 1"
        source.asked.clear()
        source.open.clear()
        source.failing.set()
        threads = Threads(32, lambda: text_of(cache, "carl"))
        wait_until(lambda: source.asked)
        source.open.set()
        assert threads.done() == [answer] * 32
        assert len(source.asked) == 1


def test_a_query_waits_no_longer_than_its_own_deadline() -> None:
    source = Source()
    source.open.clear()
    cache = Cache(source)
    leader = Threads(1, lambda: text_of(cache, "bob"))
    wait_until(lambda: source.asked)
    start = time.monotonic()
    assert text_of(cache, "bob", 0.1) == "!cache: timed out waiting for the look-up of another query"
    assert 0.1 <= time.monotonic() - start < TIMEOUT / 2
    assert text_of(cache, "bob", -1) == "!cache: timed out waiting for the look-up of another query"
    source.open.set()
    assert leader.done() == ["bob 1"]


def test_a_query_with_more_time_looks_up_again_after_the_leader_ran_out_of_time() -> None:
    source = Source()
    source.slow.set()
    cache = Cache(source)
    leader = Threads(1, lambda: text_of(cache, "bob", 0.2))
    wait_until(lambda: source.asked)
    others = Threads(8, lambda: text_of(cache, "bob"))
    assert leader.done() == ["!the cause for bob"]
    assert others.done() == ["bob 2"] * 8
    assert len(source.asked) == 2


def test_a_bug_in_a_look_up_is_not_shared() -> None:
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
    others = Threads(4, lambda: text_of(cache, "bob"))
    source.open.set()
    assert others.done() == ["bob 2"] * 4
    leader.join(TIMEOUT)
    assert len(caught) == 1


# While the backend fails


def test_stale_answers_are_served_while_the_backend_fails_with_one_log_line_for_each_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Source({"ann": "ann", "bob": "bob"})
    cache = Cache(source, seconds=0)
    assert [text_of(cache, "ann"), text_of(cache, "bob")] == ["ann 1", "bob 2"]
    people = logins(cache)
    source.failing.set()
    with caplog.at_level(logging.WARNING):
        assert [text_of(cache, "bob") for _ in range(10)] == ["bob 2"] * 10
        assert logins(cache) == people
    assert [record.getMessage() for record in caplog.records] == [
        f"backend failed, serving a stale answer: the cause for {name}" for name in ("bob", "")
    ]
    assert text_of(cache, "carl") == "!the cause for carl"


def test_a_stale_answer_is_not_served_for_ever() -> None:
    source = Source()
    cache = Cache(source, seconds=0, stale_seconds=0.05)
    assert text_of(cache, "bob") == "bob 1"
    source.failing.set()
    wait_until(lambda: text_of(cache, "bob") == "!the cause for bob")


def test_a_failed_look_up_is_retried_after_retry_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_store, "RETRY_SECONDS", 0.1)
    source = Source()
    source.failing.set()
    cache = Cache(source)
    assert {text_of(cache, "bob") for _ in range(10)} == {"!the cause for bob"}
    assert len(source.asked) == 1
    source.failing.clear()
    assert text_of(cache, "ann") == ""  # not looked up before
    wait_until(lambda: text_of(cache, "bob").startswith("bob"))


@pytest.mark.serial
def test_a_stale_answer_is_served_in_time_if_the_backend_uses_all_of_it() -> None:
    source = Source({"ann": "ann", "bob": "bob"})
    cache = Cache(source, seconds=0)
    assert [text_of(cache, "ann"), text_of(cache, "bob")] == ["ann 1", "bob 2"]
    source.slow.set()
    request = ask("bob", 1.0)
    assert [person.text for person in cache.find(request)] == ["bob 2"]
    assert time.monotonic() < request.deadline
    leader = Threads(1, lambda: text_of(cache, "ann", 0.3))
    wait_until(lambda: len(source.asked) == 4)
    start = time.monotonic()
    assert text_of(cache, "ann") == "ann 1"  # at the leader's deadline
    assert time.monotonic() - start < TIMEOUT / 2
    assert leader.done() == ["ann 1"]


def test_with_a_stale_answer_a_query_does_not_wait_past_the_leader_s_deadline() -> None:
    source = Source()
    cache = Cache(source, seconds=0)
    assert text_of(cache, "bob") == "bob 1"
    source.open.clear()
    leader = Threads(1, lambda: text_of(cache, "bob", 0.2))
    wait_until(lambda: len(source.asked) == 2)
    start = time.monotonic()
    assert text_of(cache, "bob") == "bob 1"
    assert time.monotonic() - start < TIMEOUT / 2
    source.open.set()
    assert leader.done() == ["bob 1"]


def test_failures_for_new_names_do_not_open_the_circuit_breaker() -> None:
    answers = AnswerStore(100)
    bob = ("bob", False, False)
    answers.store(bob, CachedAnswer((Person("bob"),), fresh_until=0, stale_until=1000))
    for number in range(5 * BREAKER_THRESHOLD):
        answers.fail((f"stranger{number}", False, False), "the cause", now=1)
        assert answers.fresh_enough(bob, now=1) is None
    source = Source()
    cache = Cache(source, seconds=0)
    assert text_of(cache, "bob") == "bob 1"
    source.failing.set()
    for number in range(2 * BREAKER_THRESHOLD):
        text_of(cache, f"stranger{number}")
    source.failing.clear()
    assert text_of(cache, "bob") == f"bob {2 + 2 * BREAKER_THRESHOLD}"


PARTIAL = "caches incomplete answers, which a chain with on_error: skip gives"
OF_CLIENT = "the answers of a command in it depend on the client"
WARNINGS = {
    "{type: chain, on_error: skip, backends: [{type: static, users: {}}]}": PARTIAL,
    "{type: aliases, names: {a: b}, backend: {type: command, argv: [echo, '{client}']}}": OF_CLIENT,
    "{type: command, argv: [sh, -c, 'echo $FINGER_CLIENT']}": OF_CLIENT,
    "{type: command, argv: [echo]}": "",
    "{type: chain, backends: [{type: cache, backend: {type: command, argv: [echo, '{client}']}}]}": OF_CLIENT,
}


@pytest.mark.parametrize(("backend", "warning"), WARNINGS.items())
def test_caching_answers_that_are_partial_or_depend_on_the_client_is_a_warning(
    backend: str, warning: str, tmp_path: Path
) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: cache, backend: {backend}}}\n")
    warnings = [line for line in read_config(str(path), {})[1] if ": backend" in line]
    assert len(warnings) == bool(warning)
    assert all(warning in line for line in warnings)


def test_an_open_circuit_breaker_lets_one_look_up_at_a_time_probe_the_backend() -> None:
    answers = AnswerStore(100)
    keys = [(name, False, False) for name in "abcdef"]
    for key in keys:
        answers.store(key, CachedAnswer((Person(key[0]),), fresh_until=0, stale_until=1000))
    for number, key in enumerate(keys[:BREAKER_THRESHOLD]):
        assert answers.fresh_enough(keys[-1], now=1) is None
        answers.fail(key, "the cause", now=1)
        assert answers.failure(key, now=1) == "the cause"
        assert answers.fresh_enough(key, now=1), number
    assert answers.fresh_enough(keys[-1], now=1 + RETRY_SECONDS / 2)
    later = 2 + RETRY_SECONDS
    assert not answers.fresh_enough(keys[-1], later)
    answers.begin(deadline=later + 20)  # the probe
    assert answers.fresh_enough(keys[-1], later + 19)
    answers.fail(keys[0], "", later + 20)
    assert answers.fresh_enough(keys[-1], later + 21)
    assert not answers.failure(keys[0], later + 21)  # it was out of time, which is no failure of the backend
    answers.store(keys[0], CachedAnswer((), later + 22, later + 22))
    assert not answers.fresh_enough(keys[-1], later + 22)
    answers.begin(deadline=later + 40)
    assert not answers.fresh_enough(keys[-1], later + 22)


# As a part of fingerd


def test_its_properties_follow_from_the_other_backend() -> None:
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
def test_an_invalid_option_is_an_error_at_its_place(options: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: cache, {options}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert problem in str(caught.value)


PROGRAM = """\
#!/bin/sh
cd {folder} || exit 2
echo "$1" >> asked
[ "$1" = nobody ] || echo "$1"
"""
CONFIG = """
listen: "127.0.0.1:0"
policy: [{{from: any, list: true, users_per_query: 2}}]
backend:
  type: cache
  backend: {{type: command, argv: [sh, {folder}/program, "{{user}}"], list_argv: [echo, the list]}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A cache around a program that records the usernames."""
    (tmp_path / "program").write_text(PROGRAM.format(folder=tmp_path))
    return CONFIG.format(folder=tmp_path)


def test_a_daemon_runs_the_program_once_for_each_name(config: str, start: Start, tmp_path: Path) -> None:
    daemon = start(config)
    answers = {b"bob": b"bob\r\n", b"nobody": b"No such user\r\n", b"bob nobody": b"bob\r\n\r\nNo such user\r\n"}
    for _ in range(2):
        assert [daemon.ask(query + b"\r\n") for query in answers] == list(answers.values())
        assert daemon.ask(b"\r\n") == b"the list\r\n"
    assert (tmp_path / "asked").read_text().split() == ["bob", "nobody"]
    assert daemon.ask(b"a@b\r\n") == b"Finger forwarding service denied\r\n"
    daemon.stop()
    assert sum("outcome=" in line for line in daemon.log) == 9


def test_a_custom_handler_gets_every_query(config: str) -> None:
    class Loud(FingerHandler):
        def answer(self, line: bytes) -> Answer:
            return Answer("answered", super().answer(line).reply.upper())

    with serving(config, RequestHandlerClass=Loud) as server:
        address = ("127.0.0.1", server.server_address[1])
        assert [ask_server(address, b"bob\r\n") for _ in range(2)] == [b"BOB\r\n"] * 2


def test_every_rule_applies_to_cached_answers(start: Start) -> None:
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
