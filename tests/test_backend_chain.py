"""``type: chain``: who is asked, who answers, and what becomes of members that fail."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fingerd.backends import Ask, Backend
from fingerd.backends.chain import Chain
from fingerd.backends.command import Command
from fingerd.backends.empty import Empty
from fingerd.backends.static import Static
from fingerd.errors import BackendError, ConfigError
from fingerd.people import Person, Record
from fingerd.policy import Policy, Rule
from fingerd.ruip import Answer, Asker, Ruip, Wording
from fingerd.settings import load_config, read_config
from tests.conftest import Start

FIRST = Static({"ann": "ann of the first", "bob": "bob of the first"})
SECOND = Static({"bob": "bob of the second", "carol": "carol of the second"})
FAILING = Command(("false",), list_argv=("false",))
CAUSE = "command false: exit status 1"


@dataclass(frozen=True)
class Halting(Backend):
    """Lists one person, and fails then."""

    def find(self, ask: Ask) -> Sequence[Person]:
        return ()

    def listed(self, ask: Ask) -> Iterator[Person]:
        yield Person("dora", "dora")
        raise BackendError("the cause")


@dataclass(frozen=True)
class Closing(Empty):
    """Remembers that it was closed."""

    closed: list[str] = field(default_factory=list)

    def close(self) -> None:
        self.closed.append("closed")


def ask(name: str, by_name: bool = False) -> Ask:
    return Ask(name, False, "192.0.2.7", 1e9, by_name)


def told(backend: Chain, name: str) -> list[str]:
    return [(person.text or "").strip() for person in backend.find(ask(name))]


def listed(backend: Chain) -> list[str] | None:
    people = backend.listed(ask(""))
    return None if people is None else [person.login or (person.text or "") for person in people]


def test_the_first_that_knows_the_user_answers() -> None:
    chain = Chain((Empty(), FIRST, SECOND))
    assert told(chain, "ann") == ["ann of the first"]
    assert told(chain, "bob") == ["bob of the first"]
    assert told(chain, "carol") == ["carol of the second"]
    assert told(chain, "nobody") == []


def test_nobody_is_asked_after_the_first_that_knows() -> None:
    assert told(Chain((FIRST, FAILING)), "ann") == ["ann of the first"]


def test_a_member_that_fails_fails_the_chain(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain((FIRST, FAILING, SECOND))
    for name in ("carol", "nobody"):
        with pytest.raises(BackendError, match=f"^{CAUSE}$"):
            chain.find(ask(name))
    with pytest.raises(BackendError, match=f"^{CAUSE}$"):
        chain.listed(ask(""))
    assert caplog.records == []


def test_a_member_that_fails_is_skipped_where_that_is_wanted_and_the_log_tells_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chain = Chain((FAILING, FIRST, FAILING, SECOND), "skip")
    skipped = ("fingerd.backends.chain", logging.WARNING, f"backend skipped: {CAUSE}")
    assert told(chain, "ann") == ["ann of the first"]
    assert caplog.record_tuples == [skipped]
    assert told(chain, "carol") == ["carol of the second"]
    assert caplog.record_tuples == [skipped] * 3
    assert told(chain, "nobody") == []
    assert listed(chain) == ["ann", "bob", "carol"]
    assert caplog.record_tuples == [skipped] * 7


def test_lists_are_told_one_after_the_other_and_nobody_twice() -> None:
    assert listed(Chain((FIRST, SECOND))) == ["ann", "bob", "carol"]
    assert listed(Chain((SECOND, FIRST))) == ["bob", "carol", "ann"]
    assert listed(Chain((FIRST, FIRST))) == ["ann", "bob"]


def test_lists_that_are_texts_are_all_told() -> None:
    text = Command(("true",), list_argv=("echo", "all of us"))
    assert listed(Chain((text, FIRST, text))) == ["all of us\n", "ann", "bob", "all of us\n"]


def test_a_member_without_a_list_is_passed_over_and_without_any_there_is_none() -> None:
    assert listed(Chain((Empty(), FIRST))) == ["ann", "bob"]
    assert listed(Chain((Static({}), Empty()))) == []
    assert listed(Chain((Empty(), Command(("true",))))) is None


def test_a_list_that_breaks_off_fails_the_chain_or_is_skipped_from_there(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BackendError, match=r"^the cause$"):
        listed(Chain((FIRST, Halting(), SECOND)))
    assert caplog.records == []
    assert listed(Chain((FIRST, Halting(), SECOND), "skip")) == ["ann", "bob", "dora", "carol"]
    assert [record.getMessage() for record in caplog.records] == ["backend skipped: the cause"]


def test_chains_may_hold_chains() -> None:
    chain = Chain((Chain((Empty(), FIRST)), Chain((Chain((SECOND,)),))))
    assert told(chain, "carol") == ["carol of the second"]
    assert listed(chain) == ["ann", "bob", "carol"]
    with pytest.raises(BackendError):
        Chain((Chain((FAILING,)), FIRST)).find(ask("ann"))
    assert told(Chain((Chain((FAILING,), "skip"), FIRST)), "ann") == ["ann of the first"]


def test_it_is_instant_if_all_of_its_members_are() -> None:
    assert Chain((FIRST, SECOND, Empty())).instant
    assert not Chain((FIRST, FAILING)).instant
    assert Chain((FIRST, Chain((SECOND,)))).instant
    assert not Chain((FIRST, Chain((FAILING,)))).instant


def test_it_closes_all_of_its_members() -> None:
    members = (Closing(), Chain((Closing(),)), Closing())
    Chain(members).close()
    assert [member.closed for member in members if isinstance(member, Closing)] == [["closed"], ["closed"]]
    (inner,) = (member for chain in members if isinstance(chain, Chain) for member in chain.backends)
    assert isinstance(inner, Closing)
    assert inner.closed == ["closed"]


# Where parts of names count, all members are asked: one may know a name, and another the login.

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
def test_a_name_means_people_of_all_members_the_login_first_and_nobody_twice(name: str, logins: list[str]) -> None:
    found = Chain((CALLED, LOGINS)).find(ask(name, by_name=True))
    assert [person.login for person in found] == logins
    assert [person.text for person in found] == [None] * len(logins)  # the first member's carol


def test_a_login_is_found_whoever_is_called_so_in_another_member() -> None:
    rule = Rule(from_=("any",), show=("minimal",), match="unique", list=True)
    ruip = Ruip(Chain((CALLED, LOGINS)), Policy((rule,)), Wording(), 1024, 1 << 18)
    asker = Asker("192.0.2.7", 20.0, 0.0)
    assert ruip.answer_line(b"bob\r\n", asker) == Answer("answered", b"In real life: Robert Other\r\n")
    assert ruip.answer_line(b"Example\r\n", asker).outcome == "refused"


def test_a_member_that_fails_to_look_for_names_fails_the_chain_or_is_skipped() -> None:
    with pytest.raises(BackendError, match=f"^{CAUSE}$"):
        Chain((CALLED, FAILING)).find(ask("ann", by_name=True))
    found = Chain((FAILING, CALLED), "skip").find(ask("example", by_name=True))
    assert [person.login for person in found] == ["ann", "carol"]


# In a configuration

BROKEN = {
    "no members": ("[]", "1:34: backend.backends: is empty: give at least one"),
    "nothing": ("", "1:33: backend.backends: is empty: give something, or leave it out"),
    "a word": ("empty", "1:34: backend.backends: must be a mapping, as {type: empty}"),
    "words": ("[empty]", "1:35: backend.backends[0]: must be a mapping, as {type: empty}"),
    "a member that holds": ("[{type: hold}]", "1:35: backend.backends[0]: stands alone"),
    "a member that drops": ("[{type: empty}, {type: drop}]", "1:50: backend.backends[1]: stands alone"),
    "a member that discards": ("{type: discard}", "1:34: backend.backends: stands alone"),
    "deeper": (
        "[{type: chain, backends: [{type: hold}]}]",
        "1:60: backend.backends[0].backends[0]: stands alone",
    ),
    "no such type": (
        "[{type: empty}, {type: statik}]",
        "1:57: backend.backends[1].type: there is no backend statik (did you mean static?)",
    ),
    "a bad word for failures": (
        "[{type: empty}], on_error: skipp",
        "1:61: backend.on_error: must be fail or skip (did you mean skip?)",
    ),
}


@pytest.mark.parametrize(("text", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_with_a_member_is_told_at_its_place(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: chain, backends: {text}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    alone = ", and cannot be a part of another backend"
    expected = problem + alone if problem.endswith("stands alone") else problem
    assert list(caught.value.problems) == [f"{path}:{expected}"]


def test_what_a_member_misses_is_told_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(
        "backend:\n  type: chain\n  backends:\n    - {type: empty}\n"
        f"    - {{type: files, folder: {tmp_path}/none}}\n    - {{type: command, argv: [no-such-program]}}\n"
    )
    assert read_config(str(path), {})[1] == (
        f"{path}:5:7: backend.backends[1]: there is no folder {tmp_path}/none",
        f"{path}:6:7: backend.backends[2]: there is no program no-such-program",
    )


def test_a_daemon_goes_on_without_a_member_that_fails(start: Start) -> None:
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
    assert daemon.ask(b"\r\n") == b"Login       Name\r\nann      ann\r\n"
    assert daemon.ask(b"bob\r\n") == b"No such user\r\n"
