"""JSON documents as people: where in a document they stand, and which of its values is which atom.

A path names the keys on the way down, with a dot between two, and the places
in lists by their numbers from 0, as in ``profile.phones.0``.
"""

import json
from collections.abc import Mapping

from fingerd.errors import OptionError
from fingerd.people import Person
from fingerd.people.mapping import LOGIN, check_fields, person_of

_MISSING = object()


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
