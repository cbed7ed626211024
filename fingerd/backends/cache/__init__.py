"""``type: cache``: caches the answers of another backend, and serves stale ones while it fails."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Composite, Lookup
from fingerd.backends.cache.answer_store import MAX_ANSWER_BYTES, AnswerStore, CachedAnswer, Key, People, person_bytes
from fingerd.backends.cache.single_flight import SingleFlight
from fingerd.config.values import Integer, Seconds
from fingerd.errors import BackendError
from fingerd.figures import FIGURES
from fingerd.people import Person
from fingerd.text import to_nfc

log = logging.getLogger(__name__)

LOOKUP_FRACTION = 0.9  # of the remaining time for a look-up that has a stale answer, so that this can still be sent

Fetch = Callable[[Lookup], People | None]


@dataclass(frozen=True)
class Cache(Composite):
    """Caches the answers of another backend, and serves stale ones while it fails.

    All clients share the answers, so they must not depend on the client.
    """

    depends_on_client: ClassVar[bool] = False  # these two are its own warnings, not those of a cache around it
    may_be_partial: ClassVar[bool] = False

    backend: Backend
    seconds: Annotated[float, Seconds()] = 60  # for which an answer is fresh
    stale_seconds: Annotated[float, Seconds()] = 3600  # after that
    unknown_seconds: Annotated[float, Seconds()] = 10  # as `seconds`, for an unknown name: short, since users are added
    entries: Annotated[int, Integer(1)] = 10_000  # of 4 KiB each; half as many for unknown names and failures: 60 MiB
    _flights: SingleFlight[CachedAnswer] = field(init=False, repr=False, compare=False, default_factory=SingleFlight)
    _lock: threading.Lock = field(init=False, repr=False, compare=False, default_factory=threading.Lock)  # of _answers

    def __post_init__(self) -> None:
        _ = self._answers  # made now, before there are threads

    @cached_property
    def _answers(self) -> AnswerStore:
        return AnswerStore(self.entries)

    @property
    def members(self) -> Sequence[Backend]:
        return (self.backend,)

    @property
    def repeatable_seconds(self) -> float:
        """As long as the other backend allows, and at least one second: all clients share the cache anyway."""
        return max(self.backend.repeatable_seconds, min(self.seconds, 1.0))

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The cached people, else the other backend's; BackendError if that fails, and none are cached."""
        key = (to_nfc(lookup.username), lookup.verbose, lookup.by_name)
        return self._answer(key, lookup, lambda lookup: tuple(self.backend.find(lookup))) or ()

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The cached list, else the other backend's; one that is too long to be cached is passed through."""
        people = self._answer(("", lookup.verbose, False), lookup, self._collect)
        return self.backend.list_users(lookup) if people is None else iter(people)

    def warnings(self) -> Iterator[str]:
        """A message if the answers of the other backend should not be cached."""
        if self.backend.may_be_partial:
            yield (
                "caches incomplete answers, which a chain with on_error: skip gives while a member fails:"
                " put a cache around each member instead"
            )
        if self.backend.depends_on_client:
            yield "the answers of a command in it depend on the client, but are cached for all clients"

    def _collect(self, lookup: Lookup) -> People | None:
        """The whole list; None if there is none, or it is too long to be cached."""
        people = self.backend.list_users(lookup)
        if people is None:
            return None
        collected: list[Person] = []
        remaining = MAX_ANSWER_BYTES
        for person in people:
            remaining -= person_bytes(person)
            if remaining < 0:
                return None
            collected.append(person)
        return tuple(collected)

    def _answer(self, key: Key, lookup: Lookup, fetch: Fetch) -> People | None:
        """The cached answer; else that of a look-up, by this thread or another one; else a stale one."""
        result = "error"
        try:
            people, result = self._answer_and_result(key, lookup, fetch)
            return people
        finally:
            FIGURES.note("cache", result)

    def _answer_and_result(self, key: Key, lookup: Lookup, fetch: Fetch) -> tuple[People | None, str]:
        """The answer, and whether it is a ``hit``, a ``miss`` or ``stale``; BackendError if there is none."""
        now = time.monotonic()
        if cached := self._fresh_enough(key):
            return cached.people, "hit" if now < cached.fresh_until else "stale"
        with self._lock:
            stale = self._answers.stale(key, now)
        if stale:
            lookup = replace(lookup, deadline=now + (lookup.deadline - now) * LOOKUP_FRACTION)
        refresh = partial(self._refresh, key, lookup, fetch, stale)
        try:
            return self._flights.do(key, lookup.deadline, refresh, has_fallback=stale is not None).people, "miss"
        except BackendError:
            if stale is None:
                raise
            return stale.people, "stale"

    def _fresh_enough(self, key: Key) -> CachedAnswer | None:
        """The answer to give without a look-up; BackendError if there is none, and a look-up has just failed."""
        now = time.monotonic()
        with self._lock:
            if answer := self._answers.fresh_enough(key, now):
                return answer
            cause = "" if self._answers.stale(key, now) else self._answers.failure(key, now)
        if cause:
            raise BackendError(cause)
        return None

    def _refresh(self, key: Key, lookup: Lookup, fetch: Fetch, stale: CachedAnswer | None) -> CachedAnswer:
        """Look up, and store the answer or the failure; called in one thread at a time for each key."""
        if cached := self._fresh_enough(key):  # stored by another thread after this one had looked
            return cached
        if stale:
            with self._lock:
                self._answers.begin(lookup.deadline)
        try:
            people = fetch(lookup)
        except BackendError as error:
            now = time.monotonic()
            with self._lock:
                self._answers.fail(key, str(error) if now < lookup.deadline else "", now)  # others may have more time
            if stale:
                log.warning("backend failed, serving a stale answer: %s", error)
            raise
        now = time.monotonic()
        fresh_until = now + (self.unknown_seconds if people == () else self.seconds)
        answer = CachedAnswer(people, fresh_until, fresh_until + self.stale_seconds)
        with self._lock:
            self._answers.store(key, answer)
        return answer
