"""``type: command``: runs a program for each query.

There is no shell. The user's name is one whole argument, and no program is run for a name that begins with ``-``, so
that none can read it as an option (the oldest hole of finger daemons that call finger(1)).
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from fingerd.backends import Backend, Lookup
from fingerd.backends.command.executables import describe_missing, find_program, missing_interpreter
from fingerd.backends.command.interpreters import USER, code_taker
from fingerd.backends.command.process_runner import LIMITER, ProcessRunner, with_limits
from fingerd.config.system_options import resolve_path
from fingerd.config.values import Integer, Seconds, Size, unknown_placeholders
from fingerd.errors import BackendError, OptionError, option_errors
from fingerd.people import Person
from fingerd.people.mapping import check_paths, people_of
from fingerd.text import is_one_of, read_cut, read_text

# All that a program gets of the daemon's environment; a fixed locale, so that answers do not depend on who started it.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)} | {
    name: os.environ[name] for name in ("TZ", "TMPDIR") if name in os.environ
}

_PLACEHOLDER = re.compile(r"\{(user|client|verbose)\}")
_ENV_NAMES = {"user": "FINGER_USER", "client": "FINGER_CLIENT", "verbose": "FINGER_VERBOSE"}  # of the same values


@dataclass(frozen=True)
class Command(Backend):
    """Runs a program for each query.

    In ``argv``, the argument ``{user}`` is replaced by the user's name,
    ``{client}`` by the client's address, and ``{verbose}`` by 1 or 0. With
    ``user_in_arguments``, ``{user}`` may be a part of an argument. Exit status 0 with output is
    the answer, 0 without output is an unknown user, and everything else is a
    failure. ``list_argv`` is run for the list of users. With ``fields`` the
    output is JSON; each field is the path of an atom.
    """

    argv: tuple[str, ...]
    list_argv: tuple[str, ...] | None = None
    timeout: Annotated[float, Seconds(0.1)] = 10
    output_bytes: Annotated[int, Size()] = 256 << 10  # longer output is cut, and the program killed
    names: tuple[str, ...] | None = None  # nothing is asked for any other name; "weather:*" is all that begin so
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)  # may hold secrets
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    people: str | None = None
    list_people: str | None = None
    user_in_arguments: bool = False  # whether {user} may be a part of an argument
    # Each of these three limits costs one exec more per query.
    cpu_seconds: Annotated[int, Integer(0, 86_400, zero_means="no limit")] = 0
    memory_bytes: Annotated[int, Size(0, 1 << 40, zero_means="no limit")] = 0
    processes: Annotated[int, Integer(zero_means="no limit")] = 0
    _runner: ProcessRunner = field(default_factory=ProcessRunner, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for option, argv in {"argv": self.argv, "list_argv": self.list_argv}.items():
            if argv is not None:
                with option_errors(option):
                    self._check_argv(argv)
        for name, value in self.env.items():
            if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or name in _ENV_NAMES.values():
                raise OptionError("is not a name that a variable may have", "env", name)
            if "\0" in value:
                raise OptionError("contains a NUL character", "env", name)
        check_paths(self.fields, self.list_argv is not None, people=self.people, list_people=self.list_people)
        _ = self._argv, self._list_argv  # relative paths are resolved now: the working directory may change

    @cached_property
    def _argv(self) -> Sequence[str]:
        return _with_absolute_program(self.argv)

    @cached_property
    def _list_argv(self) -> Sequence[str]:
        return _with_absolute_program(self.list_argv or ())

    @property
    def depends_on_client(self) -> bool:
        """Whether the arguments contain the client; a program can also read it from its environment."""
        names = ("{client}", _ENV_NAMES["client"])
        return any(name in argument for name in names for argument in (*self.argv, *self._list_argv))

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Return the program's output as a person's text, or its people; raise BackendError on failure or timeout."""
        if lookup.username.startswith("-") or (self.names is not None and not is_one_of(lookup.username, self.names)):
            return ()
        output = self._run(self._argv, lookup)
        if self.fields:
            return self._people(output, self._argv[0], self.people, lookup.username)
        return (Person(lookup.username, self._text(output)),) if output else ()

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """Yield the output of ``list_argv`` as a text, or its people; None without that option."""
        if not self._list_argv:
            return None
        output = self._run(self._list_argv, lookup)
        if self.fields:
            return iter(self._people(output, self._list_argv[0], self.list_people, ""))
        return iter((Person("", self._text(output)),))

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """Yield a message for each program that is not executable below ``root``, or whose interpreter is not."""
        where = f" in {root}" if root != Path("/") else ""
        limiter = with_limits((), self.cpu_seconds, self.memory_bytes, self.processes)
        for program in (argv[0] for argv in (self._argv, self._list_argv, limiter) if argv):
            found = find_program(program, self.env.get("PATH", _ENVIRONMENT["PATH"]), root)
            if not found:
                purpose = ", which sets the limits" if program == LIMITER else ""
                yield f"there is no program {program}{where}{purpose}"
            elif interpreter := missing_interpreter(found, root):
                yield describe_missing(interpreter, program, where)

    def warnings(self) -> Iterator[str]:
        """Yield a message for each word in braces that resembles a placeholder, and each name within an argument."""
        for option, argv in {"argv": self.argv, "list_argv": self._list_argv}.items():
            for number, argument in enumerate(argv[1:], 1):
                yield from unknown_placeholders(argument, tuple(_ENV_NAMES))
                if _has_part(argument):
                    what = f"the client chooses a part of argument {number} of {option}"
                    yield f"user_in_arguments: {what}, which the program may take for code, a path or an option"

    def close(self) -> None:
        """Kill the programs that are running."""
        self._runner.close()

    def _check_argv(self, argv: Sequence[str]) -> None:
        """Raise ValueError for a command that cannot be run, or that a client could change."""
        if not argv or not argv[0]:
            raise ValueError("names no program")
        if len(argv) == 1 and " " in argv[0]:
            raise ValueError('must be a list of arguments, as [finger, "{user}"]')
        if placeholder := _PLACEHOLDER.search(argv[0]):
            raise ValueError(f"{placeholder[0]} may not choose the program")
        if any("\0" in argument for argument in argv):
            raise ValueError("an argument contains a NUL character")
        variable = f"the program finds the name in the variable {_ENV_NAMES['user']}"
        if program := code_taker(argv, self._names_of):
            raise ValueError(f"{program} could take {USER} for code or for a program: remove it; {variable}")
        part = next((number for number, argument in enumerate(argv) if _has_part(argument)), None)
        if part is not None and not self.user_in_arguments:
            how = f"make it an argument of its own, or remove it; {variable}"
            raise ValueError(f"{USER} is only a part of argument {part}: {how} (or set user_in_arguments: true)")

    def _names_of(self, program: str) -> Set[str]:
        """Return the name of the file that a program is, links followed; nothing if it is not found."""
        path = self.env.get("PATH", _ENVIRONMENT["PATH"])
        try:
            found = resolve_path(program) if "/" in program else shutil.which(program, path=path)
            return {os.path.basename(os.path.realpath(found))} if found else set()
        except UnicodeEncodeError:  # half a character, which is in no file name
            return set()

    def _run(self, argv: Sequence[str], lookup: Lookup) -> bytes:
        """Return the program's output, if cut slightly more than ``output_bytes``; raise BackendError on failure."""
        values = {"user": lookup.username, "client": lookup.client, "verbose": "1" if lookup.verbose else "0"}
        arguments = [_PLACEHOLDER.sub(lambda match: values[match[1]], argument) for argument in argv]
        command = with_limits(arguments, self.cpu_seconds, self.memory_bytes, self.processes)
        environment = {**_ENVIRONMENT, **self.env} | {_ENV_NAMES[key]: value for key, value in values.items()}
        deadline = min(lookup.deadline, time.monotonic() + self.timeout)
        try:
            completed = self._runner.run(command, environment, deadline, self.output_bytes)
        except (OSError, ValueError) as error:
            raise BackendError(f"command {argv[0]}: {self._missing_interpreter(argv[0]) or error}") from error
        if completed.failure:
            # prlimit(1), which sets the limits, could not execute the program.
            missing = self._missing_interpreter(argv[0]) if command[0] == LIMITER else ""
            raise BackendError(f"command {argv[0]}: {completed.failure}{missing and ': '}{missing}")
        return completed.output

    def _missing_interpreter(self, program: str) -> str:
        """What is missing to execute a program that exists, in words; empty if nothing is known to be."""
        found = find_program(program, self.env.get("PATH", _ENVIRONMENT["PATH"]), Path("/"))
        interpreter = missing_interpreter(found, Path("/")) if found else None
        return describe_missing(interpreter, program) if interpreter else ""

    def _text(self, output: bytes) -> str:
        return read_text(output) if len(output) <= self.output_bytes else read_cut(output, self.output_bytes)

    def _people(self, output: bytes, program: str, path: str | None, username: str) -> tuple[Person, ...]:
        """Return the people of JSON output, () for empty output; raise BackendError if it is invalid or cut."""
        try:
            if output.strip() and len(output) > self.output_bytes:
                raise ValueError("longer than output_bytes")
            return people_of(output, path, self.fields, username, f"command {program}") if output.strip() else ()
        except ValueError as error:
            raise BackendError(f"command {program}: {error}") from error


def _has_part(argument: str) -> bool:
    """Whether the name would be a part of the argument only."""
    return USER in argument and argument != USER


def _with_absolute_program(argv: Sequence[str]) -> Sequence[str]:
    """Return ``argv``, which may be empty, with an absolute path instead of a relative one to the program."""
    return (resolve_path(argv[0]), *argv[1:]) if argv and "/" in argv[0] else argv
