"""``type: vending``: a vending machine (RFC 1288 2.5.5) that never eats money."""

from pathlib import Path

import pytest

from fingerd.backends.vending import Slot, Vending
from fingerd.errors import ConfigError
from fingerd.ruip.policy import Policy, Rule
from fingerd.ruip.ruip import Answer, AnswerContext, ReplyOptions, Ruip
from fingerd.settings import load_config
from fingerd.testing import make_lookup
from tests.conftest import Start
from tests.helpers.calls import count_calls

MACHINE = """
backend:
  type: vending
  slots:
    tea: {count: 12, price: "0.50", text: "Hot,\\nand a little too strong.\\n"}
    lemonade: {count: 3}
    crisps: {count: 0, price: "1.20 €"}
    "no": {count: 1, text: Nothing inside.}
"""

ITEMS = (
    "Items available:\r\n"
    "  tea       12 left, 0.50 each\r\n"
    "  lemonade  3 left\r\n"
    "  crisps    sold out\r\n"
    "  no        1 left\r\n"
)

ANSWERS = {
    "R39: the list of all items": ("", "answered", ITEMS),
    "R39: with /W": ("/W", "answered", ITEMS),
    "R40: a slot": (
        "tea",
        "answered",
        "Slot: tea\r\nCount: 12\r\nPrice: 0.50\r\n\r\nHot,\r\nand a little too strong.\r\n",
    ),
    "R40: with /W": (
        "/W tea",
        "answered",
        "Slot: tea\r\nCount: 12\r\nPrice: 0.50\r\n\r\nHot,\r\nand a little too strong.\r\n",
    ),
    "R40: a slot with a count only": ("lemonade", "answered", "Slot: lemonade\r\nCount: 3\r\n"),
    "R40: a slot that is sold out": ("crisps", "answered", "Slot: crisps\r\nCount: sold out\r\nPrice: 1.20 €\r\n"),
    "R40: a slot without a price": ("no", "answered", "Slot: no\r\nCount: 1\r\n\r\nNothing inside.\r\n"),
    "no slot": ("coffee", "unknown", "No such user\r\n"),
    "another case": ("Tea", "unknown", "No such user\r\n"),
    "a coin": ("tea 0.50", "unknown", "No such user\r\n"),
}


@pytest.fixture
def machine(tmp_path: Path) -> Ruip:
    path = tmp_path / "fingerd.yaml"
    path.write_text(MACHINE)
    rules = (Rule(from_=("local",), list=True, show=("minimal",), match="name"), Rule(from_=("any",)))
    return Ruip(load_config(str(path)).backend, Policy(rules), ReplyOptions(), 1024, 1 << 18)


HERE, ELSEWHERE = AnswerContext("unix", 20.0, 0.0), AnswerContext("192.0.2.7", 20.0, 0.0)


@pytest.mark.parametrize(("line", "outcome", "answer"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_vending_machine_answers_with_its_slots(machine: Ruip, line: str, outcome: str, answer: str) -> None:
    assert machine.answer_line(f"{line}\r\n".encode(), HERE) == Answer(outcome, answer.encode())


def test_the_policy_treats_the_list_of_items_as_the_user_list(machine: Ruip) -> None:
    assert machine.answer_line(b"\r\n", ELSEWHERE) == Answer("refused", b"Finger online user list denied\r\n")
    assert machine.answer_line(b"lemonade\r\n", ELSEWHERE).outcome == "answered"


def test_a_query_buys_nothing_so_the_counts_stay_the_same(machine: Ruip) -> None:
    for _ in range(3):
        for line, outcome, answer in ANSWERS.values():
            assert machine.answer_line(f"{line}\r\n".encode(), HERE) == Answer(outcome, answer.encode())


def test_a_machine_without_slots_says_so() -> None:
    ruip = Ruip(Vending({}), Policy((Rule(from_=("any",), list=True),)), ReplyOptions(), 1024, 1 << 18)
    assert ruip.answer_line(b"\r\n", HERE) == Answer("answered", b"Nothing is for sale here.\r\n")


def test_the_list_of_items_is_made_once() -> None:
    machine = Vending({f"slot{number}": Slot(1) for number in range(200)})
    assert count_calls(lambda: list(machine.list_users(make_lookup("")))) < 10


def test_control_characters_in_a_price_cannot_start_a_new_line() -> None:
    slots = {"tea": Slot(1, "0.50\r\nSlot: gold\x1b[2J", "Hot\x07\r\n\n")}
    ruip = Ruip(Vending(slots), Policy((Rule(from_=("any",), list=True),)), ReplyOptions(), 1024, 1 << 18)
    assert ruip.answer_line(b"\r\n", HERE).reply == (
        b"Items available:\r\n  tea  1 left, 0.50  Slot: gold?[2J each\r\n"
    )
    assert ruip.answer_line(b"tea\r\n", HERE).reply == (
        b"Slot: tea\r\nCount: 1\r\nPrice: 0.50  Slot: gold?[2J\r\n\r\nHot?\r\n"
    )


BROKEN = {
    "no slots": ("{type: vending}", "10: backend.slots: required, but not given"),
    "no count": ("{type: vending, slots: {tea: {}}}", "39: backend.slots.tea.count: required, but not given"),
    "a negative count": (
        "{type: vending, slots: {tea: {count: -1}}}",
        "47: backend.slots.tea.count: must be from 0 to 1,000,000",
    ),
    "a fraction": (
        "{type: vending, slots: {tea: {count: 0.5}}}",
        "47: backend.slots.tea.count: must be a whole number",
    ),
    "a price that is a number": (
        "{type: vending, slots: {tea: {count: 1, price: 1.50}}}",
        "57: backend.slots.tea.price: YAML reads this as a number; to mean the text, put it in quotes",
    ),
    "a count without its key": ("{type: vending, slots: {tea: 5}}", "39: backend.slots.tea: must be a mapping"),
    "a slot that no query can name": (
        "{type: vending, slots: {a@b: {count: 1}}}",
        "39: backend.slots.a@b: no query can ask for a slot called 'a@b'",
    ),
    "a typo": (
        "{type: vending, slots: {tea: {count: 1, prize: '1'}}}",
        "50: backend.slots.tea.prize: unknown option (did you mean price?)",
    ),
}


@pytest.mark.parametrize(("text", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_an_invalid_slot_is_an_error_at_its_place(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert list(caught.value.problems) == [f"{path}:1:{problem}"]


def test_a_daemon_that_is_a_vending_machine(start: Start) -> None:
    daemon = start(f'listen: "127.0.0.1:0"{MACHINE}policy: [{{from: any, list: true}}]\n')
    assert daemon.ask(b"\r\n") == ITEMS.encode()
    assert daemon.ask(b"crisps\r\n") == daemon.ask(b"crisps\n")
    assert daemon.ask(b"\r\n") == ITEMS.encode()
