"""``type: chain``: which members are asked, how answers are merged, and what happens if a member fails."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fingerd.backends import Backend, Lookup
from fingerd.backends.aliases import Aliases
from fingerd.backends.chain import MAX_ASKED_AGAIN, MAX_MERGED, Chain
from fingerd.backends.command import Command
from fingerd.backends.empty import Empty
from fingerd.backends.static import Static
from fingerd.errors import BackendError, ConfigError
from fingerd.people import Person, Record, Session
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from fingerd.settings import load_config, read_config
from tests.conftest import Start

FIRST = Static({"ann": "ann of the first", "bob": "bob of the first"})
SECOND = Static({"bob": "bob of the second", "carol": "carol of the second"})
FAILING = Command(("false",), list_argv=("false",))
CAUSE = "command false: exit status 1"


@dataclass(frozen=True)
class Halting(Backend):
    """Lists one person, then fails."""

    def find(self, lookup: Lookup) -> Sequence[Person]:
        return ()

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        yield Person("dora", "dora")
        raise BackendError("the cause")


@dataclass(frozen=True)
class Closing(Empty):
    """Records that it was closed."""

    closed: list[str] = field(default_factory=list)

    def close(self) -> None:
        self.closed.append("closed")


def ask(name: str, by_name: bool = False) -> Lookup:
    return Lookup(name, False, "192.0.2.7", 1e9, by_name)


def texts_of(backend: Chain, name: str) -> list[str]:
    return [(person.text or "").strip() for person in backend.find(ask(name))]


def list_of(backend: Chain) -> list[str] | None:
    people = backend.list_users(ask(""))
    return None if people is None else [person.login or (person.text or "") for person in people]


def test_the_first_member_that_knows_the_user_answers() -> None:
    chain = Chain((Empty(), FIRST, SECOND))
    assert texts_of(chain, "ann") == ["ann of the first"]
    assert texts_of(chain, "bob") == ["bob of the first"]
    assert texts_of(chain, "carol") == ["carol of the second"]
    assert texts_of(chain, "nobody") == []


def test_no_member_is_asked_after_the_first_that_knows_the_user() -> None:
    assert texts_of(Chain((FIRST, FAILING)), "ann") == ["ann of the first"]


def test_a_failing_member_fails_the_chain(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain((FIRST, FAILING, SECOND))
    for name in ("carol", "nobody"):
        with pytest.raises(BackendError, match=f"^{CAUSE}$"):
            chain.find(ask(name))
    with pytest.raises(BackendError, match=f"^{CAUSE}$"):
        chain.list_users(ask(""))
    assert caplog.records == []


def test_with_on_error_skip_a_failing_member_is_skipped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chain = Chain((FAILING, FIRST, FAILING, SECOND), "skip")
    skipped = ("fingerd.backends.chain", logging.WARNING, f"backend skipped: {CAUSE}")
    assert texts_of(chain, "ann") == ["ann of the first"]
    assert caplog.record_tuples == [skipped]
    assert texts_of(chain, "carol") == ["carol of the second"]
    assert caplog.record_tuples == [skipped] * 3
    assert texts_of(chain, "nobody") == []
    assert list_of(chain) == ["ann", "bob", "carol"]
    assert caplog.record_tuples == [skipped] * 7


def test_lists_are_concatenated_and_each_login_is_listed_once() -> None:
    assert list_of(Chain((FIRST, SECOND))) == ["ann", "bob", "carol"]
    assert list_of(Chain((SECOND, FIRST))) == ["bob", "carol", "ann"]
    assert list_of(Chain((FIRST, FIRST))) == ["ann", "bob"]


def test_lists_that_are_texts_are_all_kept() -> None:
    text = Command(("true",), list_argv=("echo", "all of us"))
    assert list_of(Chain((text, FIRST, text))) == ["all of us\n", "ann", "bob", "all of us\n"]


def test_members_without_a_list_are_ignored_and_without_any_list_there_is_none() -> None:
    assert list_of(Chain((Empty(), FIRST))) == ["ann", "bob"]
    assert list_of(Chain((Static({}), Empty()))) == []
    assert list_of(Chain((Empty(), Command(("true",))))) is None


def test_a_list_that_fails_midway_fails_the_chain_or_ends_there(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BackendError, match=r"^the cause$"):
        list_of(Chain((FIRST, Halting(), SECOND)))
    assert caplog.records == []
    assert list_of(Chain((FIRST, Halting(), SECOND), "skip")) == ["ann", "bob", "dora", "carol"]
    assert [record.getMessage() for record in caplog.records] == ["backend skipped: the cause"]


def test_chains_may_be_nested() -> None:
    chain = Chain((Chain((Empty(), FIRST)), Chain((Chain((SECOND,)),))))
    assert texts_of(chain, "carol") == ["carol of the second"]
    assert list_of(chain) == ["ann", "bob", "carol"]
    with pytest.raises(BackendError):
        Chain((Chain((FAILING,)), FIRST)).find(ask("ann"))
    assert texts_of(Chain((Chain((FAILING,), "skip"), FIRST)), "ann") == ["ann of the first"]


def test_it_is_blocking_if_any_member_is() -> None:
    assert not Chain((FIRST, SECOND, Empty())).blocking
    assert Chain((FIRST, FAILING)).blocking
    assert not Chain((FIRST, Chain((SECOND,)))).blocking
    assert Chain((FIRST, Chain((FAILING,)))).blocking


def test_it_closes_all_members() -> None:
    members = (Closing(), Chain((Closing(),)), Closing())
    Chain(members).close()
    assert [member.closed for member in members if isinstance(member, Closing)] == [["closed"], ["closed"]]
    (inner,) = (member for chain in members if isinstance(chain, Chain) for member in chain.backends)
    assert isinstance(inner, Closing)
    assert inner.closed == ["closed"]


# By name, all members are asked: one may know a full name, and another the login.

CALLED = Static({"ann": Record(name="Bob Example"), "carol": Record(name="Carol Example")})
LOGINS = Static({"bob": Record(name="Robert Other"), "carol": "a text", "dora": Record(name="Dora Example")})


@pytest.mark.parametrize(
    ("name", "logins"),
    [
        ("bob", ["bob", "ann"]),
        ("Bob", ["ann"]),
        ("carol", ["carol"]),
        ("example", ["ann", "carol", "dora"]),
        ("other", ["bob"]),
        ("nobody", []),
    ],
)
def test_by_name_people_of_all_members_are_found_the_login_first_and_each_login_once(
    name: str, logins: list[str]
) -> None:
    found = Chain((CALLED, LOGINS)).find(ask(name, by_name=True))
    assert [person.login for person in found] == logins
    assert [person.text for person in found] == [None] * len(logins)  # the first member's carol


def test_a_full_name_in_one_member_does_not_hide_a_login_in_another() -> None:
    rule = Rule(from_=("any",), show=("minimal",), match="unique", list=True)
    ruip = Ruip(Chain((CALLED, LOGINS)), Policy((rule,)), ReplyOptions(), 1024, 1 << 18)
    context = AnswerContext("192.0.2.7", 20.0, 0.0)
    assert ruip.answer_line(b"bob\r\n", context) == Answer("answered", b"In real life: Robert Other\r\n")
    assert ruip.answer_line(b"Example\r\n", context).outcome == "refused"


def test_a_member_that_fails_to_search_names_fails_the_chain_or_is_skipped() -> None:
    with pytest.raises(BackendError, match=f"^{CAUSE}$"):
        Chain((CALLED, FAILING)).find(ask("ann", by_name=True))
    found = Chain((FAILING, CALLED), "skip").find(ask("example", by_name=True))
    assert [person.login for person in found] == ["ann", "carol"]


# In a configuration

BROKEN = {
    "no members": ("[]", "1:34: backend.backends: is empty: give at least one"),
    "nothing": ("", "1:33: backend.backends: is empty: give a value or remove the option"),
    "a word": ("empty", "1:34: backend.backends: must be a mapping, as {type: empty}"),
    "words": ("[empty]", "1:35: backend.backends[0]: must be a mapping, as {type: empty}"),
    "a member that holds": ("[{type: hold}]", "1:35: backend.backends[0]: answers no queries"),
    "a member that drops": ("[{type: empty}, {type: drop}]", "1:50: backend.backends[1]: answers no queries"),
    "a member that discards": ("{type: discard}", "1:34: backend.backends: answers no queries"),
    "deeper": (
        "[{type: chain, backends: [{type: hold}]}]",
        "1:60: backend.backends[0].backends[0]: answers no queries",
    ),
    "no such type": (
        "[{type: empty}, {type: statik}]",
        "1:57: backend.backends[1].type: there is no backend statik (did you mean static?)",
    ),
    "a misspelled on_error": (
        "[{type: empty}], on_error: skipp",
        "1:61: backend.on_error: must be fail or skip (did you mean skip?)",
    ),
}


@pytest.mark.parametrize(("text", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_an_invalid_member_is_an_error_at_its_place(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: chain, backends: {text}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    alone = ", so it cannot be part of another backend"
    expected = problem + alone if problem.endswith("answers no queries") else problem
    assert list(caught.value.problems) == [f"{path}:{expected}"]


def test_a_missing_requirement_of_a_member_is_a_warning_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(
        "backend:\n  type: chain\n  backends:\n    - {type: empty}\n"
        f"    - {{type: files, folder: {tmp_path}/none}}\n    - {{type: command, argv: [no-such-program]}}\n"
    )
    assert read_config(str(path), {})[1] == (
        f"{path}:5:7: backend.backends[1]: there is no directory {tmp_path}/none",
        f"{path}:6:7: backend.backends[2]: there is no program no-such-program",
    )


def test_a_daemon_skips_a_failing_member(start: Start) -> None:
    daemon = start("""
listen: "127.0.0.1:0"
policy: [{from: any, list: true}]
backend:
  type: chain
  on_error: skip
  backends:
    - {type: command, argv: [sh, -c, "echo broken >&2; exit 3"], list_argv: [sh, -c, "echo broken >&2; exit 3"]}
    - {type: static, users: {ann: Here}}
""")
    assert daemon.ask(b"ann\r\n") == b"Here\r\n"
    assert daemon.logged("WARNING").endswith(
        "fingerd.backends.chain: backend skipped: command sh: exit status 3: broken"
    )
    assert "outcome=answered" in daemon.logged("client=")
    assert daemon.ask(b"\r\n") == b"Login    Name\r\nann      ann\r\n"
    assert daemon.ask(b"bob\r\n") == b"No such user\r\n"


# merge


@dataclass(frozen=True)
class Knowing(Backend):
    """Finds these people by login, and lists them."""

    people: tuple[Person, ...]
    asked: list[str] = field(default_factory=list)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        self.asked.append(lookup.username)
        return [person for person in self.people if person.login == lookup.username]

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        return iter(self.people)


PHONE_BOOK = Static({"ann": Record(name="Ann Archer", office="7"), "bob": Record(name="Bob Archer"), "eve": "a text"})
PLANS = Knowing(
    (
        Person("ann", name="Somebody Else", office="8", job="potter", plan="Ann's plan", sessions=()),
        Person("carol", plan=""),
        Person("eve", name="Eve", plan="Eve's plan"),
    )
)


def test_atoms_that_a_member_does_not_know_come_from_the_next_ones() -> None:
    merged = Chain((PHONE_BOOK, PLANS, Static({"ann": Record(job="smith", project="a jar")})), merge=True)
    (ann,) = merged.find(ask("ann"))
    assert ann == Person(
        "ann", name="Ann Archer", office="7", job="potter", plan="Ann's plan", project="a jar", sessions=()
    )
    assert merged.find(ask("bob")) == PHONE_BOOK.find(ask("bob"))
    assert merged.find(ask("carol")) == (PLANS.people[1],)
    assert list(merged.find(ask("dora"))) == []
    assert Chain((PHONE_BOOK, PLANS)).find(ask("ann")) == PHONE_BOOK.find(ask("ann"))


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    {
        "unknown": (None, "a plan", "a plan"),
        "empty": ("", "a plan", "a plan"),
        "known": ("my plan", "a plan", "my plan"),
        "empty and unknown": ("", None, ""),
        "unknown and empty": (None, "", ""),
        "unknown to both members": (None, None, None),
    }.values(),
)
def test_unknown_and_empty_atoms_are_filled_in(first: str | None, second: str | None, merged: str | None) -> None:
    chain = Chain((Knowing((Person("ann", plan=first),)), Knowing((Person("ann", plan=second),))), merge=True)
    assert chain.find(ask("ann")) == (Person("ann", plan=merged),)


def test_not_logged_in_is_known_and_not_filled_in() -> None:
    here, away = Person("ann", sessions=(Session("tty1"),)), Person("ann", sessions=())
    assert away.merged_with(here) == away
    assert Person("ann").merged_with(here) == here
    assert Person("ann").merged_with(away) == away


def test_the_first_text_wins_and_is_the_complete_answer() -> None:
    later = Knowing((Person("eve", "another text"),))
    for members in ((PHONE_BOOK, PLANS, later), (PLANS, PHONE_BOOK, later)):
        later.asked.clear()
        assert [person.text for person in Chain(members, merge=True).find(ask("eve"))] == ["a text\n"]
        assert later.asked == []


@dataclass(frozen=True)
class Nicknamed(Backend):
    """Finds ann by any name; with fields that have no login, under that name."""

    fields: dict[str, str] = field(default_factory=dict)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        return (Person(lookup.username if self.fields else "ann", plan="Ann's plan", home_phone="555-0101"),)


def test_people_with_different_logins_are_never_merged() -> None:
    bob = Person("bob", name="Bob Archer", plan="")
    assert Chain((PHONE_BOOK, Nicknamed()), merge=True).find(ask("bob")) == (bob,)
    assert [person.login for person in Chain((Nicknamed(), PHONE_BOOK), merge=True).find(ask("bob"))] == ["ann"]
    assert Chain((PHONE_BOOK, Nicknamed()), merge=True).find(ask("ann"))[0].plan == "Ann's plan"


def test_a_record_without_a_login_is_about_the_username_of_the_lookup() -> None:
    unnamed = Nicknamed({"plan": "plan"})
    aliased = Aliases(PHONE_BOOK, {"boss": ("bob",)})
    for members in ((aliased, unnamed), (aliased, Aliases(unnamed, {"x": ("y",)}))):
        (boss,) = Chain(members, merge=True).find(ask("boss"))
        assert (boss.login, boss.name, boss.plan) == ("bob", "Bob Archer", "Ann's plan")
    (boss,) = Chain((unnamed, aliased), merge=True).find(ask("boss"))
    assert (boss.login, boss.name, boss.plan) == ("boss", "Bob Archer", "Ann's plan")


def test_a_login_that_one_member_finds_twice_is_returned_once() -> None:
    twice = Knowing((Person("ann", job="potter"), Person("ann", office="7")))
    found = Chain((twice,)).find(ask("ann", by_name=True))
    assert found == [Person("ann", job="potter")]
    assert Chain((twice,), merge=True).find(ask("ann", by_name=True))[0].login == "ann"


def test_people_of_an_alias_are_merged_by_login() -> None:
    staff = Aliases(PHONE_BOOK, {"staff": ("ann", "bob")})
    plans = Aliases(PLANS, {"staff": ("carol", "ann")})
    people = Chain((staff, plans), merge=True).find(ask("staff"))
    assert [(person.login, person.plan) for person in people] == [("ann", "Ann's plan"), ("bob", "")]


def test_people_found_by_name_are_merged_by_login_with_members_that_do_not_search_names() -> None:
    merged = Chain((PHONE_BOOK, PLANS), merge=True)
    assert [(person.login, person.plan) for person in merged.find(ask("archer", by_name=True))] == [
        ("ann", "Ann's plan"),
        ("bob", ""),
    ]
    assert merged.find(ask("ann", by_name=True)) == list(merged.find(ask("ann")))
    many = Static({f"user{number}": Record(name="Ann Archer") for number in range(MAX_ASKED_AGAIN + 1)})
    PLANS.asked.clear()
    assert len(Chain((many, PLANS), merge=True).find(ask("archer", by_name=True))) == MAX_ASKED_AGAIN + 1
    assert PLANS.asked == ["archer"]


@pytest.mark.parametrize("by_name", [False, True])
def test_a_failing_member_fails_a_merging_chain_or_is_skipped(by_name: bool, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BackendError, match=CAUSE):
        Chain((PHONE_BOOK, FAILING, PLANS), merge=True).find(ask("ann", by_name))
    skipping = Chain((PHONE_BOOK, FAILING, PLANS), "skip", merge=True)
    with caplog.at_level(logging.WARNING):
        assert [person.plan for person in skipping.find(ask("ann", by_name))] == ["Ann's plan"]
    assert f"backend skipped: {CAUSE}" in caplog.messages


def test_a_list_is_merged_up_to_max_merged_people() -> None:
    merged = Chain((PHONE_BOOK, Halting(), PLANS, Halting()), "skip", merge=True).list_users(ask(""))
    assert merged is not None
    people = {person.login: person for person in merged}
    assert list(people) == ["ann", "bob", "eve", "dora", "carol"]
    assert (people["ann"].office, people["ann"].plan) == ("7", "Ann's plan")
    many = Knowing(tuple(Person(f"user{number}") for number in range(MAX_MERGED + 5)))
    more = Knowing((Person("user1", job="potter"), Person("user2"), Person("last")))
    short = Chain((Knowing(many.people[:5]), more), merge=True).list_users(ask(""))
    long = Chain((many, more), merge=True).list_users(ask(""))
    assert short is not None
    assert long is not None
    assert [person.job for person in short] == ["", "potter", "", "", "", ""]
    people = {person.login: person for person in long}
    assert len(people) == MAX_MERGED + 6
    assert (people["user1"].job, list(people)[-1]) == ("", "last")


def test_a_daemon_merges_and_shows_the_atoms_that_a_rule_allows(start: Start, tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "plan").write_text("Back on Monday.\n")
    (tmp_path / "ann" / "home_phone").write_text("555-0102\n")
    daemon = start(
        'listen: "127.0.0.1:0"\npolicy: [{from: any, show: [name, plan], match: name, list: true}]\n'
        "backend:\n  type: chain\n  merge: true\n  backends:\n"
        f"    - {{type: static, users: {{ann: {{name: Ann Archer}}}}}}\n    - {{type: files, folder: {tmp_path}}}\n"
    )
    expected = b"In real life: Ann Archer\r\nPlan:\r\nBack on Monday.\r\n"
    assert daemon.ask(b"ann\r\n") == daemon.ask(b"archer\r\n") == expected
    assert b"Ann Archer" in daemon.ask(b"\r\n")
