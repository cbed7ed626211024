"""Converts database rows, LDAP entries and JSON documents to people, by a mapping from atoms to values.

A path into a JSON document is a sequence of keys and list indexes (from 0), separated by dots: ``profile.phones.0``.
"""

import json
import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from fingerd.config.values import did_you_mean
from fingerd.errors import OptionError
from fingerd.people import MAX_MATCHES, TEXT_ATOMS, Person
from fingerd.text import decode_line, is_same_name

log = logging.getLogger(__name__)

LOGIN = "login"
MAX_LISTED = 10_000  # people of a list in one JSON document
MAPPABLE_ATOMS = (LOGIN, *TEXT_ATOMS)  # that an external source can provide: each is one text
PLAN_ABSENT = ""  # a known person without a plan is reported as having none
_MISSING = object()

_EXPONENT = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]{1,4}")  # a larger one would make too many zeros
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # Python's words and those of databases
_NOT_IN_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # control characters but white space and ESC

# Python's objects take up to 50 times the bytes of a document: only one at a time is in memory.
_READING = threading.Lock()


def check_fields(fields: Iterable[str]) -> None:
    """Raise OptionError, at the option ``fields``, for the first key that is not a mappable atom."""
    for key in fields:
        if key not in MAPPABLE_ATOMS:
            hint = did_you_mean(key, MAPPABLE_ATOMS) or f" (there are {', '.join(MAPPABLE_ATOMS)})"
            raise OptionError(f"there is no atom {key}{hint}", "fields", key)


def person_of(username: str, values: Mapping[str, object]) -> Person:
    """A person with these atoms, and ``username`` without a login; None and keys that are not atoms are ignored."""
    known: dict[str, Any] = {"plan": PLAN_ABSENT}
    known |= {atom: as_text(value) for atom, value in values.items() if value is not None and atom in MAPPABLE_ATOMS}
    return Person(known.pop(LOGIN, "") or username, **known)


def as_text(value: object) -> str:
    """A value of an external type as text, as a database or a document writes it, and not as Python does.

    Numbers have no exponent, lengths of time are hours, minutes and seconds, mappings are JSON, list items but None
    become lines. Bytes are decoded as ``read_text`` does; those that are no text are ``\\x`` and hexadecimal digits.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_of_bytes(bytes(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal):
        return plain_number(str(value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=as_text, skipkeys=True)
    if isinstance(value, timedelta):
        return _hours(value)
    if isinstance(value, list | tuple):
        return "\n".join(map(as_text, _flatten(value)))
    if isinstance(value, set | frozenset):
        return ",".join(sorted(map(as_text, value)))
    return str(value)


def plain_number(number: str) -> str:
    """A number that a language or a database has written, without an exponent: ``0E-8`` is 0.00000000."""
    if _EXPONENT.fullmatch(number):
        return format(Decimal(number), "f")
    return _NOT_FINITE.get(number, number)


def _text_of_bytes(value: bytes) -> str:
    """Bytes as text if they are that: no text has a NUL, and none in another charset than UTF-8 a control character."""
    try:
        text, charset = decode_line(value)
    except UnicodeDecodeError:
        return f"\\x{value.hex()}"
    is_text = "\0" not in text and (charset == "utf-8" or not _NOT_IN_TEXT.search(value))
    return text if is_text else f"\\x{value.hex()}"


def _hours(value: timedelta) -> str:
    seconds, rest = divmod(abs(value), timedelta(seconds=1))
    fraction = f".{rest.microseconds:06}".rstrip("0") if rest else ""
    sign = "-" if value < timedelta() else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def _flatten(values: object) -> Iterator[object]:
    """The items of nested lists of any depth, in order, without None."""
    stack = [values]
    while stack:
        value = stack.pop()
        if isinstance(value, list | tuple):
            stack.extend(reversed(value))
        elif value is not None:
            yield value


def check_paths(fields: Mapping[str, str], has_list: bool, **others: str | None) -> None:
    """Raise OptionError for an unknown atom, an invalid path (``others`` are further ones), or a list without login."""
    check_fields(fields)
    for option, path in others.items():
        if path is not None and not fields:
            raise OptionError("is a path in a JSON answer, which needs fields", option)
        if path is not None and not all(path.split(".")):
            raise OptionError("must be a path such as results.0", option)
    for atom, path in fields.items():
        if not all(path.split(".")):
            raise OptionError("must be a path such as profile.name or phones.0", "fields", atom)
    if fields and has_list and LOGIN not in fields:
        raise OptionError(f"needs {LOGIN}, for the list of users", "fields")


def people_of(
    document: bytes, path: str | None, fields: Mapping[str, str], username: str, source: str
) -> tuple[Person, ...]:
    """The people at ``path`` of a JSON document, with atoms from the paths ``fields``; none for null or an empty list.

    A person without a login gets ``username``; without that, as in a list, the person is left out. The person with that
    login comes first. Null and missing values are ignored. At most MAX_MATCHES people are found for a username, and
    MAX_LISTED without one; that more are left out is logged, with the name of the ``source``. Raises ValueError if the
    document is not JSON or has another structure.
    """
    limit = MAX_MATCHES if username else MAX_LISTED
    with _READING:
        people = _read_people(document, path, fields, username, limit + 1)
    if len(people) > limit:
        log.warning("%s: more than %d people, of whom only the first are used", source, limit)
    return tuple(sorted(people[:limit], key=lambda person: not is_same_name(person.login, username)))


def _read_people(
    document: bytes, path: str | None, fields: Mapping[str, str], username: str, limit: int
) -> tuple[Person, ...]:
    """The first people of the document. All other objects made of it are gone when this returns."""
    entries = _entries(document, path)
    if username and len(entries) >= limit:
        entries.sort(key=lambda entry: not is_same_name(_login(entry, fields), username))
    people = (person_of(username, _atoms(entry, fields)) for entry in entries)
    return tuple(islice((person for person in people if person.login), limit))


def _entries(document: bytes, path: str | None) -> list[object]:
    """The objects at ``path``; ValueError if there is something else."""
    try:
        text = document.decode().removeprefix("\ufeff")
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=_reject_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("not JSON: not encoded in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if path is not None:
        found = _value_at(path, found)
        if found is _MISSING:
            raise ValueError(f"has no {path}")
    entries = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("neither an object nor a list of objects")
    return entries


def _login(entry: object, fields: Mapping[str, str]) -> str:
    """The login of an entry, empty without one."""
    path = fields.get(LOGIN)
    return as_text(_atoms(entry, {LOGIN: path}).get(LOGIN, "")) if path else ""


def _reject_constant(constant: str) -> str:  # NaN and Infinity, which json accepts by default
    raise ValueError(f"not JSON: {constant}")


def _atoms(entry: object, fields: Mapping[str, str]) -> dict[str, object]:
    """The values of one person by atom; raises ValueError if one is neither text nor a list of texts."""
    atoms: dict[str, object] = {}
    for atom, path in fields.items():
        value = _value_at(path, entry)
        if isinstance(value, list):
            atoms[atom] = [_text_of(item, path) for item in value if item is not None]
        elif value is not _MISSING and value is not None:
            atoms[atom] = _text_of(value, path)
    return atoms


def _text_of(value: object, path: str) -> str:
    if isinstance(value, str):  # numbers too, as the document writes them
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    raise ValueError(f"{path} is not text")


def _value_at(path: str, value: object) -> object:
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step, _MISSING)
        elif isinstance(value, list) and step.isdecimal() and len(step) < 10 and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value
