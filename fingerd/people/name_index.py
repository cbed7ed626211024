"""An index of people by the words of their full names, for searches whose time does not grow with the number of people.

It is built once, and all threads share it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from fingerd.people import name_words

Item = TypeVar("Item")


class NameIndex(Generic[Item]):
    """Items in their order, each with the words of a full name."""

    def __init__(self, named: Iterable[tuple[str, Item]]) -> None:
        """``named`` has a full name and an item each; an item without a name is never found."""
        items: list[Item] = []
        positions: dict[str, list[int]] = {}
        self._max_words = 0  # of one name: a search for more finds nothing
        for name, item in named:
            words = name_words(name)
            for word in words:
                positions.setdefault(word, []).append(len(items))
            items.append(item)
            self._max_words = max(self._max_words, len(words))
        self._items = tuple(items)
        self._positions = {word: tuple(numbers) for word, numbers in positions.items()}  # ascending

    def find(self, name: str) -> Iterator[Item]:
        """The items whose name has all words of ``name`` (``Person.matches_name``), in their order.

        It costs as much as the rarest of the words has items.
        """
        wanted = name_words(name)
        if not 0 < len(wanted) <= self._max_words:
            return iter(())
        found, *others = sorted((self._positions.get(word, ()) for word in wanted), key=len)
        for numbers in others:
            found = tuple(number for number in found if _has(numbers, number))
        return map(self._items.__getitem__, found)


def _has(ascending: Sequence[int], number: int) -> bool:
    index = bisect_left(ascending, number)
    return index < len(ascending) and ascending[index] == number
