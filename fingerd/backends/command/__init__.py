"""``type: command``: a program is run for every query.

There is no shell. The user's name is one argument of its own, and a name that
begins with ``-`` is run past no program at all, so none can take it for an
option (the oldest hole of finger daemons that call finger(1)).
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from fingerd.backends import Backend, Lookup
from fingerd.backends.command.interpreters import code_for
from fingerd.backends.command.process_runner import LIMITER, Programs, limited
from fingerd.config.system_options import resolve_path
from fingerd.config.values import Integer, Seconds, Size, unknown_placeholders
from fingerd.errors import BackendError, OptionError
from fingerd.people import Person
from fingerd.people.mapping import check_paths, people_of
from fingerd.text import read_cut, read_text

# All that a program sees of the daemon's environment; a fixed locale, so that answers do not depend on who started it.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)} | {
    name: os.environ[name] for name in ("TZ", "TMPDIR") if name in os.environ
}

_PLACEHOLDER = re.compile(r"\{(user|client|verbose)\}")
_TOLD = {"user": "FINGER_USER", "client": "FINGER_CLIENT", "verbose": "FINGER_VERBOSE"}  # the same, as variables


@dataclass(frozen=True)
class Command(Backend):
    """Runs a program for every query.

    In ``argv`` the text ``{user}`` stands for the user's name, ``{client}``
    for the address of who asks, and ``{verbose}`` for 1 or 0. Exit status 0
    with output is the answer, 0 without any is an unknown user, and
    everything else is a failure. ``list_argv`` is run for the list of users.
    With ``fields`` the output is JSON, and each names where an atom stands.
    """

    argv: tuple[str, ...]
    list_argv: tuple[str, ...] | None = None
    timeout: Annotated[float, Seconds(0.1)] = 10
    output_bytes: Annotated[int, Size()] = 256 << 10  # the rest is cut, and the program ended
    names: tuple[str, ...] | None = None  # nothing is run for any other name
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)  # may hold secrets
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    people: str | None = None
    list_people: str | None = None
    cpu_seconds: Annotated[int, Integer(0, 86_400, zero_means="no limit")] = (
        0  # any of the three costs one exec a query more
    )
    memory_bytes: Annotated[int, Size(0, 1 << 40, zero_means="no limit")] = 0
    processes: Annotated[int, Integer(zero_means="no limit")] = 0
    _programs: Programs = field(default_factory=Programs, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for argv in (self.argv, self.list_argv):
            if argv is not None and (not argv or not argv[0]):
                raise ValueError("a program is needed")
            if argv and len(argv) == 1 and " " in argv[0]:
                raise ValueError(f"argv is a list: {json.dumps(argv[0].split(), ensure_ascii=False)}")
            if argv and "{user}" in argv[0]:
                raise ValueError("a user's name may not choose the program")
            if argv and _PLACEHOLDER.search(argv[0]):
                raise ValueError("who asks may not choose the program")
            if any("\0" in part for part in argv or ()):
                raise ValueError("no argument can hold the character NUL")
            for interpreter, code in code_for(argv or ()):
                if "{user}" in code:
                    raise ValueError(
                        f"{{user}} would be code that {interpreter} runs:"
                        ' give {user} as an argument of its own, and use "$1"'
                    )
        for name in self.env:
            if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or name in _TOLD.values():
                raise OptionError(f"no variable may be called {name}", "env", name)
            if "\0" in self.env[name]:
                raise OptionError("no variable can hold the character NUL", "env", name)
        paths = {"people": self.people, "list_people": self.list_people}
        check_paths(self.fields, self.list_argv is not None, **paths)
        object.__setattr__(self, "argv", _from_here(self.argv))
        object.__setattr__(self, "list_argv", self.list_argv and _from_here(self.list_argv))

    @property
    def depends_on_client(self) -> bool:
        """Whether the arguments say who asks; a program can see it in the environment all the same."""
        return any("{client}" in part or _TOLD["client"] in part for part in (*self.argv, *(self.list_argv or ())))

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Somebody with the program's output as text, or who stands in it; BackendError where it fails or is late."""
        if lookup.username.startswith("-") or (self.names is not None and lookup.username not in self.names):
            return ()
        output = self._run(self.argv, lookup)
        if self.fields:
            return self._people(output, self.people, lookup.username) if output.strip() else ()
        return (Person(lookup.username, self._text(output)),) if output else ()

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The output of ``list_argv``, or who stands in it; None without that."""
        if self.list_argv is None:
            return None
        output = self._run(self.list_argv, lookup)
        if self.fields:
            people = self._people(output, self.list_people, "") if output.strip() else ()
            return (person for person in people if person.login)
        return iter((Person("", self._text(output)),))

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """The programs that cannot be found, or not be run, below ``root``."""
        searched = self._environment()["PATH"].split(os.pathsep)
        path = os.pathsep.join(str(root / folder.lstrip("/")) for folder in searched)
        limiter = limited((), self.cpu_seconds, self.memory_bytes, self.processes)
        for argv in (self.argv, self.list_argv or (), limiter):
            program = argv[0] if argv else ""
            if program and not shutil.which(str(root / program.lstrip("/")) if "/" in program else program, path=path):
                wanted = ", which limits the others" if program == LIMITER else ""
                yield f"there is no program {program}" + (f" in {root}" if root != Path("/") else "") + wanted

    def warnings(self) -> Iterator[str]:
        """Words in braces that are almost those which are replaced."""
        for argv in (self.argv, self.list_argv or ()):
            for argument in argv[1:]:
                yield from unknown_placeholders(argument, tuple(_TOLD))

    def close(self) -> None:
        """End the programs that still run."""
        self._programs.close()

    def _environment(self) -> dict[str, str]:
        return {**_ENVIRONMENT, **self.env}

    def _run(self, argv: Sequence[str], lookup: Lookup) -> bytes:
        """What the program prints, or a little more than ``output_bytes``; BackendError for all but exit status 0."""
        told = {"user": lookup.username, "client": lookup.client, "verbose": "1" if lookup.verbose else "0"}
        filled = [_PLACEHOLDER.sub(lambda match: told[match[1]], part) for part in argv]
        command = limited(filled, self.cpu_seconds, self.memory_bytes, self.processes)
        environment = self._environment() | {_TOLD[key]: value for key, value in told.items()}
        deadline = min(lookup.deadline, time.monotonic() + self.timeout)
        try:
            said = self._programs.run(command, environment, deadline, self.output_bytes)
        except TimeoutError as error:
            raise BackendError(f"command {argv[0]}: not done in time") from error
        except (OSError, ValueError) as error:
            raise BackendError(f"command {argv[0]}: {error}") from error
        if said.failure:
            raise BackendError(f"command {argv[0]}: {said.failure}")
        return said.output

    def _text(self, output: bytes) -> str:
        return read_text(output) if len(output) <= self.output_bytes else read_cut(output, self.output_bytes)

    def _people(self, output: bytes, at: str | None, username: str) -> tuple[Person, ...]:
        try:
            if len(output) > self.output_bytes:
                raise ValueError("longer than output_bytes")
            return people_of(output, at, self.fields, username)
        except ValueError as error:
            raise BackendError(f"command {self.argv[0]}: {error}") from error


def _from_here(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The same, with a program that is named by a relative path named by its whole one."""
    return (resolve_path(argv[0]) if "/" in argv[0] else argv[0], *argv[1:])
