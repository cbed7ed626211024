"""``type: vending``: a vending machine (RFC 1288 2.5.5)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.config.values import Integer
from fingerd.errors import OptionError
from fingerd.people import Person
from fingerd.protocol.query import is_queryable
from fingerd.text import one_line, to_nfc

SOLD_OUT = "sold out"


@dataclass(frozen=True, slots=True)
class Slot:
    """An item: how many are left, and its price and description."""

    count: Annotated[int, Integer()]
    price: str = ""
    text: str = ""


@dataclass(frozen=True)
class Vending(Backend):
    """A vending machine: the user list shows all items, a user is a slot. It never eats money."""

    blocking: ClassVar[bool] = False
    repeatable_seconds: ClassVar[float] = math.inf

    slots: Mapping[str, Slot]

    def __post_init__(self) -> None:
        for name in self._people:  # built here, not by the first query
            if not is_queryable(name):
                raise OptionError(f"no query can ask for a slot called {name!r}", "slots", name)
        _ = self._table

    @cached_property
    def _people(self) -> Mapping[str, tuple[Person]]:
        return {name: (Person(name, _describe(name, slot)),) for name, slot in self.slots.items()}

    @cached_property
    def _table(self) -> Person:
        """The user list, which is one text: a table of all slots."""
        width = max(map(len, self.slots), default=0)
        lines = ["Items available:" if self.slots else "Nothing is for sale here."]
        lines += [f"  {name:<{width}}  {_summary(slot)}" for name, slot in self.slots.items()]
        return Person("", "\n".join(lines))

    @property
    def people_count(self) -> int:
        return len(self.slots)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The count, price and text of the slot with this name."""
        return self._people.get(to_nfc(lookup.username), ())

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """One text: a table of all slots."""
        return iter((self._table,))


def _summary(slot: Slot) -> str:
    price = f", {one_line(slot.price)} each" if slot.price else ""
    return f"{slot.count} left{price}" if slot.count else SOLD_OUT


def _describe(name: str, slot: Slot) -> str:
    lines = [f"Slot: {name}", f"Count: {slot.count or SOLD_OUT}"]
    if slot.price:
        lines.append(f"Price: {one_line(slot.price)}")
    if slot.text:
        lines += ["", slot.text.rstrip()]
    return "\n".join(lines) + "\n"
