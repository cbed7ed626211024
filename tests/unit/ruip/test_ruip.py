"""What becomes of a query: policy, backend, report and wording, with every outcome."""

import gc
import itertools
import logging
import tracemalloc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import ClassVar, Literal

import pytest

from fingerd.backends import Backend, Lookup
from fingerd.backends.discard import Discard
from fingerd.backends.drop import Drop
from fingerd.backends.empty import Empty
from fingerd.backends.hold import Hold
from fingerd.backends.static import Static
from fingerd.errors import BackendError
from fingerd.net.sources import parse_source
from fingerd.people import Person, Record
from fingerd.protocol.query import Query
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from tests.helpers.calls import count_calls

PEOPLE = Static({"bob": "Happy and well", "alice": "Here\nand there\n", "jürgen": "grüßt €"})
STRANGER = AnswerContext("192.0.2.7", 20.0, 1_700_000_000.0)
FRIEND = STRANGER._replace(client="198.51.100.1")
DENIED = STRANGER._replace(client="203.0.113.1")
SHUNNED = STRANGER._replace(client="203.0.113.2")
NOBODY = STRANGER._replace(client="2001:db8::1")

POLICY = Policy(
    (
        Rule(from_=(parse_source("192.0.2.0/24"),)),
        Rule(from_=(parse_source("198.51.100.0/24"),), list=True),
        Rule(from_=(parse_source("203.0.113.1"),), deny=True),
        Rule(from_=(parse_source("203.0.113.2"),), deny="silently"),
    )
)


@dataclass(frozen=True)
class Failing(Backend):
    """Can never tell."""

    def find(self, lookup: Lookup) -> Sequence[Person]:
        raise BackendError("the cause")

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        yield Person("bob", "")
        raise BackendError("the cause")


@dataclass(frozen=True)
class Waiting(Backend):
    """Remembers what it was asked, and keeps no list."""

    asked: list[Lookup] = field(default_factory=list)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        self.asked.append(lookup)
        return (Person(lookup.username, f"call {len(self.asked)}"),)


@dataclass(frozen=True)
class Crowd(Backend):
    """More people than anybody wants to hear of."""

    blocking: ClassVar[bool] = False
    told: list[str] = field(default_factory=list)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        return (Person("one", "first"), Person("two", "second\n"))

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        for number in range(1000):
            self.told.append(f"user{number}")
            yield Person(f"user{number}", "")


def ruip(
    backend: Backend = PEOPLE, wording: ReplyOptions | None = None, query_bytes: int = 1024, reply_bytes: int = 1 << 18
) -> Ruip:
    return Ruip(backend, POLICY, wording or ReplyOptions(), query_bytes, reply_bytes)


OUTCOMES = {
    "a user": (STRANGER, b"bob\r\n", "answered", b"Happy and well\r\n"),
    "a user of several lines": (STRANGER, b"alice\r\n", "answered", b"Here\r\nand there\r\n"),
    "a user in full": (STRANGER, b"/W bob\r\n", "answered", b"Happy and well\r\n"),
    "nobody": (STRANGER, b"carol\r\n", "unknown", b"No such user\r\n"),
    "another case": (STRANGER, b"Bob\r\n", "unknown", b"No such user\r\n"),
    "the list, refused": (STRANGER, b"\r\n", "refused", b"Finger online user list denied\r\n"),
    "the list in full, refused": (STRANGER, b"/W\r\n", "refused", b"Finger online user list denied\r\n"),
    "forwarding": (STRANGER, b"bob@example.org\r\n", "refused", b"Finger forwarding service denied\r\n"),
    "forwarding a list": (FRIEND, b"@example.org\r\n", "refused", b"Finger forwarding service denied\r\n"),
    "malformed": (STRANGER, b"bob@\r\n", "malformed", b"Malformed query\r\n"),
    "malformed by a control character": (STRANGER, b"\x1b[2J\r\n", "malformed", b"Malformed query\r\n"),
    "too long": (STRANGER, b"x" * 1025 + b"\r\n", "too-long", b"Query too long\r\n"),
    "as long as it may be": (STRANGER, b"x" * 1024 + b"\r\n", "unknown", b"No such user\r\n"),
    "denied": (DENIED, b"bob\r\n", "denied", b"Finger service denied\r\n"),
    "denied whatever it is": (DENIED, b"\0\r\n", "denied", b"Finger service denied\r\n"),
    "denied silently": (SHUNNED, b"bob\r\n", "denied", b""),
    "denied by no rule": (NOBODY, b"bob\r\n", "denied", b"Finger service denied\r\n"),
    "the list": (
        FRIEND,
        b"\r\n",
        "answered",
        "Login    Name\r\nbob      bob\r\nalice    alice\r\njürgen   jürgen\r\n".encode(),
    ),
}


@pytest.mark.parametrize(("context", "line", "outcome", "reply"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_a_line_has_an_outcome_and_a_reply(context: AnswerContext, line: bytes, outcome: str, reply: bytes) -> None:
    assert ruip().answer_line(line, context) == Answer(outcome, reply)


def test_an_empty_backend_knows_nobody_and_keeps_no_list() -> None:
    assert ruip(Empty()).answer_line(b"bob\r\n", FRIEND) == Answer("unknown", b"No such user\r\n")
    assert ruip(Empty()).answer_line(b"\r\n", FRIEND) == Answer("refused", b"Finger online user list denied\r\n")


def test_a_list_of_nobody_says_so() -> None:
    assert ruip(Static({})).answer_line(b"\r\n", FRIEND) == Answer("answered", b"No one logged on.\r\n")


@pytest.mark.parametrize("backend", [Hold(), Drop(), Discard()], ids=["hold", "drop", "discard"])
@pytest.mark.parametrize("line", [b"bob\r\n", b"\0\r\n", b"x" * 2000], ids=["user", "malformed", "too long"])
def test_a_backend_that_wants_no_query_gives_nothing_back(backend: Backend, line: bytes) -> None:
    wording = ReplyOptions(header="hello", footer="bye")
    assert ruip(backend, wording).answer_line(line, STRANGER) == Answer("dropped", b"")


@pytest.mark.parametrize(
    "query", [Query("bob"), Query(), Query("bob", verbose=True)], ids=["user", "list", "verbose user"]
)
def test_a_failing_backend_is_logged_once_and_its_cause_not_told(
    query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "fingerd"):
        answer = ruip(Failing()).answer_line(query.encode(), FRIEND)
    assert answer == Answer("error", b"Internal error in server\r\n")
    assert caplog.record_tuples == [("fingerd.ruip.ruip", logging.WARNING, "backend failed: the cause")]
    assert caplog.records[0].exc_info is None


def test_a_backend_that_may_not_be_asked_is_not_asked() -> None:
    backend = Waiting()
    for context, line in ((DENIED, b"bob"), (STRANGER, b""), (STRANGER, b"bob@here"), (STRANGER, b"\0")):
        ruip(backend).answer_line(line, context)
    assert backend.asked == []


def test_a_backend_hears_who_asks_for_whom_and_until_when() -> None:
    backend = Waiting()
    ruip(backend).answer_line(b" /W alice  bob\r\n", STRANGER)
    assert backend.asked == [Lookup("alice  bob", True, "192.0.2.7", 20.0)]


def test_a_backend_that_is_not_instant_is_asked_every_time() -> None:
    asked = ruip(Waiting())
    replies = [asked.answer_line(b"bob\r\n", STRANGER).reply for _ in range(2)]
    assert replies == [b"call 1\r\n", b"call 2\r\n"]


def test_an_instant_backend_gives_the_same_answer_again() -> None:
    asked = ruip()
    assert asked.answer_line(b"bob\r\n", STRANGER) == asked.answer_line(b"bob\r\n", FRIEND)


CHARSETS = {
    "UTF-8": (ReplyOptions(charset="utf-8"), "grüßt €\r\n".encode()),
    "Latin-1": (ReplyOptions(charset="latin-1"), b"gr\xfc\xdft ?\r\n"),
    "ASCII": (ReplyOptions(charset="ascii"), b"gr??t ?\r\n"),
}


@pytest.mark.parametrize(("wording", "reply"), CHARSETS.values(), ids=CHARSETS.keys())
def test_what_the_charset_cannot_hold_is_masked(wording: ReplyOptions, reply: bytes) -> None:
    assert ruip(wording=wording).answer_line("jürgen\r\n".encode(), STRANGER).reply == reply


NOW = datetime.fromtimestamp(1_700_000_000).astimezone().isoformat(" ", "seconds")

WORDINGS = {
    "a header": (ReplyOptions(header="Welcome"), b"Welcome\r\nHappy and well\r\n"),
    "a footer": (ReplyOptions(footer="Bye"), b"Happy and well\r\nBye\r\n"),
    "both, of several lines": (ReplyOptions(header="a\nb\n", footer="c\n"), b"a\r\nb\r\nHappy and well\r\nc\r\n"),
    "empty ones": (ReplyOptions(header="", footer=""), b"Happy and well\r\n"),
    "the user": (ReplyOptions(header="{user}:"), b"bob:\r\nHappy and well\r\n"),
    "the client": (ReplyOptions(footer="for {client}"), b"Happy and well\r\nfor 192.0.2.7\r\n"),
    "the time": (ReplyOptions(header="{time}"), f"{NOW}\r\nHappy and well\r\n".encode()),
    "one twice": (ReplyOptions(header="{user} {user}"), b"bob bob\r\nHappy and well\r\n"),
    "nothing else": (
        ReplyOptions(header="{} {host} {{user}} {user!r} {User} %s"),
        b"{} {host} {bob} {user!r} {User} %s\r\nHappy and well\r\n",
    ),
    "control characters": (ReplyOptions(header="\x1b[2J"), b"?[2J\r\nHappy and well\r\n"),
    "another charset": (ReplyOptions(charset="ascii", header="grüß"), b"gr??\r\nHappy and well\r\n"),
}


@pytest.mark.parametrize(("wording", "reply"), WORDINGS.values(), ids=WORDINGS.keys())
def test_an_answer_stands_between_header_and_footer(wording: ReplyOptions, reply: bytes) -> None:
    assert ruip(wording=wording).answer_line(b"bob\r\n", STRANGER).reply == reply


def test_what_is_put_into_a_header_is_not_looked_at_again() -> None:
    answer = ruip(wording=ReplyOptions(header="{user} from {client}")).answer_line(b"{client}{time}\r\n", STRANGER)
    assert answer.reply == b"{client}{time} from 192.0.2.7\r\nNo such user\r\n"


@pytest.mark.parametrize(
    ("context", "line", "reply"),
    [
        (STRANGER, b"\0", b"[]\r\nMalformed query\r\n"),
        (STRANGER, b"", b"[]\r\nFinger online user list denied\r\n"),
        (STRANGER, b"bob@x", b"[bob]\r\nFinger forwarding service denied\r\n"),
        (DENIED, b"bob", b"[]\r\nFinger service denied\r\n"),
        (SHUNNED, b"bob", b""),
    ],
    ids=["malformed", "list", "forwarding", "denied", "silently"],
)
def test_a_refusal_has_a_header_too_but_silence_has_none(context: AnswerContext, line: bytes, reply: bytes) -> None:
    assert ruip(wording=ReplyOptions(header="[{user}]")).answer_line(line, context).reply == reply


def test_an_answer_of_any_outcome_can_be_made_of_a_text() -> None:
    assert ruip().text_answer("busy", "Later", STRANGER) == Answer("busy", b"Later\r\n")


def test_a_long_answer_is_cut_and_says_so() -> None:
    backend = Static({"bob": "line\n" * 100})
    answer = ruip(backend, reply_bytes=64).answer_line(b"bob\r\n", STRANGER)
    assert answer == Answer("answered", b"line\r\n" * 8 + b"[answer cut]\r\n")


def test_no_more_people_are_listed_than_there_is_room_for() -> None:
    backend = Crowd()
    answer = ruip(backend, reply_bytes=200).answer_line(b"\r\n", FRIEND)
    assert len(answer.reply) <= 200
    assert answer.reply.endswith(b"\r\n[answer cut]\r\n")
    assert len(backend.told) < 20


def test_several_people_are_told_one_after_the_other() -> None:
    assert ruip(Crowd()).answer_line(b"any\r\n", STRANGER).reply == b"first\r\n\r\nsecond\r\n"


@dataclass(frozen=True)
class Fragile(Backend):
    """Knows everybody but one, and cannot tell of that one."""

    searches_names: ClassVar[bool] = True

    def find(self, lookup: Lookup) -> Sequence[Person]:
        if lookup.username == "broken":
            raise BackendError("the cause")
        return (Person(lookup.username, f"{lookup.username} {lookup.by_name}"),)


SEVERAL = Policy((Rule(from_=("any",), users_per_query=8),))


def test_one_of_several_users_whom_nobody_can_tell_of_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    ruip = Ruip(Fragile(), SEVERAL, ReplyOptions(), 1024, 1 << 18)
    assert ruip.answer_line(b"alice bob\r\n", STRANGER) == Answer("answered", b"alice False\r\n\r\nbob False\r\n")
    assert ruip.answer_line(b"alice broken bob\r\n", STRANGER) == Answer("error", b"Internal error in server\r\n")
    assert [record.getMessage() for record in caplog.records] == ["backend failed: the cause"]


@pytest.mark.parametrize("kind", [Waiting, Crowd])
def test_nothing_is_left_of_one_that_is_not_needed_any_more(kind: type[Backend]) -> None:
    backend, policy = kind(), Policy(POLICY.rules)
    asked = Ruip(backend, policy, ReplyOptions(), 1024, 1 << 18)
    asked.answer_line(b"bob\r\n", STRANGER)
    left = [weakref.ref(each) for each in (asked, backend, policy)]
    gc.disable()  # which would find it, but seldom looks at what is old
    try:
        del asked, backend, policy
        assert [each() for each in left] == [None] * 3
    finally:
        gc.enable()


@pytest.mark.parametrize(("match", "by_name"), [("login", False), ("name", True), ("unique", False)])
def test_a_backend_hears_whether_parts_of_names_count(match: Literal["login", "name", "unique"], by_name: bool) -> None:
    ruip = Ruip(Fragile(), Policy((Rule(from_=("any",), match=match),)), ReplyOptions(), 1024, 1 << 18)
    assert ruip.answer_line(b"bob\r\n", STRANGER).reply == f"bob {by_name}\r\n".encode()


def test_several_users_share_a_header() -> None:
    ruip = Ruip(Fragile(), SEVERAL, ReplyOptions(header="[{user}]", footer="."), 1024, 1 << 18)
    assert ruip.answer_line(b"a  b\r\n", STRANGER).reply == b"[a  b]\r\na False\r\n\r\nb False\r\n.\r\n"


def test_answers_that_clients_put_together_take_no_memory_for_good() -> None:
    users = Static({name: f"{name}\n" * 2000 for name in "abcdefgh"})
    ruip = Ruip(users, SEVERAL, ReplyOptions(), 1024, 1 << 18)
    tracemalloc.start()
    for names in itertools.islice(itertools.permutations("abcdefgh"), 200):
        assert len(ruip.answer_line(" ".join(names).encode(), STRANGER).reply) > 8 * 6000
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 6_000_000


def test_a_person_of_whom_there_is_a_record_is_told_anew_at_each_time() -> None:
    backend = Static({"bob": Record(name="Bob Example")})
    told = Ruip(backend, POLICY, ReplyOptions(), 1024, 1 << 18).answer_line(b"bob\r\n", STRANGER)
    assert told == Answer(
        "answered", b"Login name: bob                         In real life: Bob Example\r\nNo Plan.\r\n"
    )


def test_what_would_be_cut_is_not_asked_for() -> None:
    backend = Waiting()
    ruip = Ruip(backend, SEVERAL, ReplyOptions(), 1024, 10)
    assert ruip.answer_line(b"a b c d e", STRANGER).reply.endswith(b"[answer cut]\r\n")
    assert [ask.username for ask in backend.asked] == ["a", "b"]


# What one query may cost

MEBIBYTE = 1 << 20
LONG = {
    "lines": "x\n" * (MEBIBYTE // 2),
    "one line": "x" * MEBIBYTE,
    "carriage returns": "\rx" * (MEBIBYTE // 2),
    "control characters": "\a" * MEBIBYTE,
    "spaces": " " * MEBIBYTE + "x",
    "other scripts": "漢字" * (MEBIBYTE // 6),
}
LINES = {"short": b"a", "verbose": b"/W a", "many times": b"a " * 100, "others": b"a b " * 50}


def peak_bytes(ruip: Ruip, line: bytes) -> tuple[int, Answer]:
    """How much memory is in use at most while a query is answered, and the answer."""
    tracemalloc.start()
    try:
        answer = ruip.answer_line(line, STRANGER)
        return tracemalloc.get_traced_memory()[1], answer
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("atom", ["text", "plan", "project", "pgpkey"])
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_text_that_is_longer_than_an_answer_costs_no_more_than_an_answer(text: str, atom: str, line: bytes) -> None:
    user = text if atom == "text" else Record(**{"name": "Ann", atom: text})
    policy = Policy((Rule(from_=("any",), users_per_query=100),))
    ruip = Ruip(Static({"a": user, "b": user}), policy, ReplyOptions(), 1024, 1 << 18)
    peak, answer = peak_bytes(ruip, line)
    assert len(answer.reply) <= 1 << 18
    assert peak < 16 << 18


@pytest.mark.parametrize("names", ["anna " * 99, "anna " + "a b c d e f g h i j k l m " * 7, "anna a anna B Anna "])
def test_a_person_whom_many_names_find_is_laid_out_once(names: str) -> None:
    people = {f"user{number}": Record(name=f"Anna{number} Anna A B C D E F G H I J K L M") for number in range(90)}
    policy = Policy((Rule(from_=("any",), users_per_query=100, match="name"),))
    ruip = Ruip(Static(people), policy, ReplyOptions(), 1024, 1 << 18)
    one, several = (partial(ruip.answer_line, line.encode(), STRANGER) for line in ("anna", f"{names} x"))
    assert several() == Answer("answered", one().reply + b"\r\nNo such user\r\n")
    assert count_calls(several) < count_calls(one) * 3


def test_a_long_header_is_encoded_once_if_it_is_always_the_same() -> None:
    parts = ReplyOptions(header="x\n" * (MEBIBYTE // 2), footer="y\n" * (MEBIBYTE // 2))
    peak, answer = peak_bytes(Ruip(PEOPLE, POLICY, parts, 1024, 1 << 18), b"bob")
    assert len(answer.reply) > 3 * MEBIBYTE
    assert peak < len(answer.reply) + (1 << 18)
