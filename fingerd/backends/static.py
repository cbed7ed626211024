"""``type: static``: people who are written in the configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fingerd.backends import Ask, Backend
from fingerd.errors import QueryError
from fingerd.people import Person
from fingerd.protocol import Query, parse_query


@dataclass(frozen=True)
class Static(Backend):
    """Users in the configuration, each with the text that is told of them."""

    instant: ClassVar[bool] = True
    constant: ClassVar[bool] = True

    users: Mapping[str, str]
    _people: Mapping[str, tuple[Person]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in self.users:
            if not _can_be_asked(name):
                raise ValueError(f"no query can ask for a user called {name!r}")
        # A line end now saves making a new text of it for every answer.
        people = {name: (Person(name, text.removesuffix("\n") + "\n"),) for name, text in self.users.items()}
        object.__setattr__(self, "_people", people)

    def find(self, ask: Ask) -> Sequence[Person]:
        """The user of exactly this name."""
        return self._people.get(ask.username, ())

    def listed(self, ask: Ask) -> Iterator[Person]:
        """All users, in the order of the configuration."""
        return (person for (person,) in self._people.values())


def _can_be_asked(name: str) -> bool:
    try:
        return bool(name) and parse_query(Query(name).encode()) == Query(name)
    except (QueryError, UnicodeEncodeError):
        return False
