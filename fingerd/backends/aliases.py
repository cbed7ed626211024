"""``type: aliases``: other names for the users of another backend.

A target is a user, another alias, or the path of a file whose text is told,
which begins with ``/``, ``./`` or ``../``. Aliases stand in the configuration, and in a file in the format of
FreeBSD's finger.conf(5): a line ``alias:target`` each, ``#`` begins a comment.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, NamedTuple

from fingerd.backends import Backend, Lookup
from fingerd.config.system_options import read_path, resolve_path
from fingerd.errors import BackendError, OptionError
from fingerd.people import Person
from fingerd.protocol.query import is_queryable
from fingerd.safe_files import UnsafeFileError, decode_file, read_regular

FILE_SECONDS = 1.0  # for which the text of a file may be given again
TEXT_BYTES = 64 << 10  # of a file that an alias points to
LONGEST_WAY = 100  # from one alias to the next, and so on


class _Alias(NamedTuple):
    """What an alias means, and where it was given."""

    targets: tuple[str, ...]
    place: tuple[str, ...]  # the option, and below it the key
    line: str = ""  # FILE:LINE: in a file of its own


@dataclass(frozen=True)
class Aliases(Backend):
    """Other names for the users of another backend, from ``names`` and from a file like finger.conf(5)."""

    backend: Backend
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file: Annotated[str, read_path] | None = None
    _targets: Mapping[str, tuple[str, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        aliases = dict(_from_file(self.file)) if self.file else {}
        aliases |= {name: _Alias(targets, ("names", name)) for name, targets in self.names.items()}
        for name, alias in aliases.items():
            if not is_queryable(name):
                raise OptionError(f"{alias.line}no query can ask for {name!r}", *alias.place)
            if not alias.targets or not all(map(str.strip, alias.targets)):
                raise OptionError(f"{alias.line}{name} means nobody", *alias.place)
        followed: dict[str, tuple[str, ...]] = {}
        for name in aliases:
            _follow(name, aliases, followed)
        object.__setattr__(self, "_targets", followed)

    @property
    def _names_files(self) -> bool:
        return any(map(_is_file, (target for targets in self._targets.values() for target in targets)))

    @property
    def blocking(self) -> bool:
        """Whether the other backend may wait, or an alias is a file, which is read."""
        return self.backend.blocking or self._names_files

    @property
    def repeatable_seconds(self) -> float:
        """As long as the other backend allows; one second where an alias is a file."""
        return min(self.backend.repeatable_seconds, FILE_SECONDS if self._names_files else math.inf)

    @property
    def searches_names(self) -> bool:
        """Whether the other backend does."""
        return self.backend.searches_names

    @property
    def depends_on_client(self) -> bool:
        """Whether the other backend does."""
        return self.backend.depends_on_client

    @property
    def may_be_partial(self) -> bool:
        """Whether the other backend's answers may be."""
        return self.backend.may_be_partial

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Everyone whom the alias means, or the user of this name."""
        targets = self._targets.get(lookup.username)
        if targets is None:
            return self.backend.find(lookup)
        people: list[Person] = []
        for target in targets:  # each a login, and no part of a name
            exactly = replace(lookup, username=target, by_name=False)
            found = _text_of(target) if _is_file(target) else self.backend.find(exactly)
            people += (person for person in found if person not in people)
        return people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The users of the other backend."""
        return self.backend.list_users(lookup)

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """The files that aliases point to and that are not there."""
        for name, targets in self._targets.items():
            for target in filter(_is_file, targets):
                if not (path := root / target.lstrip("/")).is_file():
                    yield f"the alias {name} points to {path}, which is no file"

    def close(self) -> None:
        """Close the other backend."""
        self.backend.close()


def _from_file(path: str) -> Iterator[tuple[str, _Alias]]:
    """The aliases of a finger.conf; OptionError where it cannot be read, or a line is none. A later line wins."""
    try:
        with open(path, "rb") as file:
            lines = decode_file(file.read()).splitlines()
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror}", "file") from error
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            name, colon, target = map(str.strip, line.partition(":"))
            if not colon or not name or not target:
                raise OptionError(f"{path}:{number}: must be alias:target", "file")
            yield name, _Alias((target,), ("file",), f"{path}:{number}: ")


def _follow(
    name: str, aliases: Mapping[str, _Alias], followed: dict[str, tuple[str, ...]], way: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Whom an alias means in the end, each once, which is noted in ``followed``; OptionError for a loop.

    An alias of its own name is the user of that name, so that one can be somebody else too: ``help: [help, ann]``.
    """
    if name in way:
        first = aliases[way[-1]]
        raise OptionError(f"{first.line}a loop: {' → '.join((*way[way.index(name) :], name))}", *first.place)
    if len(way) > LONGEST_WAY:
        first = aliases[name]
        raise OptionError(f"{first.line}more than {LONGEST_WAY} aliases in a row", *first.place)
    if name not in followed:
        found: dict[str, None] = {}
        for target in aliases[name].targets:
            if target in aliases and target != name:
                found |= dict.fromkeys(_follow(target, aliases, followed, (*way, name)))
            else:
                found[resolve_path(target) if _is_file(target) else target] = None
        followed[name] = tuple(found)
    return followed[name]


def _is_file(target: str) -> bool:
    return target.startswith(("/", "./", "../"))


def _text_of(path: str) -> Sequence[Person]:
    """The text of a file, as an answer; nobody where it is gone. BackendError where it cannot be read."""
    try:
        text = read_regular(os.path.realpath(path), None, TEXT_BYTES)  # a link here is the administrator's
    except (UnsafeFileError, OSError) as error:
        raise BackendError(f"aliases {error}") from error
    return () if text is None else (Person(os.path.basename(path), text),)
