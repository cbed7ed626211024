"""``type: static``: people who are written in the configuration."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.errors import OptionError
from fingerd.people import Person, Record
from fingerd.protocol.query import is_queryable


@dataclass(frozen=True)
class Static(Backend):
    """Users in the configuration, each with the text that is told of them, or with a record."""

    blocking: ClassVar[bool] = False
    repeatable_seconds: ClassVar[float] = math.inf
    searches_names: ClassVar[bool] = True

    users: Mapping[str, str | Record]
    _people: Mapping[str, tuple[Person]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in self.users:
            if not is_queryable(name):
                raise OptionError(f"no query can ask for a user called {name!r}", "users", name)
        object.__setattr__(self, "_people", {name: (_person(name, user),) for name, user in self.users.items()})

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The user of exactly this name, and those whose full name it is a part of where that counts."""
        found = self._people.get(lookup.username, ())
        if not lookup.by_name:
            return found
        others = (person for (person,) in self._people.values() if person.matches_name(lookup.username))
        return (*found, *(person for person in others if person not in found))

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """All users, in the order of the configuration."""
        return (person for (person,) in self._people.values())


def _person(login: str, user: str | Record) -> Person:
    if isinstance(user, Record):
        return Person.from_record(login, user)
    return Person(login, user.removesuffix("\n") + "\n")  # a line end now saves a new text for every answer
