"""Backends of another package, as a test installs them."""

import os
from pathlib import Path

RUDE = '''\
"""A backend that raises, where its options say, what only the interpreter should."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fingerd.backends import Backend, Lookup, Person


class Odd(BaseException):
    """An exception of its own."""


ERRORS = {
    "exit": SystemExit(0),
    "interrupt": KeyboardInterrupt(),
    "close": GeneratorExit(),
    "cancel": asyncio.CancelledError(),
    "odd": Odd("a secret"),
    "bug": ZeroDivisionError("a secret"),
}


@dataclass(frozen=True)
class Rude(Backend):
    """Raises an error: where ``where`` says; or for the name ``find``, or in the list, by the client's address."""

    where: Literal[
        "nowhere", "init", "blocking", "repeatable_seconds", "searches_names", "depends_on_client", "reads",
        "warnings", "missing", "close",
    ] = "nowhere"
    error: Literal["exit", "interrupt", "close", "cancel", "odd", "bug"] = "exit"
    waits: bool = False
    closed: str = ""

    def _at(self, place: str) -> None:
        if self.where == place:
            raise ERRORS[self.error]

    def __post_init__(self) -> None:
        self._at("init")

    @property
    def blocking(self) -> bool:
        self._at("blocking")
        return self.waits

    @property
    def repeatable_seconds(self) -> float:
        self._at("repeatable_seconds")
        return 0.0

    @property
    def searches_names(self) -> bool:
        self._at("searches_names")
        return True

    @property
    def depends_on_client(self) -> bool:
        self._at("depends_on_client")
        return False

    @property
    def reads(self) -> str:
        self._at("reads")
        return "query"

    def find(self, lookup: Lookup) -> Sequence[Person]:
        if lookup.username == "find":
            raise _error_for(lookup)
        return (Person(lookup.username, "here"),) if lookup.username == "alice" else ()

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        if not lookup.verbose:
            raise _error_for(lookup)
        return self._people(lookup)

    def _people(self, lookup: Lookup) -> Iterator[Person]:
        yield Person("alice", "here")
        raise _error_for(lookup)

    def warnings(self) -> Iterator[str]:
        self._at("warnings")
        return iter(())

    def missing_requirements(self, root: Path) -> Iterator[str]:
        self._at("missing")
        return iter(())

    def close(self) -> None:
        if self.closed:
            with open(self.closed, "a") as file:
                file.write("closed\\n")
        self._at("close")


def _error_for(lookup: Lookup) -> BaseException:
    return [*ERRORS.values()][int(lookup.client.rpartition(".")[2]) - 2]
'''
RUDE_ERRORS = ("exit", "interrupt", "close", "cancel", "odd", "bug")


def install_backend(folder: Path, name: str, source: str) -> str:
    """Make the module ``name`` with a backend of that name a package in the folder; returns PYTHONPATH with it."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"fingerd_{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fingerd-{name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[fingerd.backends]\n{name} = {name}:{name.capitalize()}\n")
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


MORTAL = '''\
"""A backend that logs when it is freed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from fingerd.backends import Backend, Lookup, Person

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mortal(Backend):
    """Knows everybody."""

    answer: str

    def find(self, lookup: Lookup) -> Sequence[Person]:
        return (Person(lookup.username, self.answer),)

    def __del__(self) -> None:
        log.warning("%s is freed", self.answer)
'''
