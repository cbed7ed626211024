"""Cached answers of a backend, and its recent failures: a circuit breaker.

It has no clock and no lock: the caller passes ``time.monotonic()`` as ``now`` and lets one thread in at a time.
"""

from contextlib import suppress
from operator import attrgetter
from sys import getsizeof
from typing import NamedTuple

from cachetools import LRUCache

from fingerd.people import ATOMS, Person

Key = tuple[str, bool, bool]  # username ("" for the list), verbose, by_name
People = tuple[Person, ...]

ENTRY_BYTES = 4096  # the unit in which answers are counted
MAX_ANSWER_BYTES = 1 << 20  # a longer answer is not cached
PERSON_BYTES = 512  # of memory for a person, without texts
SESSION_BYTES = 384
KEY_BYTES = 512  # for an entry, without the username
MAX_CAUSE_CHARACTERS = 200

RETRY_SECONDS = 5.0  # after a failed look-up, until the next one for the same key
BREAKER_THRESHOLD = 3  # consecutive failures for keys with an answer; then one look-up at a time probes the backend


class CachedAnswer(NamedTuple):
    """An answer. ``people`` is None if there is no list, or one that is too long to be cached."""

    people: People | None
    fresh_until: float
    stale_until: float  # served until then if the backend fails
    entries: int = 1  # that it counts for


class _Failure(NamedTuple):
    cause: str
    until: float
    entries: int


class AnswerStore:
    """At most ``entries`` answers of ENTRY_BYTES, a quarter as many unknown names, and a quarter as many failures.

    The least recently used is evicted first. The three are separate, so that unknown names cannot evict answers.
    """

    def __init__(self, entries: int) -> None:
        fewer, size = max(entries // 4, 1), attrgetter("entries")
        self._answers: LRUCache[Key, CachedAnswer] = LRUCache(entries, size)
        self._unknown: LRUCache[Key, CachedAnswer] = LRUCache(fewer, size)
        self._failures: LRUCache[Key, _Failure] = LRUCache(fewer, size)
        self._consecutive_failures = 0  # for keys with an answer
        self._open_until = 0.0  # of the circuit breaker: until then stale answers are served without a look-up

    def fresh_enough(self, key: Key, now: float) -> CachedAnswer | None:
        """The answer to give without a look-up: a fresh one, or a stale one while a look-up would fail again."""
        answer = self._answers.get(key) or self._unknown.get(key)
        if answer is None or now < answer.fresh_until:
            return answer
        if now >= answer.stale_until:
            return None
        failure = self._failures.get(key)
        return answer if now < self._open_until or (failure and now < failure.until) else None

    def stale(self, key: Key, now: float) -> CachedAnswer | None:
        """The answer to give if a look-up fails."""
        answer = self._answers.get(key) or self._unknown.get(key)
        return answer if answer and now < answer.stale_until else None

    def failure(self, key: Key, now: float) -> str:
        """The cause of a failure that is not retried yet; empty if a look-up may be made."""
        failure = self._failures.get(key)
        return failure.cause if failure and now < failure.until else ""

    def begin(self, deadline: float) -> None:
        """Begin a look-up for a key that has a stale answer; while the backend is down, no other is made until then."""
        if self._consecutive_failures >= BREAKER_THRESHOLD:
            self._open_until = deadline

    def store(self, key: Key, answer: CachedAnswer) -> None:
        """A look-up succeeded: replace all that is stored for this key, and close the circuit breaker."""
        self._consecutive_failures, self._open_until = 0, 0.0
        for stored in (self._answers, self._unknown, self._failures):
            stored.pop(key, None)
        entries = _to_entries(key, people_bytes(answer.people))
        if entries <= MAX_ANSWER_BYTES // ENTRY_BYTES:
            with suppress(ValueError):  # larger than all entries together
                where = self._unknown if answer.people == () else self._answers
                where[key] = answer._replace(entries=entries)

    def fail(self, key: Key, cause: str, now: float) -> None:
        """A look-up failed. Without a cause, keys that have no stale answer are looked up again at once."""
        cause = cause[:MAX_CAUSE_CHARACTERS]
        with suppress(ValueError):  # larger than all entries together
            self._failures[key] = _Failure(cause, now + RETRY_SECONDS, _to_entries(key, getsizeof(cause)))
        if key in self._answers:  # failures for names that anyone may invent say nothing about the known ones
            self._consecutive_failures += 1
            if self._consecutive_failures >= BREAKER_THRESHOLD:
                self._open_until = now + RETRY_SECONDS

    def __len__(self) -> int:
        return len(self._answers) + len(self._unknown) + len(self._failures)


def people_bytes(people: People | None) -> int:
    """About how much memory these people take."""
    return sum(map(person_bytes, people or ()))


def person_bytes(person: Person) -> int:
    """About how much memory a person takes."""
    texts = sum(getsizeof(value) for atom in ("text", *ATOMS) if isinstance(value := getattr(person, atom), str))
    return PERSON_BYTES + texts + SESSION_BYTES * len(person.sessions or ())


def _to_entries(key: Key, size: int) -> int:
    return -(-(KEY_BYTES + getsizeof(key[0]) + size) // ENTRY_BYTES)
