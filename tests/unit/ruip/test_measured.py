"""A measured backend answers as the one that it measures, and each look-up is noted once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from fingerd.backends import Backend, Lookup, type_name
from fingerd.backends.cache import Cache
from fingerd.backends.static import Static
from fingerd.errors import BackendError
from fingerd.figures import FIGURES
from fingerd.people import Person
from fingerd.ruip.measured import measured

BOB = Person("bob", "Fine")
LOOKUP = Lookup("bob", False, "192.0.2.7", 1e9)


@dataclass(frozen=True)
class Source(Backend):
    """Finds and lists these people; then it raises its error, if it has one."""

    people: tuple[Person, ...] = ()
    error: BaseException | None = None
    has_list: bool = True

    def find(self, lookup: Lookup) -> Sequence[Person]:
        if self.error:
            raise self.error
        return self.people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        return self._each() if self.has_list else None

    def _each(self) -> Iterator[Person]:
        yield from self.people
        if self.error:
            raise self.error


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    """What is noted here is kept, and nothing of it later."""
    FIGURES.are_counted = True
    yield
    FIGURES.are_counted = False
    FIGURES.noted.clear()


def noted() -> list[tuple[str, str, str]]:
    """What was noted since the last time, without the seconds, which are never negative."""
    found = list(FIGURES.noted)
    FIGURES.noted.clear()
    assert all(0 <= seconds < 60 for *_, seconds in found)
    return [figure[:3] for figure in found]


def test_people_that_are_found_and_not() -> None:
    assert measured(Source((BOB,))).find(LOOKUP) == (BOB,)
    assert noted() == [("lookup", "found", "source")]
    assert measured(Source()).find(LOOKUP) == ()
    assert noted() == [("lookup", "unknown", "source")]


@pytest.mark.parametrize("error", [BackendError("down"), ValueError("a bug"), SystemExit(1)])
def test_errors_pass(error: BaseException) -> None:
    with pytest.raises(type(error)):
        measured(Source(error=error)).find(LOOKUP)
    assert noted() == [("lookup", "error", "source")]
    people = measured(Source((BOB,), error)).list_users(LOOKUP)
    assert people
    assert next(people) == BOB
    assert noted() == []
    with pytest.raises(type(error)):
        next(people)
    assert noted() == [("lookup", "error", "source")]


def test_a_list_is_noted_when_it_ends_or_is_left() -> None:
    people = measured(Source((BOB, BOB))).list_users(LOOKUP)
    assert people
    assert list(people) == [BOB, BOB]
    assert noted() == [("lookup", "found", "source")]
    people = measured(Source((BOB, BOB))).list_users(LOOKUP)
    assert people
    assert next(people) == BOB
    del people
    assert noted() == [("lookup", "found", "source")]
    assert measured(Source(has_list=False)).list_users(LOOKUP) is None
    assert noted() == [("lookup", "unknown", "source")]


def test_without_counting_the_backend_is_asked_directly() -> None:
    FIGURES.are_counted = False
    source = Source((BOB,))
    assert measured(source) is source


def test_types_have_the_names_that_the_configuration_has() -> None:
    assert (type_name(Static), type_name(Cache), type_name(Source)) == ("static", "cache", "source")
