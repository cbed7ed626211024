"""Searches by full name in the backends that answer on the event loop's thread: whom they find, and what that costs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fingerd.backends import Backend
from fingerd.backends.aliases import Aliases
from fingerd.backends.cache import Cache
from fingerd.backends.chain import Chain
from fingerd.backends.scenario import Scenario
from fingerd.backends.static import Static
from fingerd.people import MAX_MATCHES, Record
from fingerd.testing import make_lookup
from tests.helpers.calls import count_calls

FEW, MANY = 150, 2000  # people; each of them is called Anna, and has a name and an office of their own


def static(people: int, _: Path) -> Backend:
    return Static({f"user{number}": Record(name=f"Anna Only{number}") for number in range(people)})


def scenario(people: int, folder: Path) -> Backend:
    tables = (
        f'[["-1s"]]\ntype = "create"\nlogin = "user{number}"\nname = "Anna Only{number}"\n' for number in range(people)
    )
    (folder / "story.toml").write_text("".join(tables))
    return Scenario(str(folder / "story.toml"))


BACKENDS: dict[str, Callable[[int, Path], Backend]] = {
    "static": static,
    "scenario": scenario,
    "aliases": lambda people, folder: Aliases(
        static(people, folder), {f"alias{number}": (f"user{number}",) for number in range(people)}
    ),
    "chain": lambda people, folder: Chain((static(people, folder), scenario(people, folder))),
    "merging chain": lambda people, folder: Chain((static(people, folder), scenario(people, folder)), merge=True),
    "cache": lambda people, folder: Cache(static(people, folder), seconds=0, unknown_seconds=0),
}
QUERIES = {
    "one person": ("only7", ["user7"]),
    "one person by two words": ("ONLY7 anna", ["user7"]),
    "a login": ("user7", ["user7"]),
    "everybody": ("anna", [f"user{number}" for number in range(MAX_MATCHES)]),
    "an unknown word": ("anna zoe", []),
    "500 words": (" ".join(f"x{number}" for number in range(500)), []),
    "two people": ("only7 only8", []),
}


@pytest.mark.parametrize(("query", "logins"), QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("make", BACKENDS.values(), ids=BACKENDS)
def test_a_search_by_name_costs_as_much_among_many_people_as_among_few(
    make: Callable[[int, Path], Backend], query: str, logins: list[str], tmp_path: Path
) -> None:
    lookup = make_lookup(query, by_name=True)
    few, many = (make(people, tmp_path) for people in (FEW, MANY))
    assert not many.blocking
    for backend in few, many:
        assert [person.login for person in backend.find(lookup)] == logins
    assert (
        count_calls(partial(many.find, lookup)) < count_calls(partial(few.find, lookup)) * 1.2
    )  # a timeline is bisected
