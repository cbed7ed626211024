"""How many people an answer has room for: whole ones, so that no markup is cut."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from fingerd.http.pages import Record, Row
from fingerd.people import Person

T = TypeVar("T")

_ROW_BYTES = 200  # of markup
_RECORD_BYTES = 2000


def fitting(
    people: Sequence[Person] | Iterator[Person],
    render_one: Callable[[Person, int], T],
    size_of: Callable[[T], int],
    budget: int,
) -> tuple[list[T], bool]:
    """As many people as the budget of bytes has room for, and whether any are left out.

    If there is no room for the first, the person's texts are cut, not what is around them.
    """
    items: list[T] = []
    for person in people:
        max_characters = budget
        item = render_one(person, max_characters)
        while not items and size_of(item) > budget and max_characters > 1:
            max_characters //= 2
            item = render_one(person, max_characters)
        if items and size_of(item) > budget:
            return items, True
        items.append(item)
        budget -= size_of(item)
    return items, False


def size_of_rows(rows: Sequence[Row]) -> int:
    """The bytes that rows take in a page, roughly."""
    texts = (text for row in rows for text in (row.login, row.login, row.name, row.where, row.office, row.text or ""))
    return sum(len(text.encode(errors="replace")) for text in texts) + _ROW_BYTES * len(rows)


def size_of_record(record: Record) -> int:
    """The bytes that a record takes in a page, roughly."""
    texts = (str(record.text or ""), *(str(text) for _, _, text in record.texts), *record.logins)
    fields = (*(field.text for field in record.fields), *(2 * link.href for link in record.links))
    return sum(len(text.encode(errors="replace")) for text in (*texts, *fields)) + _RECORD_BYTES


def size_of_plan(person: Person) -> int:
    """The bytes that a plan takes in a feed, roughly."""
    return 2 * len((person.plan or "").encode(errors="replace")) + _ROW_BYTES
