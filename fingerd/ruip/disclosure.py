"""Which people, and which of their atoms, a client may see (RFC 1288 3.2.3). It is decided here and nowhere else."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from fingerd.backends import Backend, Lookup
from fingerd.net.own_names import is_own_name
from fingerd.people import Person
from fingerd.protocol.query import WHITESPACE, is_queryable
from fingerd.ruip.measured import measured
from fingerd.ruip.policy import Rule
from fingerd.text import to_nfc

_SPACES = re.compile(f"[{WHITESPACE}]+")

Shown = tuple[str, str | None]  # the login, in NFC, and the text of a person who is shown already


class Disclosed(NamedTuple):
    """The log's word for the outcome, and the people with the atoms that may be shown.

    The outcome is ``answered``, ``unknown``, ``refused`` if the name is ambiguous, or ``malformed`` if there are too
    many names.
    """

    outcome: str
    people: Sequence[Person] = ()


class Disclosure:
    """Asks one backend on behalf of clients, each under the rule that holds for it. BackendError passes through.

    A person whose ``text`` is laid out already is passed on as it is.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = measured(backend)

    def find(self, lookup: Lookup, rule: Rule, shown: set[Shown] | None = None) -> Disclosed:
        """Everyone whom one name may mean: {U} (RFC 1288 2.5.2, 2.5.3).

        Without those in ``shown``, to which the others are added: in one answer a person is shown once.
        """
        searches = self.may_search(rule)
        people = self._backend.find(replace(lookup, by_name=True) if searches and rule.match == "name" else lookup)
        if not people and searches and rule.match == "unique":  # a login, or an alias, is never ambiguous
            people = self._backend.find(replace(lookup, by_name=True))
            if len(people) > 1:
                return Disclosed("refused", people=())
        if not people:
            return Disclosed("unknown")
        if shown is not None:
            people = [person for person in people if not person.login or _identity(person) not in shown]
            shown.update(map(_identity, people))
        return Disclosed("answered", self._redacted(people, rule))

    def find_each(self, lookup: Lookup, rule: Rule) -> Iterator[Disclosed]:
        """Everyone whom a username may mean, by its names where the rule allows several; each person once."""
        if rule.users_per_query == 1:
            yield self.find(lookup, rule)
            return
        names = split_users(lookup.username)
        if len(names) > 1 and rule.match == "name" and self.may_search(rule):  # they may be one full name
            found = self.find(replace(lookup, username=" ".join(names)), rule)
            if found.outcome == "answered":
                yield found
                return
        if len(names) > rule.users_per_query:
            yield Disclosed("malformed")
            return
        shown: set[Shown] = set()
        for name in dict.fromkeys(names):
            found = self.find(replace(lookup, username=name), rule, shown)
            if found.people or found.outcome != "answered":  # else everyone is shown for an earlier name
                yield found

    def find_login(self, lookup: Lookup, rule: Rule) -> Disclosed:
        """The person with exactly this login, or alias, whatever ``match`` says."""
        people = self._backend.find(lookup)
        return Disclosed("answered", self._redacted(people, rule)) if people else Disclosed("unknown")

    def list_users(self, lookup: Lookup, rule: Rule, atoms: frozenset[str]) -> Iterator[Person] | None:
        """The people of {C} one by one, with those of ``atoms`` that may be shown; None where no list is kept."""
        people = self._backend.list_users(lookup)
        if people is None:
            return None
        shown = rule.atoms & atoms
        return (person.redacted_to(shown) if person.login else person for person in people)

    def find_listed(self, lookup: Lookup, rule: Rule) -> Iterator[Person] | None:
        """The people of {C} one by one, each with all atoms that may be shown; None where no list is kept.

        Each is looked up by login, whether that may be shown or not; whom no query can ask for is left out.
        """
        people = self._backend.list_users(lookup)
        return None if people is None else self._find_each_login(people, lookup, rule)

    def _find_each_login(self, people: Iterator[Person], lookup: Lookup, rule: Rule) -> Iterator[Person]:
        is_own_host = partial(is_own_name, names=lookup.hosts)
        logins: set[str] = set()
        for login in filter(None, (person.login for person in people)):
            if login not in logins and is_queryable(login, is_own_host):
                logins.add(login)
                yield from self.find_login(replace(lookup, username=login), rule).people[:1]

    def _redacted(self, people: Iterable[Person], rule: Rule) -> Sequence[Person]:
        if "login" in rule.atoms:
            return [person if person.text is not None else person.redacted_to(rule.atoms) for person in people]
        return [person.redacted_to(rule.atoms) if person.text is None else Person("", person.text) for person in people]

    def may_search(self, rule: Rule) -> bool:
        """Whether parts of full names count: a client that is not shown these must not be able to guess them either."""
        return rule.match != "login" and self._backend.searches_names and "name" in rule.atoms


def _identity(person: Person) -> Shown:
    return to_nfc(person.login), person.text


def split_users(username: str) -> list[str]:
    """The names in a query, where a rule allows several."""
    return _SPACES.split(username)
