"""``type: files``: a directory of people, who need no account. A name can only mean an entry of the directory."""

import logging
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.config.system_options import read_path
from fingerd.config.values import Size
from fingerd.errors import BackendError
from fingerd.people import MAX_MATCHES, NOFINGER, TEXT_ATOMS, Person, Record
from fingerd.protocol.query import is_queryable
from fingerd.safe_files import (
    UnsafeFileError,
    entry_exists,
    is_safe_name,
    open_directory,
    read_regular,
    writable_by_others,
)

log = logging.getLogger(__name__)

PLAN_SUFFIX = ".txt"

_LIST_ATOMS = ("name", "office", "office_phone", "job")
_MULTILINE_ATOMS = ("project", "plan", "pgpkey", "pubkey")  # which keep their leading and trailing space


@dataclass(frozen=True)
class Files(Backend):
    """A directory of people: NAME.txt with a plan, or NAME/ with name, office, project, plan and so on.

    A file ``nofinger`` in NAME/ hides the person. A change is visible after at most one second, without a reload.
    """

    repeatable_seconds: ClassVar[float] = 1.0
    searches_names: ClassVar[bool] = True

    folder: Annotated[str, read_path]
    file_bytes: Annotated[int, Size()] = 64 << 10  # of each file; a longer one is cut

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person with this login and, with ``by_name``, those whose full name matches."""
        with self._open() as directory:
            logins = [lookup.username] if is_safe_name(lookup.username) else []
            if lookup.by_name:
                names = self._list(directory, ("name",), lookup, "searched")
                matches = (person.login for person in names if person.matches_name(lookup.username))
                logins += islice(matches, MAX_MATCHES)
            found = (self._person(directory, login, TEXT_ATOMS) for login in dict.fromkeys(logins))
            return [person for person in found if person]

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """All people, sorted by login."""
        with self._open() as directory:
            yield from self._list(directory, _LIST_ATOMS, lookup, "listed")

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """A message if the directory does not exist below ``root``, or this process cannot read it."""
        if not (path := root / self.folder.lstrip("/")).is_dir():
            yield f"there is no directory {path}"
        elif not os.access(path, os.R_OK | os.X_OK):
            yield f"the directory {path} is not readable by uid {os.getuid()}"

    def warnings(self) -> Iterator[str]:
        """A message if others may replace the directory, as by a link."""
        yield from writable_by_others(self.folder, itself=False)

    @contextmanager
    def _open(self) -> Iterator[int]:
        """The open directory; raises BackendError if it cannot be opened, or if the host fails while it is in use."""
        try:
            directory = open_directory(self.folder)
            if directory is None:
                raise BackendError(f"files {self.folder}: there is no such directory")
            try:
                yield directory
            finally:
                os.close(directory)
        except UnsafeFileError as error:
            raise BackendError(f"files {error}") from error
        except OSError as error:
            raise BackendError(f"files {self.folder}: {error.strerror}") from error

    def _list(self, directory: int, atoms: Collection[str], lookup: Lookup, done: str) -> Iterator[Person]:
        """All people with these atoms, sorted by login; raises BackendError at the deadline."""
        for login in _logins(directory):
            if time.monotonic() >= lookup.deadline:
                raise BackendError(f"files {self.folder}: not {done} in time")
            if person := self._person(directory, login, atoms):
                yield person

    def _person(self, directory: int, login: str, atoms: Collection[str]) -> Person | None:
        """The person with those of the atoms that have a file; None if unknown or hidden."""
        try:
            own = open_directory(login, directory)
        except UnsafeFileError as error:
            log.info("files: in %s: %s", self.folder, error)
            return None
        if own is None:
            limit = self.file_bytes if "plan" in atoms else 0
            plan = self._read(f"{login}{PLAN_SUFFIX}", directory, self.folder, limit)
            return None if plan is None else Person.from_record(login, Record(plan=plan if limit else ""))
        try:
            if entry_exists(NOFINGER, own) is not False:  # hidden too if that cannot be checked
                return None
            texts = {atom: self._read(atom, own, f"{self.folder}/{login}", self.file_bytes) for atom in atoms}
        finally:
            os.close(own)
        values = {atom: text if atom in _MULTILINE_ATOMS else text.strip() for atom, text in texts.items() if text}
        return Person.from_record(login, Record(**values))

    def _read(self, name: str, directory: int, path: str, limit: int) -> str | None:
        try:
            return read_regular(name, directory, limit)
        except UnsafeFileError as error:
            log.info("files: in %s: %s", path, error)
            return None


def _logins(directory: int) -> Iterator[str]:
    """The logins of all people in the directory, sorted and unique."""
    with os.scandir(directory) as entries:
        names = {
            entry.name if entry.is_dir(follow_symlinks=False) else entry.name.removesuffix(PLAN_SUFFIX)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or entry.name.endswith(PLAN_SUFFIX)
        }
    return iter(sorted(name for name in names if is_safe_name(name) and is_queryable(name)))
