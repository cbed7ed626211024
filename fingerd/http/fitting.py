"""How many people an answer has room for: whole ones, so that no markup is cut."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from markupsafe import escape

from fingerd.http.records import Row
from fingerd.people import Person

T = TypeVar("T")

_ROW_BYTES = 150  # of markup


def fitting(
    people: Sequence[Person] | Iterator[Person],
    render_one: Callable[[Person, int], T],
    size_of: Callable[[T], int],
    budget: int,
) -> tuple[list[T], bool]:
    """As many people as the budget of bytes has room for, and whether anything is left out.

    If there is no room for the first, the person's texts are cut, not what is around them: ``render_one`` cuts each to
    the number of characters that it is given.
    """
    items: list[T] = []
    is_cut = False
    for person in people:
        max_characters = budget
        item = render_one(person, max_characters)
        size = size_of(item)
        if items and size > budget:
            return items, True
        is_cut = is_cut or size > budget
        while size > budget and max_characters > 1:
            max_characters = max(min(max_characters * budget // size, max_characters * 3 // 4), 1)
            item = render_one(person, max_characters)
            size = size_of(item)
        items.append(item)
        budget = max(budget - size, 0)
    return items, is_cut


def size_of_text(text: str) -> int:
    """The bytes that a text takes on the wire."""
    return len(text.encode(errors="replace"))


def size_of_item(item: Sequence[Row] | str) -> int:
    """The bytes that an item of the list takes in a page, at most."""
    if isinstance(item, str):
        return size_of_text(item)
    texts = (text for row in item for text in (row.login, row.name, row.where, row.since, row.idle, row.office))
    return sum(map(size_of_text, map(escape, texts))) + sum(_ROW_BYTES + len(row.path) for row in item)
