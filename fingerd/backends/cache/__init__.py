"""``type: cache``: what another backend has answered is remembered, and told again while that one fails.

One look-up of a name is under way at a time, however many ask: its leader
looks up, and the others wait for what it finds, each until a deadline of its
own. What it finds is everybody's; so is its failure, unless only its own time
was over.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from fingerd.backends import Backend, Lookup
from fingerd.backends.cache.answer_store import ANSWER_BYTES, Kept, Key, People, Remembered, weight_of
from fingerd.config.values import Integer, Seconds
from fingerd.errors import BackendError
from fingerd.people import Person

log = logging.getLogger(__name__)

SHARE = 0.9  # of the time for an answer that a look-up has, where there is an old answer to be told after it

LookUp = Callable[[Lookup], People | None]


class _Flight:
    """One look-up that is under way, and what came of it."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.done = threading.Event()
        self.kept: Kept | None = None
        self.cause = ""  # of a failure; nothing where the leader's time was over, which says nothing to the others


@dataclass(frozen=True)
class Cache(Backend):
    """Remembers another backend's answers, and tells old ones while that backend fails.

    All clients share the answers, so that backend may not make them depend on
    who asks.
    """

    backend: Backend
    seconds: Annotated[float, Seconds()] = 60
    stale_seconds: Annotated[float, Seconds()] = 3600  # after these
    unknown_seconds: Annotated[float, Seconds()] = 10  # that nobody has a name: short, since people come
    entries: Annotated[int, Integer(1)] = (
        10_000  # of 4 KiB each, and half as many for nobodies and failures: 60 MiB at most
    )
    _remembered: Remembered = field(init=False, repr=False, compare=False)
    _flights: dict[Key, _Flight] = field(init=False, repr=False, compare=False, default_factory=dict)
    _lock: threading.Lock = field(init=False, repr=False, compare=False, default_factory=threading.Lock)  # of both

    def __post_init__(self) -> None:
        object.__setattr__(self, "_remembered", Remembered(self.entries))

    @property
    def blocking(self) -> bool:
        """Whether the other backend may wait."""
        return self.backend.blocking

    @property
    def repeatable_seconds(self) -> float:
        """As long as the other backend allows, and at least one second: all clients share what is remembered."""
        return max(self.backend.repeatable_seconds, min(self.seconds, 1.0))

    @property
    def searches_names(self) -> bool:
        """Whether the other backend does."""
        return self.backend.searches_names

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Whom the other backend has found, now or a while ago; BackendError where it fails, and nothing is known."""
        return self._answer((lookup.username, lookup.verbose, lookup.by_name), lookup, self._find) or ()

    def at_once(self, lookup: Lookup) -> Sequence[Person] | None:
        """The same, without a look-up; None where that needs one."""
        with self._lock:
            kept = self._remembered.good((lookup.username, lookup.verbose, lookup.by_name), time.monotonic())
        return kept and kept.people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The list of now or of a while ago; one that is too long to be remembered is passed through."""
        people = self._answer(("", lookup.verbose, False), lookup, self._collect)
        return self.backend.list_users(lookup) if people is None else iter(people)

    def close(self) -> None:
        """Close the other backend."""
        self.backend.close()

    def warnings(self) -> Iterator[str]:
        """What below it would be remembered as what it is not."""
        if self.backend.may_be_partial:
            yield (
                "what a chain with on_error: skip finds without a member that fails is remembered in the place of"
                " what all have known: put a cache around each member instead"
            )
        if self.backend.depends_on_client:
            yield "a command in it is told who asks, but what it says is remembered for everybody"

    def _find(self, lookup: Lookup) -> People:
        return tuple(self.backend.find(lookup))

    def _collect(self, lookup: Lookup) -> People | None:
        """The list, if there is one, and it can be kept."""
        people = self.backend.list_users(lookup)
        if people is None:
            return None
        collected: list[Person] = []
        room = ANSWER_BYTES
        for person in people:
            room -= weight_of(person)
            if room < 0:
                return None
            collected.append(person)
        return tuple(collected)

    def _answer(self, key: Key, lookup: Lookup, look_up: LookUp) -> People | None:
        """What is remembered, or what a look-up finds, by this thread or by another one."""
        while (now := time.monotonic()) < lookup.deadline:
            with self._lock:
                if good := self._remembered.good(key, now):
                    return good.people
                old = self._remembered.old(key, now)
                if not old and (cause := self._remembered.failure(key, now)):
                    raise BackendError(cause)
                until = now + (lookup.deadline - now) * SHARE if old else lookup.deadline
                flight = self._flights.get(key)
                if leads := flight is None:
                    flight = self._flights[key] = _Flight(until)
                    if old:
                        self._remembered.begin(until)
            if leads:
                return self._lead(flight, key, replace(lookup, deadline=until), look_up, old)
            # Who has an old answer does not wait for a leader whose time is over.
            patience = min(until, flight.until if old else until) - now
            flight.done.wait(min(patience, threading.TIMEOUT_MAX))
            if flight.kept:
                return flight.kept.people
            if old:
                return old.people
            if flight.cause:
                raise BackendError(flight.cause)
        raise BackendError("cache: a look-up for another query took all the time")

    def _lead(self, flight: _Flight, key: Key, lookup: Lookup, look_up: LookUp, old: Kept | None) -> People | None:
        """Look up, for all who wait for this flight."""
        try:
            people = look_up(lookup)
            now = time.monotonic()
            fresh = now + (self.unknown_seconds if people == () else self.seconds)
            flight.kept = Kept(people, fresh, fresh + self.stale_seconds)
            with self._lock:
                self._remembered.keep(key, flight.kept)
            return people
        except BackendError as error:
            now = time.monotonic()
            flight.cause = str(error) if now < flight.until else ""  # others may have more time
            with self._lock:
                self._remembered.fail(key, flight.cause, now)
            if old is None:
                raise
            log.warning("backend failed, and an old answer is told: %s", error)
            return old.people
        finally:
            with self._lock:
                del self._flights[key]
            flight.done.set()
