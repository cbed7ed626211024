"""``type: aliases``: other names for the users of another backend.

An alias has targets: usernames, other aliases, or paths of text files, which begin with ``/``, ``./`` or ``../``. A
file of aliases has the format of FreeBSD's finger.conf(5): one ``alias:target`` a line; comments begin with ``#``.
"""

import math
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, NamedTuple

from fingerd.backends import Backend, Composite, Lookup
from fingerd.config.system_options import read_path, resolve_path
from fingerd.errors import BackendError, OptionError
from fingerd.net.own_names import is_host_name, is_own_name
from fingerd.people import Person
from fingerd.protocol.query import is_queryable
from fingerd.safe_files import UnsafeFileError, decode_file, read_named, read_resolved, writable_by_others
from fingerd.text import to_nfc

FILE_REPEATABLE_SECONDS = 1.0  # for how long the text of a file may be repeated
MAX_TEXT_BYTES = 64 << 10  # of a file that is a target; the rest is cut
MAX_DEPTH = 100  # aliases in a row, each the target of the one before


class _Alias(NamedTuple):
    """The targets of an alias, and where it is defined."""

    targets: tuple[str, ...]
    keys: tuple[str, ...]  # the option, for OptionError
    line: str = ""  # "FILE:LINE: " if it is defined in a file


@dataclass(frozen=True)
class Aliases(Composite):
    """Other names for the users of another backend, from ``names`` and from a file like finger.conf(5)."""

    backend: Backend
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file: Annotated[str, read_path] | None = None

    def __post_init__(self) -> None:
        _ = self._targets, self._files  # resolved now: an invalid alias is a configuration error

    @cached_property
    def _aliases(self) -> Mapping[str, _Alias]:
        """The aliases of the file, and those of ``names``, which win."""
        aliases = dict(_read_file(self.file)) if self.file else {}
        return aliases | {name: _Alias(targets, ("names", name)) for name, targets in self.names.items()}

    @cached_property
    def _targets(self) -> Mapping[str, tuple[str, ...]]:
        """The usernames and absolute paths that each alias stands for in the end."""
        self._check_logins(is_host_name)
        aliases = self._aliases
        for alias in aliases.values():
            if not alias.targets or not all(map(str.strip, alias.targets)):
                raise OptionError(f"{alias.line}an alias needs a target, and none may be empty", *alias.keys)
        resolved: dict[str, tuple[str, ...]] = {}
        for name in aliases:
            _resolve(name, aliases, resolved)
        return resolved

    @cached_property
    def _files(self) -> Mapping[str, str]:
        """The targets that are paths, each with its path without links: a link that is made later is not followed."""
        targets = (target for targets in self._targets.values() for target in targets if _is_file(target))
        return {target: os.path.realpath(target) for target in targets}

    @property
    def members(self) -> Sequence[Backend]:
        return (self.backend,)

    @property
    def blocking(self) -> bool:
        """Whether the other backend may wait, or a target is a file, which has to be read."""
        return self.backend.blocking or bool(self._files)

    @property
    def repeatable_seconds(self) -> float:
        """As long as the other backend allows; at most one second if a target is a file."""
        return min(self.backend.repeatable_seconds, FILE_REPEATABLE_SECONDS if self._files else math.inf)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The people of all targets of the alias, each once; the other backend's answer for any other name."""
        targets = self._targets.get(to_nfc(lookup.username))
        if targets is None:
            return self.backend.find(lookup)
        people: dict[Person, None] = {}
        for target in targets:  # each is an exact login, never a word of a full name
            exact = replace(lookup, username=target, by_name=False)
            path = self._files.get(target)
            people |= dict.fromkeys(_read_text(lookup.username, path) if path else self.backend.find(exact))
        return tuple(people)

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The list of the other backend, without aliases."""
        return self.backend.list_users(lookup)

    def check_logins(self, hosts: Container[str]) -> None:
        """Raise OptionError for an alias that ends in ``@`` and a host that is none of ``hosts``."""
        self._check_logins(partial(is_own_name, names=hosts))

    def _check_logins(self, is_own_host: Callable[[str], bool]) -> None:
        for name, alias in self._aliases.items():
            if not is_queryable(name, is_own_host):
                raise OptionError(f"{alias.line}no query can ask for {name!r}", *alias.keys)

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """A message for each target that is a path without a file."""
        for name, targets in self._targets.items():
            for target in filter(_is_file, targets):
                if not (path := root / target.lstrip("/")).is_file():
                    yield f"the alias {name} points to {path}, which is not a file"

    def warnings(self) -> Iterator[str]:
        """A message for each file, of aliases or of a text, that others may replace."""
        for path in (*([self.file] if self.file else ()), *self._files):
            yield from writable_by_others(path)


def _read_file(path: str) -> Iterator[tuple[str, _Alias]]:
    """The aliases of a finger.conf(5), in order: a later line wins. OptionError for an unreadable file or bad line."""
    try:
        lines = decode_file(read_named(path).content).splitlines()
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror}", "file") from error
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            name, colon, target = map(str.strip, line.partition(":"))
            if not colon or not name or not target:
                raise OptionError(f"{path}:{number}: must be alias:target", "file")
            yield to_nfc(name), _Alias((target,), ("file",), f"{path}:{number}: ")


def _resolve(
    name: str, aliases: Mapping[str, _Alias], resolved: dict[str, tuple[str, ...]], path: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The usernames and files that an alias stands for, each once; also stored in ``resolved``. OptionError for a loop.

    An alias that is its own target stands for the user of that name, so it can add people: ``help: [help, ann]``.
    """
    if name in path:
        last = aliases[path[-1]]
        raise OptionError(f"{last.line}alias loop: {' → '.join((*path[path.index(name) :], name))}", *last.keys)
    alias = aliases[name]
    if len(path) > MAX_DEPTH:
        raise OptionError(f"{alias.line}more than {MAX_DEPTH} aliases in a row", *alias.keys)
    if name not in resolved:
        targets: dict[str, None] = {}
        for text in alias.targets:
            target = text if _is_file(text) else to_nfc(text)  # the path of a file is bytes
            if target in aliases and target != name:
                targets |= dict.fromkeys(_resolve(target, aliases, resolved, (*path, name)))
            else:
                targets[resolve_path(target) if _is_file(target) else target] = None
        resolved[name] = tuple(targets)
    return resolved[name]


def _is_file(target: str) -> bool:
    return target.startswith(("/", "./", "../"))


def _read_text(name: str, path: str) -> Sequence[Person]:
    """The text of a file as the person of this name; empty if there is no file. BackendError if it cannot be read."""
    try:
        file = read_resolved(path, MAX_TEXT_BYTES)
    except (UnsafeFileError, OSError) as error:
        raise BackendError(f"aliases {error}") from error
    return () if file is None else (Person(name, file.content),)
