"""Whom a request means, under a rule: as for Finger, but that nothing is forwarded. BackendError passes through."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from itertools import islice

from fingerd.errors import BackendError
from fingerd.http.masking import uncolored
from fingerd.http.request import HttpError
from fingerd.http.webfinger import Account
from fingerd.people import Person
from fingerd.protocol.query import Query
from fingerd.protocol.reply import SERVICE_BUSY
from fingerd.ruip.disclosure import Disclosed
from fingerd.ruip.policy import Rule
from fingerd.ruip.report import LIST_ATOMS
from fingerd.ruip.ruip import AnswerContext, Ruip
from fingerd.text import is_same_name

FEED_PEOPLE = 2000  # who are looked up for one feed, at most
FEED_FRACTION = 0.5  # of the time that is left: after it, a feed has the plans that were found


class People:
    """The people that one RUIP may show; without colors, which ``has_colors`` lets pass to terminals."""

    def __init__(self, ruip: Ruip, has_colors: bool) -> None:
        self._ruip = ruip
        self._has_colors = has_colors
        self._disclosure = ruip.disclosure

    def find(self, query: Query, rule: Rule, context: AnswerContext) -> Disclosed:
        """Whom a query means."""
        disclosure, ruip = self._disclosure, self._ruip
        rest = ruip.without_own_hosts(query)
        for login in ruip.logins(query, rest) if query.hosts else ():
            found = disclosure.find_login(ruip.lookup_of(_full(login), context), rule)
            if found.outcome != "unknown":
                return found._replace(people=list(self._plain(found.people)))
        if rest.hosts or rest.is_list:
            return Disclosed("unknown")
        founds = list(disclosure.find_each(ruip.lookup_of(_full(rest), context), rule))
        people = [person for found in founds for person in found.people]
        return Disclosed("answered", list(self._plain(people))) if people else founds[0]

    def listed(self, rule: Rule, context: AnswerContext) -> Iterator[Person] | None:
        """The people of the list, with the atoms that it shows; None where no list is kept."""
        people = self._disclosure.list_users(self._ruip.lookup_of(Query(), context), rule, LIST_ATOMS)
        return None if people is None else self._plain(people)

    def with_plans(self, rule: Rule, context: AnswerContext) -> Iterator[Person] | None:
        """The people of the list with all their atoms, as far as there is time; None where no list is kept."""
        now = time.monotonic()
        end = now + FEED_FRACTION * (context.deadline - now)
        lookup = replace(self._ruip.lookup_of(Query(), context), deadline=end)
        people = self._disclosure.find_listed(lookup, rule)
        if people is None:
            return None
        return self._plain(_until(end, islice(people, FEED_PEOPLE))) if "plan" in rule.atoms else iter(())

    def _plain(self, people: Iterable[Person]) -> Iterator[Person]:
        return map(uncolored, people) if self._has_colors else iter(people)

    def of_account(self, account: Account, rule: Rule, context: AnswerContext) -> Person | None:
        """The person whose login is exactly that of an account; as for Finger, the login may be the whole of it."""
        whole = Query(account.name, (account.domain,))
        for query in (*self._ruip.logins(whole, self._ruip.without_own_hosts(whole)), Query(account.name)):
            found = self._disclosure.find_login(self._ruip.lookup_of(_full(query), context), rule)
            if found.people:
                return next((person for person in found.people if is_same_name(person.login, query.username)), None)
        return None


def _full(query: Query) -> Query:
    """The query for all atoms: a form of HTTP leaves none out for length."""
    return Query(query.username, query.hosts, True)


def _until(end: float, people: Iterator[Person]) -> Iterator[Person]:
    """The people that come before this ``time.monotonic()``; HttpError (503) if not even one does."""
    found = 0
    try:
        for person in people:
            yield person
            found += 1
            if time.monotonic() >= end:
                break
    except BackendError:
        if time.monotonic() < end:
            raise
        if not found:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_BUSY, "busy") from None
