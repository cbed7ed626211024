"""Answers of a backend, kept for a while, and how its last look-ups went.

No clock and no lock of its own: whoever keeps answers here says what time it
is (``time.monotonic()``), and lets in one thread at a time.
"""

from sys import getsizeof
from typing import NamedTuple, TypeVar

from cachetools import LRUCache

from fingerd.people import ATOMS, Person

Key = tuple[str, bool, bool]  # the name ("" is the list of {C}), whether it was asked verbosely, and by parts of names
People = tuple[Person, ...]

UNIT_BYTES = 4096  # of an entry; a longer answer counts as several
ANSWER_BYTES = 1 << 20  # what is longer is not kept
PERSON_BYTES = 512  # that somebody takes besides the texts
SESSION_BYTES = 384
KEY_BYTES = 512  # of an entry, besides its name
CAUSE_CHARACTERS = 200  # of a failure

PAUSE = 5.0  # seconds in which a look-up that has failed is not tried again
DOWN = 3  # failures in a row, of whoever has an answer: then one look-up at a time finds out if all is well again


class Kept(NamedTuple):
    """One answer. ``people`` is None for a list that is too long to be kept, or that is none."""

    people: People | None
    fresh: float  # until then it is as good as a new one
    stale: float  # until then it is better than none
    units: int = 1  # of the room for all of them


class _Failure(NamedTuple):
    cause: str
    until: float
    units: int


T = TypeVar("T", Kept, _Failure)


class Remembered:
    """At most ``entries`` answers, a quarter as many names that nobody has, and a quarter as many failures.

    The least recently wanted goes first. The three have no room in common:
    who asks for ever other names does not push out the people. An entry is
    one of UNIT_BYTES, so all together take 1.5 times ``entries`` of these.
    """

    def __init__(self, entries: int) -> None:
        fewer = max(entries // 4, 1)
        self._known: LRUCache[Key, Kept] = LRUCache(entries, _units_of)
        self._nobody: LRUCache[Key, Kept] = LRUCache(fewer, _units_of)
        self._failures: LRUCache[Key, _Failure] = LRUCache(fewer, _units_of)
        self._in_a_row = 0  # look-ups that have failed, of those who have an answer
        self._down_until = 0.0  # nobody is looked up of whom there is an old answer

    def good(self, key: Key, now: float) -> Kept | None:
        """The answer to be told without a look-up: a fresh one, or an old one where a look-up would fail again."""
        kept = self._known.get(key) or self._nobody.get(key)
        if kept is None or now < kept.fresh:
            return kept
        if now >= kept.stale:
            return None
        failure = self._failures.get(key)
        return kept if now < self._down_until or (failure and now < failure.until) else None

    def old(self, key: Key, now: float) -> Kept | None:
        """The answer to be told where a look-up fails."""
        kept = self._known.get(key) or self._nobody.get(key)
        return kept if kept and now < kept.stale else None

    def failure(self, key: Key, now: float) -> str:
        """Why there is no look-up now and no answer either; nothing where there may be one."""
        failure = self._failures.get(key)
        return failure.cause if failure and now < failure.until else ""

    def begin(self, until: float) -> None:
        """A look-up goes on until then at the latest, and there is an old answer in its place."""
        if self._in_a_row >= DOWN:
            self._down_until = until

    def keep(self, key: Key, kept: Kept) -> None:
        """A look-up went well: remember the answer in the place of all that is known of this key."""
        self._in_a_row, self._down_until = 0, 0.0
        for where in (self._known, self._nobody, self._failures):
            where.pop(key, None)
        size = _key_bytes(key) + weight(kept.people)
        if size <= ANSWER_BYTES:
            _put(self._nobody if kept.people == () else self._known, key, kept._replace(units=_units(size)))

    def fail(self, key: Key, cause: str, now: float) -> None:
        """A look-up has failed. Without a cause, only who has an old answer is told that one for a while."""
        cause = cause[:CAUSE_CHARACTERS]
        _put(self._failures, key, _Failure(cause, now + PAUSE, _units(_key_bytes(key) + getsizeof(cause))))
        if key in self._known:  # whoever asks for ever other names that fail says nothing about those
            self._in_a_row += 1
            if self._in_a_row >= DOWN:
                self._down_until = now + PAUSE

    def __len__(self) -> int:
        return len(self._known) + len(self._nobody) + len(self._failures)


def weight(people: People | None) -> int:
    """How many bytes these people take in memory, about."""
    return sum(map(weight_of, people or ()))


def weight_of(person: Person) -> int:
    """The same for one of them."""
    texts = sum(getsizeof(value) for atom in ("text", *ATOMS) if isinstance(value := getattr(person, atom), str))
    return PERSON_BYTES + texts + SESSION_BYTES * len(person.sessions or ())


def _key_bytes(key: Key) -> int:
    return KEY_BYTES + getsizeof(key[0])


def _units(size: int) -> int:
    return -(-size // UNIT_BYTES)


def _units_of(entry: Kept | _Failure) -> int:
    return entry.units


def _put(where: "LRUCache[Key, T]", key: Key, entry: T) -> None:
    """Remember it, unless it is longer than all the room there."""
    if _units_of(entry) <= where.maxsize:
        where[key] = entry
