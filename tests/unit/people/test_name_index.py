"""The index of full names: it finds exactly the people that Person.matches_name matches, whatever the names are."""

import string
from collections.abc import Sequence
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fingerd.people import Person
from fingerd.people.name_index import NameIndex
from tests.helpers.calls import count_calls

# Words that differ in case only, also where case folding changes their length, and those that look as if they did.
WORDS = (
    "ann",
    "ANN",
    "groß",
    "GROSS",
    "\u017f",
    "s",
    "İ",
    "i\u0307",
    "\u0131",
    "I",
    "ǆ",
    "ǅ",
    "Σ",
    "ς",
    "é",
    "e\u0301",
    "J.",
)
SPACES = (" ", ",", ", ", "\t", "\n", "\u00a0", "\u3000", "\x1c", "\u2028", "")
NAMES = st.one_of(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)), max_size=4).map(
        lambda pairs: "".join(word + space for word, space in pairs)
    ),
    st.text(max_size=8),
)


def index(names: Sequence[str]) -> NameIndex[int]:
    return NameIndex((name, number) for number, name in enumerate(names))


@given(st.lists(NAMES, max_size=8), NAMES)
@example(["Ann", "", ",", "Ann Ann"], "")
@example(["Ann", "", ","], ",")
@example(["Ann Example", "Ann"], "ann ANN, example")
@example(["İ"], "i\u0307")
@example(["Groß, Jürgen"], "jürgen GROSS")
def test_it_finds_whom_matches_name_matches_in_their_order(names: list[str], query: str) -> None:
    assert list(index(names).find(query)) == [
        number for number, name in enumerate(names) if Person("x", name=name).matches_name(query)
    ]


def test_it_is_empty_without_names() -> None:
    assert list(index([]).find("ann")) == []
    assert list(index(["", " "]).find("ann")) == []


def cost(found: NameIndex[int], query: str) -> int:
    """How many functions are called to find the first ten people."""
    return count_calls(lambda: list(islice(found.find(query), 10)))


QUERIES = {
    "one person": "only7",
    "a word that everybody has": "anna",
    "a word that everybody has, and one person": "only7 anna",
    "an unknown word": "anna zoe",
    "as many words as a query may have": " ".join(f"{a}{b}" for a in string.ascii_lowercase for b in "abcdefghijklm"),
    "the same word again and again": "anna " * 200,
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_search_costs_as_much_among_many_people_as_among_few(query: str) -> None:
    few, many = (index([f"Anna Only{number}" for number in range(people)]) for people in (16, 4096))
    assert cost(many, query) <= cost(few, query) + 2
    assert cost(many, query) < 40


def test_a_search_for_several_words_costs_as_much_as_the_rarest_has_people() -> None:
    names = [*(f"Anna Maria Only{number}" for number in range(4096)), *("Anna Zoe",) * 8]
    assert list(index(names).find("zoe anna")) == list(range(4096, 4104))
    assert list(index(names).find("maria anna zoe")) == []
    assert cost(index(names), "maria anna zoe") < 120
