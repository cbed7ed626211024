"""The answer memory: what is remembered, for how long, and in how much memory."""

import gc
import math
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from fingerd import FingerServer
from fingerd.backends import Backend, Lookup
from fingerd.errors import BackendError
from fingerd.net.addresses import parse_network
from fingerd.people import Person
from fingerd.ruip.policy import Rule
from fingerd.ruip.ruip import Answer, ReplyOptions
from fingerd.server.answer_memory import MEMORY_BYTES_MAX, SHORT_LIVED_BYTES_MAX, AnswerMemory
from fingerd.server.limits import Limits
from fingerd.server.listeners import TcpAddress
from tests.helpers.daemons import ask, running

BOB = Answer("answered", b"bob\r\n")
KEY = (0, "bob", False)


def test_an_answer_expires() -> None:
    memory = AnswerMemory(1.0)
    assert memory.put(KEY, BOB, 100.0)
    assert memory[KEY] == (BOB, 101.0)


@pytest.mark.parametrize("outcome", ["answered", "unknown", "refused"])
def test_repeatable_outcomes_are_remembered(outcome: str) -> None:
    memory = AnswerMemory(1.0)
    assert memory.put(KEY, Answer(outcome, b""), 0.0)
    assert KEY in memory


@pytest.mark.parametrize("outcome", ["error", "busy", "limited", "malformed", "too-long", "denied", "dropped"])
def test_outcomes_of_one_request_are_not_remembered(outcome: str) -> None:
    memory = AnswerMemory(1.0)
    assert not memory.put(KEY, Answer(outcome, b""), 0.0)
    assert not memory


def test_the_least_recently_used_answer_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fingerd.server.answer_memory.MEMORY_BYTES_MAX", 3 * 800)
    memory = AnswerMemory(math.inf)
    for name in "abc":
        memory.put((0, name, False), BOB, 0.0)
    memory.move_to_end((0, "a", False))
    memory.put((0, "d", False), BOB, 0.0)
    assert [name for _, name, _ in memory] == ["c", "a", "d"]


def test_the_same_answer_again_takes_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fingerd.server.answer_memory.MEMORY_BYTES_MAX", 3 * 800)
    memory = AnswerMemory(math.inf)
    for _ in range(100):
        memory.put(KEY, BOB, 0.0)
    memory.put((0, "eve", False), BOB, 0.0)
    assert len(memory) == 2


@pytest.mark.parametrize("size", [0, 100, 5_000, 300_000])
@pytest.mark.parametrize(("seconds", "limit"), [(math.inf, MEMORY_BYTES_MAX), (1.0, SHORT_LIVED_BYTES_MAX)])
def test_its_estimate_is_not_less_than_what_it_takes(size: int, seconds: float, limit: int) -> None:
    memory = AnswerMemory(seconds)
    gc.collect()
    tracemalloc.start()
    for number in range(3 * limit // 1_500):  # small answers fill it one and a half times
        name = f"{number:08}\N{GREEK SMALL LETTER ALPHA}" + "x" * (size // 100)
        memory.put((number % 7, name, True), Answer("answered", b"%d" % number + b"x" * size), float(number))
        if number * size > 3 * limit:
            break
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.2 * limit < held <= limit


class Counting(Backend):
    """Counts look-ups; each answer says how many there were."""

    def __init__(self, seconds: float, blocks: bool = False) -> None:
        self.seconds = seconds
        self.blocks = blocks
        self.asked: list[str] = []

    @property
    def blocking(self) -> bool:
        """As the test sets it."""
        return self.blocks

    @property
    def repeatable_seconds(self) -> float:
        """As the test sets it."""
        return self.seconds

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person; no one for ``nobody``, a failure for ``broken``."""
        self.asked.append(lookup.username)
        if lookup.username == "broken":
            raise BackendError("broken")
        return () if lookup.username == "nobody" else (Person(lookup.username, f"call {len(self.asked)}"),)

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """A list of one."""
        self.asked.append("")
        return iter((Person("somebody", "here"),))


class Config:
    """Settings made by hand: clients of 127.0.0.2 are under a rule of their own."""

    def __init__(self, backend: Backend, reply: ReplyOptions | None = None, **limits: Any) -> None:
        self.listen = (TcpAddress("127.0.0.1", 0),)
        self.backend = backend
        self.policy = (Rule(from_=(parse_network("127.0.0.2"),), list=True), Rule(from_=("any",), list=True))
        self.limits = Limits(**limits)
        self.reply = reply or ReplyOptions()
        self.hosts: tuple[str, ...] = ()


@pytest.mark.parametrize("blocks", [False, True], ids=["on the loop", "by a worker"])
def test_a_repeatable_answer_is_looked_up_once(blocks: bool) -> None:
    backend = Counting(math.inf, blocks)
    with running(FingerServer(Config(backend))) as server:
        address = server.socket.getsockname()
        assert {ask(address, b"bob\r\n") for _ in range(3)} == {b"call 1\r\n"}
        assert {ask(address, line) for line in (b" bob\n", b"bob \r\n", b"\tbob\r\n")} == {b"call 1\r\n"}
        assert ask(address, b"/W bob\r\n") == b"call 2\r\n"
        assert ask(address, b"bob\r\n", source="127.0.0.2") == b"call 3\r\n"  # another rule
        assert {ask(address, b"nobody\r\n") for _ in range(2)} == {b"No such user\r\n"}
        assert len({ask(address, spelling) for spelling in (b"\r\n", b" \r\n", b"\n")}) == 1
    assert backend.asked == ["bob", "bob", "bob", "nobody", ""]


@pytest.mark.parametrize("blocks", [False, True], ids=["on the loop", "by a worker"])
def test_a_failure_is_looked_up_again(blocks: bool) -> None:
    backend = Counting(math.inf, blocks)
    with running(FingerServer(Config(backend))) as server:
        for _ in range(2):
            assert ask(server.socket.getsockname(), b"broken\r\n") == b"Internal error in server\r\n"
    assert backend.asked == ["broken", "broken"]


@pytest.mark.parametrize(
    ("reply", "calls"),
    [
        (ReplyOptions(header="Hello"), 1),
        (ReplyOptions(footer="This was {user}"), 1),
        (ReplyOptions(header="For {client}:"), 2),
        (ReplyOptions(footer="{time}"), 2),
    ],
    ids=["a text", "the user", "the client", "the time"],
)
def test_answers_that_name_the_client_or_the_time_are_not_remembered(reply: ReplyOptions, calls: int) -> None:
    backend = Counting(math.inf)
    with running(FingerServer(Config(backend, reply))) as server:
        for _ in range(2):
            ask(server.socket.getsockname(), b"bob\r\n")
    assert len(backend.asked) == calls


def test_answers_of_a_backend_without_repeatable_seconds_are_not_remembered() -> None:
    backend = Counting(0.0)
    with running(FingerServer(Config(backend))) as server:
        for _ in range(3):
            ask(server.socket.getsockname(), b"bob\r\n")
    assert len(backend.asked) == 3


def test_an_answer_is_repeated_for_its_seconds_which_a_hit_does_not_prolong() -> None:
    backend = Counting(0.3)
    answers = []
    with running(FingerServer(Config(backend))) as server:
        for _ in range(40):
            answers.append(ask(server.socket.getsockname(), b"bob\r\n"))
            time.sleep(0.02)
    assert 2 <= len(set(answers)) <= 8


def test_a_reload_forgets_all_answers() -> None:
    backend = Counting(math.inf)
    with running(FingerServer(Config(backend))) as server:
        assert ask(server.socket.getsockname(), b"bob\r\n") == b"call 1\r\n"
        server.reload(Config(backend))
        assert ask(server.socket.getsockname(), b"bob\r\n") == b"call 2\r\n"
