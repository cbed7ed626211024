"""Fictional people whose state changes with time, read from a scenario as pyfingerd (0.5) knows them.

A scenario is TOML: each ``[["1d3h"]]`` is an action, so long after the start,
with its ``type`` and what belongs to that. It is played once, when it is read,
and leaves for each login the states that this person goes through.
"""

import os
import re
import tomllib
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from fingerd.config.values import did_you_mean
from fingerd.safe_files import UnsafeFileError, read_regular

PLAN_BYTES = 64 << 10
LAST = 10.0  # seconds after the last action, where a scenario does not say when it ends
LONGEST = 100 * 366 * 86_400  # seconds before the start, and after it

Ending = Literal["freeze", "stop", "repeat"]
ENDINGS: Mapping[str, Ending] = {"interrupt": "freeze", "freeze": "freeze", "stop": "stop", "repeat": "repeat"}
ACTIONS = ("create", "update", "delete", "login", "logout", "idle", "active")
TEXTS = ("name", "office", "home", "shell", "plan")
_UNITS = {"w": 604_800, "d": 86_400, "j": 86_400, "h": 3600, "m": 60, "s": 1}  # j for the French "jour"


_HEADING = re.compile(r"\s*\[\[\s*([\"']?)([^\"'\s\]]*)\1\s*]]")


@dataclass(frozen=True, slots=True)
class Sitting:
    """A login that lasts; moments are seconds after the start."""

    session: str  # the name by which later actions mean it; those without one are meant from the last one on
    line: str
    host: str
    since: float
    idle_since: float | None = None  # None while something is typed


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody, between two actions."""

    login: str
    texts: Mapping[str, str] = field(default_factory=dict)
    sittings: tuple[Sitting, ...] = ()
    last: Sitting | None = None  # the last login of all, over or not


class _State(NamedTuple):
    """Who somebody is from a moment on; nobody before they are made, and after they are deleted."""

    moment: float
    actor: Actor | None


class StoryError(ValueError):
    """A scenario cannot be played; the text says where in the file, and why."""


class Story:
    """All that happens. Nothing in it changes once it is read."""

    def __init__(self, states: Mapping[str, Sequence[_State]], end: float, ending: Ending) -> None:
        self._states = states
        self.end = end
        self.ending: Ending = ending

    def now(self, elapsed: float) -> float | None:
        """The moment of the story when so many seconds have passed since its start; None when it is over."""
        if elapsed <= self.end or self.ending == "freeze":
            return elapsed
        return elapsed % self.end if self.ending == "repeat" else None

    def logins(self) -> Iterable[str]:
        """The logins of everybody who ever comes."""
        return self._states

    def actor(self, login: str, moment: float) -> Actor | None:
        """Who has the login at that moment."""
        states = self._states.get(login, ())
        before = bisect(states, moment, key=lambda state: state.moment)
        return states[before - 1].actor if before else None

    def actors(self, moment: float) -> Iterator[Actor]:
        """Everybody at that moment, in the order in which they have first come."""
        return filter(None, (self.actor(login, moment) for login in self._states))


class _Action(NamedTuple):
    """One table of the file."""

    moment: float
    place: str
    table: Mapping[str, Any]


def read_story(path: str) -> Story:
    """The scenario in a file, and in the files of its plans; StoryError where it is none."""
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise StoryError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
        raise StoryError(f"{path}:{found[2]}:{found[3]}: {found[1]}" if found else f"{path}: {error}") from error
    headings = _headings(text)
    actions = [
        action for key, tables in document.items() for action in _actions(path, headings.get(key, ()), key, tables)
    ]
    return _play(sorted(actions, key=lambda action: action.moment), os.path.dirname(path))


def _headings(text: str) -> Mapping[str, Sequence[int]]:
    """The numbers of the lines that begin a table, by their keys."""
    lines: dict[str, list[int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := _HEADING.match(line):
            lines.setdefault(found[2], []).append(number)
    return lines


def _actions(path: str, lines: Sequence[int], key: str, tables: Any) -> Iterator[_Action]:
    """What happens at one time, which is the key."""
    moment = _seconds(key)
    if moment is None:
        raise StoryError(f"{path}: {key!r} is no time, as 1d3h2m or -5s")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise StoryError(f"{path}: [{key}] must be written [[{key}]]")
    exact = len(lines) == len(tables)  # else some of them stand in a text, or are written in another way
    for number, table in enumerate(tables):
        yield _Action(moment, f"{path}:{lines[number]}: [[{key}]]" if exact else f"{path}: [[{key}]]", table)


def _seconds(text: str) -> float | None:
    """The seconds that ``-1w2d3h4m5s`` means; None for what is no such time, or out of all bounds."""
    found = re.fullmatch("(-?)((?:[0-9]{1,10}[wdjhms])+)", text)
    if not found:
        return None
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall("([0-9]+)(.)", found[2]))
    return None if seconds > LONGEST else float(-seconds if found[1] else seconds)


def _play(actions: Sequence[_Action], folder: str) -> Story:
    """The states that these actions lead to, which are in the order of their moments."""
    last = next((action for action in actions if action.table.get("type") in [*ENDINGS]), None)
    ending = ENDINGS[last.table["type"]] if last else "freeze"
    end = last.moment if last else actions[-1].moment + LAST if actions else LAST
    if last and ending == "repeat" and end <= 0:
        raise StoryError(f"{last.place}: a scenario repeats after its start")
    states: dict[str, list[_State]] = {}
    for moment, place, table in actions:
        try:
            kind, login, texts = _read(table, folder)
            if kind in ENDINGS or moment >= end:
                continue
            mine = states.setdefault(login, [])
            mine.append(_State(moment, _act(kind, mine[-1].actor if mine else None, table, texts, moment)))
        except ValueError as error:
            raise StoryError(f"{place}: {error}") from error
    return Story(states, end, ending)


def _read(table: Mapping[str, Any], folder: str) -> tuple[str, str, Mapping[str, str]]:
    """The type of an action, the login, and what is written of that person, "" for what is taken back.

    ValueError for what no action may say. Keys that no action has are left alone.
    """
    kind = _text(table, "type", required=True)
    if kind in ENDINGS:
        return kind, "", {}
    if kind not in ACTIONS:
        hint = did_you_mean(kind, (*ACTIONS, *ENDINGS)) or f" (there are {', '.join((*ACTIONS, *ENDINGS))})"
        raise ValueError(f"there is no action {kind}{hint}")
    login = _text(table, "login", required=True)
    for key in ("session", "line", "host"):
        _text(table, key)
    if kind not in ("create", "update"):  # a name is that of nobody there
        return kind, login, {}
    texts = {}
    for key in TEXTS:
        if key in table:
            texts[key] = "" if kind == "update" and table[key] is False else _text(table, key)
    if texts.get("plan"):
        texts["plan"] = _plan(os.path.join(folder, texts["plan"]))
    return kind, login, texts


def _text(table: Mapping[str, Any], key: str, required: bool = False) -> str:
    text = table.get(key, "")
    if not isinstance(text, str):
        raise ValueError(f"{key} must be a text")
    if required and not text:
        raise ValueError(f"{key} is required, but not given")
    return text


def _plan(path: str) -> str:
    """The text of the file at this path; ValueError where it cannot be read."""
    try:
        text = read_regular(os.path.realpath(path), None, PLAN_BYTES)
    except UnsafeFileError as error:
        raise ValueError(f"plan: {error}") from error
    except OSError as error:
        raise ValueError(f"plan: {path}: {error.strerror}") from error
    if text is None:
        raise ValueError(f"plan: there is no file {path}")
    return text


def _act(
    kind: str, actor: Actor | None, table: Mapping[str, Any], texts: Mapping[str, str], now: float
) -> Actor | None:
    """Whom an action makes of somebody; ValueError where that cannot be."""
    login = table["login"]
    if kind == "create":
        if actor:
            raise ValueError(f"the user {login} is there already")
        return Actor(login, texts)
    if actor is None:
        raise ValueError(f"there is no user {login} at that time")
    if kind == "update":
        return replace(actor, texts={**actor.texts, **texts})
    if kind == "delete":
        return None
    name = table.get("session", "")
    places = [place for place, sitting in enumerate(actor.sittings) if sitting.session == name]
    if kind == "login":
        if name and places:
            raise ValueError(f"{login} has a session {name} already")
        sitting = Sitting(name, table.get("line", ""), table.get("host", ""), now)
        return replace(actor, sittings=(*actor.sittings, sitting), last=sitting)
    if not places:
        raise ValueError(f"{login} has no session {name}".rstrip() + " at that time")
    sittings = list(actor.sittings)
    sitting = sittings.pop(places[-1])
    if kind != "logout":
        idle_since = None if kind == "active" else now if sitting.idle_since is None else sitting.idle_since
        sittings.insert(places[-1], replace(sitting, idle_since=idle_since))
    return replace(actor, sittings=tuple(sittings))
