"""Rows, entries and JSON documents to people: which of their values is which atom.

A path into a JSON document names the keys on the way down, with a dot between
two, and the places in lists by their numbers from 0, as in ``profile.phones.0``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fingerd.config.values import did_you_mean
from fingerd.errors import OptionError
from fingerd.people import TEXT_ATOMS, Person
from fingerd.text import read_text

LOGIN = "login"
MAPPABLE_ATOMS = (LOGIN, *TEXT_ATOMS)  # that a foreign source can give: each is one text
_MISSING = object()
PLAN_ABSENT = ""  # of whom a source knows: who has none is told to have none


def check_fields(fields: Iterable[str]) -> None:
    """OptionError, at the option ``fields``, for the first of these keys that is no atom which is a text."""
    for key in fields:
        if key not in MAPPABLE_ATOMS:
            hint = did_you_mean(key, MAPPABLE_ATOMS) or f" (there are {', '.join(MAPPABLE_ATOMS)})"
            raise OptionError(f"there is no atom {key}{hint}", "fields", key)


def person_of(username: str, values: Mapping[str, object]) -> Person:
    """Somebody with these atoms; whatever is None or no atom is left out.

    The login is the one among the values, else the name that was asked for.
    """
    known: dict[str, Any] = {
        atom: as_text(value) for atom, value in values.items() if value is not None and atom in MAPPABLE_ATOMS
    }
    login = known.pop(LOGIN, "") or username
    return Person(login, **{"plan": PLAN_ABSENT, **known})


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


def check_paths(fields: Mapping[str, str], listed: bool, **others: str | None) -> None:
    """OptionError for a key of ``fields`` that is no atom, a path of no use, or a list whose people have no login.

    ``others`` are options that may be a path, of which none may be given where there are no fields.
    """
    check_fields(fields)
    for option, path in others.items():
        if path is not None and not fields:
            raise OptionError("is about a JSON answer, which needs fields", option)
        if path is not None and not all(path.split(".")):
            raise OptionError("must be a path, as results.0", option)
    for atom, path in fields.items():
        if not all(path.split(".")):
            raise OptionError("must be a path, as profile.name or phones.0", "fields", atom)
    if fields and listed and LOGIN not in fields:
        raise OptionError(f"needs {LOGIN}, for the list of users", "fields")


def people_of(document: bytes, at: str | None, fields: Mapping[str, str], username: str) -> tuple[Person, ...]:
    """The people at the path ``at``, with the atoms at the paths ``fields``; nobody for null and an empty list.

    Who has no login is called ``username``; who has this one comes first. A
    value that is null, or not there, is left out. ValueError where the
    document is no JSON, or has another shape.
    """
    try:
        found = json.loads(document.decode().removeprefix("\ufeff"), parse_int=str, parse_float=str, parse_constant=_no)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("not JSON: it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if at is not None:
        found = _at(found, at)
        if found is _MISSING:
            raise ValueError(f"has no {at}")
    entries = found if isinstance(found, list) else () if found is None else (found,)
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("neither an object nor a list of objects")
    people = (person_of(username, _atoms(entry, fields)) for entry in entries)
    return tuple(sorted(people, key=lambda person: person.login != username))


def _no(constant: str) -> str:
    raise ValueError(f"not JSON: {constant}")


def _atoms(entry: object, fields: Mapping[str, str]) -> dict[str, object]:
    """The values of one person; ValueError where one is no text and no list of texts."""
    atoms: dict[str, object] = {}
    for atom, path in fields.items():
        value = _at(entry, path)
        if value is _MISSING or value is None:
            continue
        if isinstance(value, list):
            atoms[atom] = [_text(part, path) for part in value if part is not None]
        else:
            atoms[atom] = _text(value, path)
    return atoms


def _text(value: object, path: str) -> str:
    if isinstance(value, str):  # numbers too, as they are written
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    raise ValueError(f"{path} is no text")


def _at(value: object, path: str) -> object:
    """What is at the end of the path, or _MISSING."""
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step, _MISSING)
        elif isinstance(value, list) and step.isdecimal() and len(step) < 10 and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value
