"""``type: files``: a directory of people, who need no account. A name can only mean an entry of the directory."""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.config.system_options import read_path
from fingerd.config.values import Size
from fingerd.errors import BackendError
from fingerd.net.own_names import is_own_name
from fingerd.people import MAX_MATCHES, MULTILINE_ATOMS, NOFINGER, TEXT_ATOMS, Person, Record
from fingerd.protocol.query import is_queryable
from fingerd.safe_files import (
    Dated,
    UnsafeFileError,
    has_entry,
    irregularity,
    is_safe_name,
    open_directory,
    read_regular,
    writable_by_others,
)
from fingerd.text import to_nfc

log = logging.getLogger(__name__)

PLAN_SUFFIX = ".txt"

MAX_REFUSALS = 1000  # refused entries that are logged, each once until a reload
ABSENT = ".absent"  # looked up where a call is made for its time alone: no login begins with a dot
NO_NOFINGER = (ABSENT,) * len(NOFINGER)
MAX_SPELLINGS = 2  # of one login in the directory; with more, the person is hidden

Spellings = Mapping[str, Sequence[str]]  # the names that the directory has for each login, which is in NFC

_LIST_ATOMS = ("name", "office", "office_phone", "job")


@dataclass(frozen=True)
class Files(Backend):
    """A directory of people: NAME.txt with a plan, or NAME/ with name, office, project, plan and so on.

    A file ``nofinger`` or ``.nofinger`` in NAME/ hides the person. A change is visible after at most one second,
    without a reload.
    """

    repeatable_seconds: ClassVar[float] = 1.0
    searches_names: ClassVar[bool] = True

    folder: Annotated[str, read_path]
    file_bytes: Annotated[int, Size()] = 64 << 10  # of each file; a longer one is cut

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person with this login and, with ``by_name``, those whose full name matches."""
        with self._open() as directory:
            login = to_nfc(lookup.username)
            logins = [login] if is_safe_name(login) else []
            spellings: Spellings = {}
            if lookup.by_name:
                spellings = _spellings(directory, _is_queryable(lookup))
                names = self._list(directory, spellings, ("name",), lookup, "searched")
                matches = (person.login for person in names if person.matches_name(login))
                logins += islice(matches, MAX_MATCHES)
            elif logins and not login.isascii():
                spellings = _spellings(directory, login.__eq__)
            found = (self._find(directory, login, spellings.get(login, (login,))) for login in dict.fromkeys(logins))
            return [person for person in found if person]

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """All people, sorted by login."""
        with self._open() as directory:
            yield from self._list(
                directory, _spellings(directory, _is_queryable(lookup)), _LIST_ATOMS, lookup, "listed"
            )

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

    def _list(
        self, directory: int, spellings: Spellings, atoms: Collection[str], lookup: Lookup, done: str
    ) -> Iterator[Person]:
        """All people with these atoms, sorted by login; raises BackendError at the deadline."""
        for login, names in sorted(spellings.items()):
            if time.monotonic() >= lookup.deadline:
                raise BackendError(f"files {self.folder}: not {done} in time")
            if len(names) > 1 and self._is_hidden_by_another(directory, login, names):
                continue
            if person := self._person(directory, login, names[0], atoms, is_single=False):
                yield person

    def _find(self, directory: int, login: str, names: Sequence[str]) -> Person | None:
        """The person with all atoms, from the first of the names that the directory has for the login; None as below.

        An unknown person costs the same system calls however many names there are.
        """
        if login.isascii():  # which has one spelling
            return self._person(directory, login, login, TEXT_ATOMS)
        is_hidden = self._is_hidden_by_another(directory, login, names)
        person = self._person(directory, login, ABSENT if is_hidden else names[0], TEXT_ATOMS)
        return None if is_hidden else person

    def _is_hidden_by_another(self, directory: int, login: str, names: Sequence[str]) -> bool:
        """Whether another one of these spellings than the first hides the person. All names cost the same calls."""
        if len(names) > 1:
            self._refusals.log(self.folder, f"{len(names)} spellings of the one name {login}")
        own, is_hidden = None, len(names) > MAX_SPELLINGS
        try:
            own = open_directory(names[1] if len(names) > 1 else ABSENT, directory)
        except UnsafeFileError as error:
            self._refusals.log(self.folder, error)
            is_hidden = True
        spare = open_directory("." if own is None else ABSENT, directory)
        try:
            if own is None:
                has_entry(NO_NOFINGER, directory)
            elif has_entry(NOFINGER, own) is not False:  # hidden too if that cannot be checked
                is_hidden = True
        finally:
            _close(own)
            _close(spare)
        return is_hidden

    def _person(
        self, directory: int, login: str, name: str, atoms: Collection[str], is_single: bool = True
    ) -> Person | None:
        """The person with those of the atoms that have a file; None if unknown or hidden. ``name`` is the entry's.

        With ``is_single``, all unknown people cost the same system calls: absent ones, hidden ones, and those whose
        entry is closed, a link or no file. A call that one of them does not need is made with ABSENT or the directory,
        after it is known that the person is none of the others.
        """
        own, plan_name = None, f"{name}{PLAN_SUFFIX}"
        try:
            own = open_directory(name, directory)
        except UnsafeFileError as error:
            self._refusals.log(self.folder, error)
            plan_name = ABSENT
        try:
            if own is not None:
                if has_entry(NOFINGER, own) is False:  # hidden too if that cannot be checked
                    return self._read_record(own, login, name, atoms)
                plan_name = ABSENT
            limit = self.file_bytes if "plan" in atoms else 0
            if is_single and (reason := irregularity(plan_name, directory)) is not None:
                if reason:
                    self._refusals.log(self.folder, f"{plan_name}: {reason}")
                plan_name = ABSENT  # not opened: closing it would take another system call
            plan = self._read(plan_name, directory, self.folder, limit)
            if plan is not None and limit:
                return Person.from_record(login, Record(plan=plan.content), plan.changed)
            if plan is not None:
                return Person.from_record(login, Record())
            if is_single:
                if own is None:
                    has_entry(NO_NOFINGER, directory)
                _close(open_directory(ABSENT if own is not None else ".", directory))
            return None
        finally:
            _close(own)

    def _read_record(self, own: int, login: str, name: str, atoms: Collection[str]) -> Person:
        found = {atom: self._read(atom, own, f"{self.folder}/{name}", self.file_bytes) for atom in atoms}
        texts = {atom: file.content for atom, file in found.items() if file}
        values = {atom: text if atom in MULTILINE_ATOMS else text.strip() for atom, text in texts.items()}
        plan = found.get("plan")
        return Person.from_record(login, Record(**values), plan.changed if plan else None)

    def _read(self, name: str, directory: int, path: str, limit: int) -> Dated[str] | None:
        try:
            return read_regular(name, directory, limit)
        except UnsafeFileError as error:
            self._refusals.log(path, error)
            return None

    @cached_property
    def _refusals(self) -> "_Refusals":
        return _Refusals()


class _Refusals:
    """Logs each refused entry once, until the reason changes or the configuration is reloaded.

    A line for each query would cost time, by which the client could tell a refused entry from an absent one.
    """

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log(self, path: str, refusal: object) -> None:
        """Log that an entry of the directory was refused, and why."""
        message = f"{path}: {refusal}"
        if message in self._logged or len(self._logged) >= MAX_REFUSALS:
            return
        self._logged.add(message)
        log.info("files: in %s", message)
        if len(self._logged) == MAX_REFUSALS:
            log.info("files: further refused entries are not logged until the next reload")


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _is_queryable(lookup: Lookup) -> Callable[[str], bool]:
    return partial(is_queryable, is_own_host=partial(is_own_name, names=lookup.hosts))


def _spellings(directory: int, is_wanted: Callable[[str], bool]) -> Spellings:
    """The names that the directory has for each wanted login; of several, NFC comes first."""
    with os.scandir(directory) as entries:
        names = {
            entry.name if entry.is_dir(follow_symlinks=False) else entry.name.removesuffix(PLAN_SUFFIX)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or entry.name.endswith(PLAN_SUFFIX)
        }
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(names, key=lambda name: (name != to_nfc(name), name)):
        login = to_nfc(name)
        if login.isascii() and name != login:  # as U+212A, which is a K: for ASCII logins the directory is not searched
            continue
        if is_safe_name(login) and is_wanted(login):
            found[login] = (*found.get(login, ()), name)
    return found
