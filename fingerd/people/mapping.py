"""People out of rows, entries and documents: which of their values is which atom."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fingerd.config.values import did_you_mean
from fingerd.errors import OptionError
from fingerd.people import WRITTEN, Person
from fingerd.text import read_text

LOGIN = "login"
ATOMS = (LOGIN, *WRITTEN)  # that a foreign source can give: each is one text
NO_PLAN = ""  # of whom a source knows: who has none is told to have none


def check_fields(fields: Iterable[str]) -> None:
    """OptionError, at the option ``fields``, for the first of these keys that is no atom which is a text."""
    for key in fields:
        if key not in ATOMS:
            hint = did_you_mean(key, ATOMS) or f" (there are {', '.join(ATOMS)})"
            raise OptionError(f"there is no atom {key}{hint}", "fields", key)


def person_of(username: str, values: Mapping[str, object]) -> Person:
    """Somebody with these atoms; whatever is None or no atom is left out.

    The login is the one among the values, else the name that was asked for.
    """
    known: dict[str, Any] = {
        atom: as_text(value) for atom, value in values.items() if value is not None and atom in ATOMS
    }
    login = known.pop(LOGIN, "") or username
    return Person(login, **{"plan": NO_PLAN, **known})


def as_text(value: object) -> str:
    """A value of a foreign type as text: bytes are read as UTF-8, else Latin-1; a list is a line each.

    What is None in a list is left out.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return read_text(bytes(value))
    if isinstance(value, list | tuple):
        return "\n".join(map(as_text, _leaves(value)))
    return str(value)


def _leaves(values: object) -> Iterator[object]:
    """What stands in lists of lists, however deep, in its order."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, list | tuple):
            left.extend(reversed(value))
        elif value is not None:
            yield value
