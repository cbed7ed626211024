"""``type: vending``: a vending machine on the net (RFC 1288 2.5.5)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.config.values import Integer
from fingerd.errors import OptionError
from fingerd.people import Person
from fingerd.protocol.query import is_queryable
from fingerd.text import one_line

SOLD_OUT = "sold out"


@dataclass(frozen=True, slots=True)
class Slot:
    """What lies in one slot."""

    count: Annotated[int, Integer()]
    price: str = ""
    text: str = ""


@dataclass(frozen=True)
class Vending(Backend):
    """A vending machine: the list of users is what can be bought, a user is a slot. It never eats money."""

    blocking: ClassVar[bool] = False
    repeatable_seconds: ClassVar[float] = math.inf

    slots: Mapping[str, Slot]
    _told: Mapping[str, tuple[Person]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in self.slots:
            if not is_queryable(name):
                raise OptionError(f"no query can ask for a slot called {name!r}", "slots", name)
        told = {name: (Person(name, _detail(name, slot)),) for name, slot in self.slots.items()}
        object.__setattr__(self, "_told", told)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """How many are left in the slot of this name, and what is said of them."""
        return self._told.get(lookup.username, ())

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """All slots, as a table."""
        width = max(map(len, self.slots), default=0)
        lines = ["Items available:" if self.slots else "Nothing is for sale here."]
        lines += [f"  {name:<{width}}  {_short(slot)}" for name, slot in self.slots.items()]
        return iter((Person("", "\n".join(lines)),))


def _short(slot: Slot) -> str:
    price = f", {one_line(slot.price)} each" if slot.price else ""
    return f"{slot.count} left{price}" if slot.count else SOLD_OUT


def _detail(name: str, slot: Slot) -> str:
    lines = [f"Slot: {name}", f"Count: {slot.count or SOLD_OUT}"]
    if slot.price:
        lines.append(f"Price: {one_line(slot.price)}")
    if slot.text:
        lines += ["", slot.text.rstrip()]
    return "\n".join(lines) + "\n"
