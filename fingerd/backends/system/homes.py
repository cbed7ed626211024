"""What people write of themselves: files in their homes, and in a folder for hosts whose homes are closed.

Everything is opened with the daemon's own rights, below a folder that is
already open, and no link is followed. A file belongs to the person or to root.
Whoever is hidden is seen to be so before anything of theirs is read.
"""

import logging
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fingerd.safe_files import RESOURCE_ERRNOS, UnsafeFileError, is_safe_name, open_directory, read_regular

log = logging.getLogger(__name__)

# The atoms that are a file each: .plan in a home, plan in a folder of the person's own.
SHORT = ("plan", "project", "pronouns")
TEXTS = (*SHORT, "pgpkey", "pubkey", "forward")
HIDDEN = "nofinger"
NO_HOMES = ("/nonexistent", "/dev/null", "/var/empty")  # what passwd says of accounts without one; else it is missing

_NO_HOMES = tuple(f"{path}/" for path in NO_HOMES)


class _HiddenError(Exception):
    """The person is not to be told of."""


@dataclass(frozen=True, slots=True)
class Homes:
    """Where people write: in their homes, if ``homes`` says so, and below the folder ``plans``, if there is one."""

    homes: bool
    plans: str | None
    file_bytes: int

    def read(self, login: str, uid: int, home: str, atoms: Sequence[str]) -> Mapping[str, str] | None:
        """These texts of a person, as far as there are any; None for somebody who wants to be hidden.

        Where a home cannot be looked into, or is not there, nobody knows
        whether it has a ``.nofinger``. So the person is hidden, unless they
        have published something for this daemon in the folder ``plans``.
        OSError where the host fails.
        """
        try:
            with self._published(login, uid) as own, self._home(home) as (at_home, is_hidden):
                if is_hidden or (is_hidden is None and not self._has_published(login, uid, own)):
                    return None
                return self._texts(at_home, ".", uid, atoms) | self._published_texts(login, uid, own, atoms)
        except _HiddenError:
            return None

    @contextmanager
    def _home(self, home: str) -> Iterator[tuple[int | None, bool | None]]:
        """The home, open, if it is to be read; and whether it has a ``.nofinger``, None where nobody knows."""
        if not self.homes or not home.startswith("/") or f"{home}/".startswith(_NO_HOMES):
            yield None, False
            return
        try:
            folder = open_directory(home, for_listing=False)
        except UnsafeFileError:
            folder = None
        try:
            there = None if folder is None else _is_there(f".{HIDDEN}", folder)
            yield None if there is None else folder, there
        finally:
            if folder is not None:
                os.close(folder)

    @contextmanager
    def _published(self, login: str, uid: int) -> Iterator["_Own | None"]:
        """Where the person publishes, open; None without a folder for it."""
        if self.plans is None or not is_safe_name(login):
            yield None
            return
        try:
            plans = open_directory(self.plans, for_listing=False)
        except UnsafeFileError:
            raise _HiddenError from None
        own = None
        try:
            try:
                own = None if plans is None else open_directory(login, plans, for_listing=False)
            except UnsafeFileError:
                raise _HiddenError from None
            if own is not None and os.fstat(own).st_uid not in (0, uid):
                yield _Own(None, None)
                return
            if own is not None and _is_there(HIDDEN, own) is not False:
                raise _HiddenError
            yield _Own(plans, own)
        finally:
            for folder in (own, plans):
                if folder is not None:
                    os.close(folder)

    def _has_published(self, login: str, uid: int, own: "_Own | None") -> bool:
        if own is None or own.plans is None:
            return False
        if own.folder is None:
            return _is_told(login, own.plans, uid)
        return any(_is_told(atom, own.folder, uid) for atom in TEXTS)

    def _published_texts(self, login: str, uid: int, own: "_Own | None", atoms: Sequence[str]) -> dict[str, str]:
        if own is None or own.plans is None:
            return {}
        if own.folder is not None:
            return self._texts(own.folder, "", uid, atoms)
        plan = self._text(login, own.plans, uid) if "plan" in atoms else None
        return {} if plan is None else {"plan": plan}

    def _texts(self, folder: int | None, before: str, uid: int, atoms: Sequence[str]) -> dict[str, str]:
        if folder is None:
            return {}
        texts = {atom: self._text(before + atom, folder, uid) for atom in atoms}
        return {atom: text for atom, text in texts.items() if text is not None}

    def _text(self, name: str, folder: int, uid: int) -> str | None:
        try:
            return read_regular(name, folder, self.file_bytes, owner=uid)
        except UnsafeFileError as error:
            log.debug("not told of uid %d: %s", uid, error)
            return None


@dataclass(frozen=True, slots=True)
class _Own:
    """Where a person publishes, as descriptors: in a folder of their own, or else in a file of the folder of all."""

    plans: int | None
    folder: int | None


def _is_there(name: str, folder: int) -> bool | None:
    """Whether there is anything of this name, a broken link too; None where the folder cannot be looked into."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in RESOURCE_ERRNOS:
            raise
        return None
    return True


def _is_told(name: str, folder: int, uid: int) -> bool:
    """Whether there is a file of the person's."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in RESOURCE_ERRNOS:
            raise
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid in (0, uid)
