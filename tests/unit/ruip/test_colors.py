"""``reply.colors``: SGR sequences of plans, projects and texts pass, and each such text ends in a reset."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.backends import Backend, Lookup
from fingerd.people import LastLogin, Person, Record, Session
from fingerd.protocol.reply import CUT_LINE, cut_reply, encode_reply
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.report import SHORT_PLAN_LINES
from fingerd.ruip.ruip import AnswerContext, ReplyOptions, Ruip
from fingerd.text import end_colors, without_colors

CONTEXT = AnswerContext("192.0.2.7", float("inf"), 1_700_000_000.0)
RED, RESET = "\x1b[31m", "\x1b[0m"

COLORS = ["\x1b[m", "\x1b[0m", "\x1b[1;31m", "\x1b[38;2;255;128;0;48;5;17m", "\x1b[;;m", "\x1b[07m"]
OTHERS = {
    "clearing the screen": "\x1b[2J",
    "moving the cursor": "\x1b[10;20H",
    "a title": "\x1b]0;owned\x07",
    "private parameters": "\x1b[?25m",
    "key modifiers": "\x1b[>4;2m",
    "an intermediate": "\x1b[1 m",
    "a report": "\x1b[6n",
    "a device control": "\x1bP$q m\x1b\\",
    "C1 CSI": "\x9b31m",
    "an escape alone": "\x1b",
    "an escape at a line end": "\x1b\n[31m",
    "a sequence that does not end": "\x1b[31",
    "a sequence of a kilobyte": f"\x1b[{'0;' * 512}m",
    "other digits": "\x1b[\u0663m",
    "a reset of the terminal": "\x1bc",
}
SGR = re.compile(rb"\x1b\[[0-9;]{0,64}m")


@dataclass(frozen=True)
class Told(Backend):
    """These people."""

    blocking: ClassVar[bool] = False
    people: tuple[Person, ...]

    def find(self, lookup: Lookup) -> Sequence[Person]:
        return self.people

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        return iter(self.people)


def ask(
    *people: Person, line: bytes = b"x", colors: bool = True, limit: int = 1 << 18, header: str | None = None
) -> str:
    policy = Policy((Rule(from_=("any",), show=("everything",), list=True),))
    options = ReplyOptions(colors=colors, header=header)
    return Ruip(Told(people), policy, options, 1024, limit).answer_line(line, CONTEXT).reply.decode()


@pytest.mark.parametrize("sequence", COLORS, ids=ascii)
def test_colors_of_plans_projects_and_texts_pass(sequence: str) -> None:
    text = f"a {sequence}b"
    for person in (Person("x", text), Person("x", plan=text), Person("x", project=text)):
        assert f"{text}{RESET}\r\n" in ask(person)
    assert f"{text}{RESET}\r\n" in ask(Person("", text), line=b"")


@pytest.mark.parametrize("sequence", [*COLORS, RED], ids=ascii)
def test_without_the_option_none_passes(sequence: str) -> None:
    text = f"a {sequence}b"
    masked = text.replace("\x1b", "?")
    for person in (Person("x", text), Person("x", plan=text), Person("x", project=text)):
        answer = ask(person, colors=False)
        assert f"{masked}\r\n" in answer
        assert "\x1b" not in answer
    assert ReplyOptions().colors is False


@pytest.mark.parametrize("sequence", OTHERS.values(), ids=OTHERS)
def test_no_other_control_passes(sequence: str) -> None:
    for person in (Person("x", sequence), Person("x", plan=f"a{sequence}b"), Person("x", project=sequence)):
        answer = ask(person)
        assert "\x1b" not in answer
        assert not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", answer)


def test_only_plans_projects_and_texts_are_colored() -> None:
    atoms = {field.name: f"{RED}{field.name}" for field in dataclasses.fields(Record)} | {"plan": "", "project": ""}
    person = Person(
        f"{RED}login",
        **atoms,  # type: ignore[arg-type]  # all of these are texts
        sessions=(Session(f"{RED}tty", f"{RED}host", 1.6e9),),
        last_login=LastLogin(1.69e9, f"{RED}pts", f"{RED}far"),
        forward=f"{RED}elsewhere",
    )
    answer = ask(person, line=b"/W x", header=f"{RED}header")
    assert "?[31mpgpkey" in answer
    assert "?[31mheader" in answer
    assert "\x1b" not in answer
    assert "\x1b" not in ask(person, line=b"")


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("plain", "plain"),
        ("", ""),
        (f"{RED}a", f"{RED}a{RESET}"),
        (f"{RED}a\n", f"{RED}a{RESET}\n"),
        (f"{RED}a\r\n\n", f"{RED}a{RESET}\r\n\n"),
        (f"{RED}a{RESET}", f"{RED}a{RESET}"),
        (f"{RED}a\x1b[m\n", f"{RED}a\x1b[m\n"),
        (f"{RED}a{RESET}b", f"{RED}a{RESET}b{RESET}"),
        ("\x1b[2J", "\x1b[2J"),
    ],
)
def test_a_colored_text_ends_in_one_reset(text: str, ended: str) -> None:
    assert end_colors(text) == ended


def test_the_colors_of_one_text_do_not_reach_the_next_line() -> None:
    plan = "\n".join([RED, *map(str, range(SHORT_PLAN_LINES))])
    answer = ask(Person("one", project=f"{RED}p", plan=plan), Person("two", f"{RED}t"), Person("three", "plain"))
    assert f"Project: {RED}p{RESET}\r\nPlan:\r\n{RED}\r\n0\r\n" in answer
    assert f"{SHORT_PLAN_LINES - 2}{RESET}\r\n[more with /W]\r\n" in answer
    assert f"{RED}t{RESET}\r\n\r\nplain\r\n" in answer


@pytest.mark.parametrize("limit", range(64, 120))
def test_an_answer_that_is_cut_ends_uncolored(limit: int) -> None:
    for text in (f"{RED}some words\n" * 30, f"\x1b[1;38;5;200m{'x' * 300}", f"{RED}" * 100):
        answer = ask(Person("x", text), limit=limit).encode()
        assert len(answer) <= limit
        assert answer.endswith(b"\r\n" + CUT_LINE)
        colors = SGR.findall(answer)
        assert not colors or colors[-1] == RESET.encode()
        assert b"\x1b" not in SGR.sub(b"", answer)


@given(st.text(alphabet="\x1b[;0123mKx\n\té\x9b"), st.integers(14, 80))
def test_whatever_the_text_only_whole_sequences_pass(text: str, limit: int) -> None:
    for charset in ("utf-8", "ascii", "latin-1"):
        reply = encode_reply(text, charset, colors=True)
        assert b"\x1b" not in SGR.sub(b"", reply)
        assert encode_reply(text, charset) == reply.replace(b"\x1b", b"?")
        cut = cut_reply(reply, limit)
        assert b"\x1b" not in SGR.sub(b"", cut)
        assert len(cut) <= limit


def test_colors_and_styles_are_removed_and_nothing_else_is() -> None:
    assert without_colors("\x1b[1;31mred\x1b[m and \x1b]0;x\x07 \x1b[2J [31m") == "red and \x1b]0;x\x07 \x1b[2J [31m"
    assert without_colors("plain") == "plain"
