"""``type: chain``: several backends, asked in turn."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal

from fingerd.backends import Backend, Lookup
from fingerd.errors import BackendError, OptionError
from fingerd.people import Person
from fingerd.people.mapping import LOGIN

log = logging.getLogger(__name__)

NAMESAKES = 10  # found by a part of their names, of whom each member is asked once more
MERGED = 10_000  # people of a list; those after them are told by the first member that lists them


@dataclass(frozen=True)
class Chain(Backend):
    """The first of several backends that knows the user; with ``merge``, later ones fill what it does not know.

    A member that fails makes the whole chain fail, unless ``on_error`` is ``skip``.
    """

    backends: tuple[Backend, ...]
    on_error: Literal["fail", "skip"] = "fail"
    merge: bool = False

    def __post_init__(self) -> None:
        if not self.backends:
            raise OptionError("is empty: give at least one", "backends")

    @property
    def blocking(self) -> bool:
        """Whether a member may wait."""
        return any(backend.blocking for backend in self.backends)

    @property
    def repeatable_seconds(self) -> float:
        """As long as every member allows."""
        return min(backend.repeatable_seconds for backend in self.backends)

    @property
    def searches_names(self) -> bool:
        """Whether a member does."""
        return any(backend.searches_names for backend in self.backends)

    @property
    def depends_on_client(self) -> bool:
        """Whether a member does."""
        return any(backend.depends_on_client for backend in self.backends)

    @property
    def may_be_partial(self) -> bool:
        """Whether a member that fails is skipped, or a member's own answer may be partial."""
        return self.on_error == "skip" or any(backend.may_be_partial for backend in self.backends)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The people of the first member that knows any; where parts of full names count, of all, and nobody twice.

        Else somebody's name in one member would hide somebody's login in another.
        """
        if not lookup.by_name:
            return self._merged(lookup) if self.merge else self._first(lookup)
        people: list[Person] = []
        for backend in self.backends:
            _join(people, self._found(backend, lookup), self.merge)
        if self.merge and len(people) <= NAMESAKES:  # a member that knows no names may know the login
            exactly = (self._merged(replace(lookup, username=person.login, by_name=False)) for person in people)
            people = [known[0] if known else person for person, known in zip(people, exactly, strict=True)]
        return sorted(people, key=lambda person: person.login != lookup.username)

    def _first(self, lookup: Lookup) -> Sequence[Person]:
        for backend in self.backends:
            if people := self._found(backend, lookup):
                return people
        return ()

    def _merged(self, lookup: Lookup) -> Sequence[Person]:
        """The people of the first member that knows any, and what the others know of them.

        One login is one person, and so is the only one who has none in a
        member that gives no logins: nobody gets what is somebody else's. A
        text is the whole answer, and nobody else is asked then.
        """
        people: Sequence[Person] = ()
        is_named = True  # by whom they were found first
        for backend in self.backends:
            more = self._found(backend, lookup)
            names = _gives_logins(backend)
            if len(people) == len(more) == 1 and not (names and is_named):
                people = (people[0].merged_with(more[0]),)
            elif people:
                known = {person.login: person for person in more}
                people = tuple(person.merged_with(known.get(person.login, person)) for person in people)
            else:
                people, is_named = more, names
            if people and all(person.text is not None for person in people):
                break
        return people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """Everybody whom any member lists, and nobody twice; None where no member keeps a list."""
        lists = [people for backend in self.backends if (people := self._listed(backend, lookup)) is not None]
        if not lists:
            return None
        merged: list[Person] = []
        for people in lists if self.merge else ():
            _join(merged, islice(people, MERGED - len(merged)), True)
        return _each_once(chain(merged, *lists))

    def close(self) -> None:
        """Close every member."""
        for backend in self.backends:
            backend.close()

    def _found(self, backend: Backend, lookup: Lookup) -> Sequence[Person]:
        """Whom a member finds; nobody where it fails and is passed over."""
        try:
            return backend.find(lookup)
        except BackendError as error:
            self._pass_over(error)
            return ()

    def _listed(self, backend: Backend, lookup: Lookup) -> Iterator[Person] | None:
        """The list of a member; none where it fails and is passed over."""
        try:
            people = backend.list_users(lookup)
        except BackendError as error:
            self._pass_over(error)
            return None
        return None if people is None else self._passing_over(people)

    def _passing_over(self, people: Iterator[Person]) -> Iterator[Person]:
        """The people of a list, as far as it goes before it fails."""
        try:
            yield from people
        except BackendError as error:
            self._pass_over(error)

    def _pass_over(self, error: BackendError) -> None:
        if self.on_error == "fail":
            raise error
        log.warning("backend skipped: %s", error)


def _gives_logins(backend: Backend) -> bool:
    """Whether it tells people's logins; who makes people of fields may tell those of whoever is asked for only."""
    while inner := getattr(backend, "backend", None):
        backend = inner
    fields = getattr(backend, "fields", None)
    return not fields or LOGIN in fields


def _join(found: list[Person], more: Iterable[Person], merge: bool) -> None:
    """Add those whose login was not found before; with ``merge``, the others fill what is not known of these."""
    places = {person.login: place for place, person in enumerate(found) if person.login}
    for person in more:
        place = places.get(person.login)
        if place is None:
            if person.login:
                places[person.login] = len(found)
            found.append(person)
        elif merge:
            found[place] = found[place].merged_with(person)


def _each_once(people: Iterable[Person]) -> Iterator[Person]:
    told: set[str] = set()
    for person in people:
        if not person.login or person.login not in told:
            told.add(person.login)
            yield person
