"""Reads a scenario file, as pyfingerd (0.5) does: TOML to actions.

Each table ``[["1d3h"]]`` is an action at this time after the start. It has a ``type``, and the keys of that type.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from fingerd.config.values import did_you_mean
from fingerd.safe_files import UnsafeFileError, decode_strictly, read_named, read_regular
from fingerd.text import to_nfc

MAX_PLAN_BYTES = 64 << 10
MAX_SECONDS = 100 * 366 * 86_400  # before and after the start

Ending = Literal["freeze", "stop", "repeat"]
ENDINGS: Mapping[str, Ending] = {"interrupt": "freeze", "freeze": "freeze", "stop": "stop", "repeat": "repeat"}
ACTIONS = ("create", "update", "delete", "login", "logout", "idle", "active")
TEXTS = ("name", "office", "home", "shell", "plan")

_UNITS = {"w": 604_800, "d": 86_400, "j": 86_400, "h": 3600, "m": 60, "s": 1}  # j for the French "jour"
_HEADING = re.compile(r"\s*\[\[\s*([\"']?)([^\"'\s\]]*)\1\s*]]")


class Action(NamedTuple):
    """One action. ``texts`` has the given keys of TEXTS; "" removes a text."""

    time: float  # seconds after the start
    place: str  # "FILE:LINE: [[TIME]]", for errors
    type: str
    login: str = ""
    texts: Mapping[str, str] = MappingProxyType({})
    session: str = ""
    line: str = ""
    host: str = ""


def read_actions(path: str) -> list[Action]:
    """The actions of the file, in order of time; ValueError, with the place in the file, if one is invalid."""
    try:
        text = decode_strictly(read_named(path).content)
        document = tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
        raise ValueError(f"{path}:{found[2]}:{found[3]}: {found[1]}" if found else f"{path}: {error}") from error
    lines: dict[str, list[int]] = {}  # the numbers of those with a table heading, by key
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _HEADING.match(line):
            lines.setdefault(heading[2], []).append(number)
    actions = [action for key, tables in document.items() for action in _read(path, lines.get(key, ()), key, tables)]
    return sorted(actions, key=lambda action: action.time)


def _read(path: str, lines: Sequence[int], key: str, tables: Any) -> Iterator[Action]:
    """The actions of one key, which is their time."""
    if (time := _seconds(key)) is None:
        raise ValueError(f"{path}: {key!r} is not a time such as 1d3h2m or -5s")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{path}: [{key}] must be written [[{key}]]")
    exact = len(lines) == len(tables)  # otherwise some headings are inside a string, or written in another way
    for number, table in enumerate(tables):
        place = f"{path}:{lines[number]}: [[{key}]]" if exact else f"{path}: [[{key}]]"
        try:
            yield _read_action(time, place, table, os.path.dirname(path))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error


def _seconds(text: str) -> float | None:
    """The seconds of a time such as ``-1w2d3h4m5s``; None if it is not one, or out of range."""
    found = re.fullmatch("(-?)((?:[0-9]{1,10}[wdjhms])+)", text)
    if not found:
        return None
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall("([0-9]+)(.)", found[2]))
    return None if seconds > MAX_SECONDS else float(-seconds if found[1] else seconds)


def _read_action(time: float, place: str, table: Mapping[str, Any], directory: str) -> Action:
    """One action; ValueError if a key is invalid. Unknown keys are ignored."""
    kind = _string(table, "type", required=True)
    if kind in ENDINGS:
        return Action(time, place, kind)
    if kind not in ACTIONS:
        known = (*ACTIONS, *ENDINGS)
        hint = did_you_mean(kind, known) or f" (known: {', '.join(known)})"
        raise ValueError(f"unknown action {kind}{hint}")
    login = to_nfc(_string(table, "login", required=True))
    session, line, host = (_string(table, key) for key in ("session", "line", "host"))
    texts: dict[str, str] = {}
    for key in TEXTS if kind in ("create", "update") else ():  # other actions may have a `name`, which is not a text
        if key in table:
            texts[key] = "" if kind == "update" and table[key] is False else _string(table, key)
    if texts.get("plan"):
        texts["plan"] = _read_plan(os.path.join(directory, texts["plan"]))
    return Action(time, place, kind, login, texts, session, line, host)


def _string(table: Mapping[str, Any], key: str, required: bool = False) -> str:
    if not isinstance(text := table.get(key, ""), str):
        raise ValueError(f"{key} must be a string")
    if required and not text:
        raise ValueError(f"{key} is required, but not given")
    return text


def _read_plan(path: str) -> str:
    """The text of a file; ValueError if it cannot be read."""
    try:
        file = read_regular(os.path.realpath(path), None, MAX_PLAN_BYTES)
    except UnsafeFileError as error:
        raise ValueError(f"plan: {error}") from error
    except OSError as error:
        raise ValueError(f"plan: {path}: {error.strerror}") from error
    if file is None:
        raise ValueError(f"plan: there is no file {path}")
    return file.content
