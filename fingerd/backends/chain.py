"""``type: chain``: several backends, asked in turn."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal

from fingerd.backends import Backend, Composite, Lookup
from fingerd.errors import BackendError, OptionError
from fingerd.people import Person
from fingerd.people.mapping import LOGIN
from fingerd.text import is_same_name, to_nfc

log = logging.getLogger(__name__)

MAX_ASKED_AGAIN = 10  # people found by name for whose logins all members are asked again
MAX_MERGED = 10_000  # people of a list; those after them are listed as the first member has them


@dataclass(frozen=True)
class Chain(Composite):
    """The first of several backends that knows the user; with ``merge``, later ones add what it does not know.

    If a member fails, the chain fails, unless ``on_error`` is ``skip``.
    """

    backends: tuple[Backend, ...]
    on_error: Literal["fail", "skip"] = "fail"
    merge: bool = False

    def __post_init__(self) -> None:
        if not self.backends:
            raise OptionError("is empty: give at least one", "backends")

    @property
    def members(self) -> Sequence[Backend]:
        return self.backends

    @property
    def may_be_partial(self) -> bool:
        """Whether failing members are skipped, or an answer of a member may be partial."""
        return self.on_error == "skip" or super().may_be_partial

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The people of the first member that finds any; with ``by_name`` those of all members, each login once."""
        if not lookup.by_name:  # a full name in one member must not hide a login in another
            if self.merge:
                return self._merged(lookup)
            return next(filter(None, (self._find(backend, lookup) for backend in self.backends)), ())
        people: list[Person] = []
        for backend in self.backends:
            _merge_into(people, self._find(backend, lookup), self.merge)
        if self.merge and len(people) <= MAX_ASKED_AGAIN:  # a member that does not search names may know the login
            by_login = (self._merged(replace(lookup, username=person.login, by_name=False)) for person in people)
            people = [known[0] if known else person for person, known in zip(people, by_login, strict=True)]
        return sorted(people, key=lambda person: not is_same_name(person.login, lookup.username))

    def _merged(self, lookup: Lookup) -> Sequence[Person]:
        """The people of the first member that finds any, merged with what the others know about them.

        Records are merged by login, so that no one gets the atoms of another person. A member without logins can only
        mean the username: its record is merged if it is the only one. No member is asked after a text.
        """
        people: Sequence[Person] = ()
        have_logins = True  # whether the member that found them returns logins
        for backend in self.backends:
            more = self._find(backend, lookup)
            returns_logins = _returns_logins(backend)
            if len(people) == len(more) == 1 and not (returns_logins and have_logins):
                people = (people[0].merged_with(more[0]),)
            elif people:
                known = {to_nfc(person.login): person for person in more}
                people = tuple(person.merged_with(known.get(to_nfc(person.login), person)) for person in people)
            else:
                people, have_logins = more, returns_logins
            if people and all(person.text is not None for person in people):
                break
        return people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The people of all lists, each login once; None if no member has a list."""
        lists = [people for backend in self.backends if (people := self._list_users(backend, lookup)) is not None]
        if not lists:
            return None
        merged: list[Person] = []
        for people in lists if self.merge else ():
            _merge_into(merged, islice(people, MAX_MERGED - len(merged)), True)
        return _unique(chain(merged, *lists))

    def _find(self, backend: Backend, lookup: Lookup) -> Sequence[Person]:
        """The people that a member finds; empty if it fails and is skipped."""
        try:
            return backend.find(lookup)
        except BackendError as error:
            self._skip(error)
            return ()

    def _list_users(self, backend: Backend, lookup: Lookup) -> Iterator[Person] | None:
        """The list of a member; None if it has none, or fails and is skipped."""
        try:
            people = backend.list_users(lookup)
        except BackendError as error:
            self._skip(error)
            return None
        return None if people is None else self._until_failure(people)

    def _until_failure(self, people: Iterator[Person]) -> Iterator[Person]:
        """The people of a list; it ends early if the member fails and is skipped."""
        try:
            yield from people
        except BackendError as error:
            self._skip(error)

    def _skip(self, error: BackendError) -> None:
        """Log the failure of a member; or raise it, unless failing members are skipped."""
        if self.on_error == "fail":
            raise error
        log.warning("backend skipped: %s", error)


def _returns_logins(backend: Backend) -> bool:
    """Whether its people have logins of their own; without a field for it, the login is the username of the lookup."""
    while inner := getattr(backend, "backend", None):
        backend = inner
    fields = getattr(backend, "fields", None)
    return not fields or LOGIN in fields


def _merge_into(found: list[Person], more: Iterable[Person], merge: bool) -> None:
    """Append the people with new logins to ``found``; with ``merge``, add what the others know to those found."""
    indexes = {to_nfc(person.login): index for index, person in enumerate(found) if person.login}
    for person in more:
        index = indexes.get(to_nfc(person.login))
        if index is None:
            if person.login:
                indexes[to_nfc(person.login)] = len(found)
            found.append(person)
        elif merge:
            found[index] = found[index].merged_with(person)


def _unique(people: Iterable[Person]) -> Iterator[Person]:
    """Each login once, its first person; people without a login are texts, and all pass."""
    seen: set[str] = set()
    for person in people:
        login = to_nfc(person.login)
        if not login or login not in seen:
            seen.add(login)
            yield person
