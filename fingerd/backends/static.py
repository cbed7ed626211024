"""``type: static``: users in the configuration."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.config.file_time import FILE_TIME
from fingerd.errors import OptionError
from fingerd.net.own_names import is_host_name, is_own_name
from fingerd.people import MAX_MATCHES, Person, Record
from fingerd.people.name_index import NameIndex
from fingerd.protocol.query import is_queryable
from fingerd.text import to_nfc


@dataclass(frozen=True)
class Static(Backend):
    """Users in the configuration, each with a text, which is the answer, or with a record."""

    blocking: ClassVar[bool] = False
    repeatable_seconds: ClassVar[float] = math.inf
    searches_names: ClassVar[bool] = True

    users: Mapping[str, str | Record]
    changed: float | None = field(default=None, compare=False, metadata=FILE_TIME)  # of their plans, too

    def __post_init__(self) -> None:
        self._check_logins(is_host_name)  # so that _people is built now, not by the first query
        _ = self._by_name

    def check_logins(self, hosts: Container[str]) -> None:
        """Raise OptionError for a user whose login ends in ``@`` and a host that is none of ``hosts``."""
        self._check_logins(partial(is_own_name, names=hosts))

    def _check_logins(self, is_own_host: Callable[[str], bool]) -> None:
        for name in self._people:
            if not is_queryable(name, is_own_host):
                raise OptionError(f"no query can ask for a user called {name!r}", "users", name)

    @cached_property
    def _people(self) -> Mapping[str, tuple[Person]]:
        return {name: (_person(name, user, self.changed),) for name, user in self.users.items()}

    @cached_property
    def _by_name(self) -> NameIndex[Person]:
        return NameIndex((person.name, person) for (person,) in self._people.values())

    @property
    def people_count(self) -> int:
        return len(self._people)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The user with this login; if the lookup is ``by_name``, then those whose full name matches."""
        login = to_nfc(lookup.username)
        found = self._people.get(login, ())
        if not lookup.by_name:
            return found
        others = (person for person in self._by_name.find(lookup.username) if person.login != login)
        return (*found, *islice(others, MAX_MATCHES))

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """All users, in the order of the configuration."""
        return (person for (person,) in self._people.values())


def _person(login: str, user: str | Record, changed: float | None) -> Person:
    if isinstance(user, Record):
        return Person.from_record(login, user, changed if user.plan else None)
    return Person(login, user.removesuffix("\n") + "\n")  # a final newline here saves copying the text for each answer
