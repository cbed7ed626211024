"""The files in which people describe themselves: in their homes, and in a directory for hosts with closed homes.

A file is opened with the daemon's own rights and relative to an open directory, and must belong to the person or to
root. A symbolic link is followed in a home only, and to a file of the person only. Whether a person is hidden is
decided before any of their files is read.
"""

import logging
import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from fingerd.people import NOFINGER
from fingerd.safe_files import (
    Dated,
    UnsafeFileError,
    has_entry,
    is_own_file,
    is_safe_name,
    open_directory,
    read_regular,
)

log = logging.getLogger(__name__)

# The atoms that are a file each: .plan in a home, plan in a directory of published plans.
SHORT_ATOMS = ("plan", "project", "pronouns")
FILE_ATOMS = (*SHORT_ATOMS, "pgpkey", "pubkey", "forward", "links")

AT_HOME = {atom: f".{atom}" for atom in FILE_ATOMS if atom != "links"}  # ~/.links is the web browser's of this name
PUBLISHED = {atom: atom for atom in FILE_ATOMS}
_NO_HOMES = ("/nonexistent/", "/dev/null/", "/var/empty/")  # passwd's homes of accounts without one; others are missing


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory with files of one person, open for one call of ``Homes.read``."""

    is_shown: bool | None  # None if it does not exist or cannot be searched, so it may contain a nofinger file
    directory: int = -1  # its descriptor
    names: Mapping[str, str] = field(default_factory=dict)  # of its files, by atom
    has_links: bool = False  # whether a file may be a symbolic link to another one of the person


_NO_PLACE = _Place(True)


@dataclass(frozen=True, slots=True)
class Homes:
    """Reads people's files: those in homes, if ``homes`` is true, and those below the directory ``plans``, if set."""

    homes: bool
    plans: str | None
    file_bytes: int

    def read(self, login: str, uid: int, home: str, atoms: Collection[str]) -> Mapping[str, Dated[str]] | None:
        """Those of the atoms for which the person has a file; None for a hidden person. OSError if the host fails."""
        with ExitStack() as opened:
            published = self._open_published(login, uid, opened)
            if not published.is_shown:
                return None
            at_home = self._open_home(home, opened)
            is_shown = at_home.is_shown
            if is_shown is None:  # its disk may not be mounted: then published files show the person
                is_shown = any(is_own_file(name, published.directory, uid) for name in published.names.values())
            if not is_shown:
                return None
            return self._read_files(at_home, uid, atoms) | self._read_files(published, uid, atoms)

    def _open_home(self, home: str, opened: ExitStack) -> _Place:
        if not self.homes or not is_home(home):
            return _NO_PLACE
        try:
            directory = _open(home, None, opened)
        except UnsafeFileError:
            directory = None
        if directory is None or (is_hidden := has_entry(NOFINGER, directory)) is None:
            return _Place(None)
        return _Place(not is_hidden, directory, AT_HOME, has_links=True)

    def _open_published(self, login: str, uid: int, opened: ExitStack) -> _Place:
        """The directory LOGIN below ``plans``, unless another user's; or ``plans``, where the file LOGIN is a plan."""
        if self.plans is None or not is_safe_name(login):
            return _NO_PLACE
        try:
            plans = _open(self.plans, None, opened)
            own = None if plans is None else _open(login, plans, opened)
        except UnsafeFileError:  # it cannot be searched
            return _Place(False)
        if plans is None:
            return _NO_PLACE
        if own is None:
            return _Place(True, plans, {"plan": login})
        if os.fstat(own).st_uid not in (0, uid):
            return _NO_PLACE
        return _Place(has_entry(NOFINGER, own) is False, own, PUBLISHED)

    def _read_files(self, place: _Place, uid: int, atoms: Collection[str]) -> dict[str, Dated[str]]:
        files = {atom: self._read(place.names[atom], place, uid) for atom in atoms if atom in place.names}
        return {atom: file for atom, file in files.items() if file is not None}

    def _read(self, name: str, place: _Place, uid: int) -> Dated[str] | None:
        try:
            return read_regular(name, place.directory, self.file_bytes, uid, follow=place.has_links)
        except UnsafeFileError as error:
            log.debug("file of uid %d ignored: %s", uid, error)
            return None


def is_home(home: str) -> bool:
    """Whether the home of an account means a directory: passwd has other paths for accounts without one."""
    return home.startswith("/") and not f"{home}/".startswith(_NO_HOMES)


def _open(path: str, dir_fd: int | None, opened: ExitStack) -> int | None:
    """As ``open_directory``; ``opened`` closes the descriptor."""
    directory = open_directory(path, dir_fd, for_listing=False)
    if directory is not None:
        opened.callback(os.close, directory)
    return directory
