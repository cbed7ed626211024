"""Finds the files of a person, where the daemon looks for them and in its order. Nobody is created."""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from fingerd.backends.files import PLAN_SUFFIX, Files
from fingerd.backends.system import System
from fingerd.backends.system.accounts import Account, Accounts
from fingerd.backends.system.homes import AT_HOME, PUBLISHED, is_home
from fingerd.errors import ConfigError
from fingerd.people import NOFINGER, TEXT_ATOMS
from fingerd.plans.configuration import PlanConfig
from fingerd.plans.errors import NotAllowedError, UnknownPersonError, UsageError
from fingerd.safe_files import UnsafeFileError, is_safe_name, open_directory
from fingerd.text import is_text, spellings, to_nfc

MAX_NAME_BYTES = 255 - len(PLAN_SUFFIX)  # of a file on Linux


@dataclass(frozen=True, slots=True)
class Place:
    """An open directory with files of one person; ``names`` has a file for each field that may be there."""

    path: str  # for messages
    directory: int  # its descriptor
    names: Mapping[str, str]
    is_shared: bool = False  # the directory is that of all people: the person is one file in it
    is_public: bool = True  # whether other users may enter it, and so the daemon

    def path_of(self, name: str) -> str:
        """The path of a file, for messages."""
        return f"{self.path}/{name}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A person's files, open for one operation. Of the places the daemon takes the first that has a field."""

    login: str
    places: tuple[Place, ...]
    max_bytes: int  # of each file that the daemon reads
    hiding_name: str = ""  # of the directory beside the person's one file that hides the person


def check_name(name: str) -> str:
    """The name of a person in NFC; UsageError if it cannot be the name of a file."""
    if not is_safe_name(name) or not is_text(name) or len(name.encode()) > MAX_NAME_BYTES:
        raise UsageError(f"{name!r} cannot be a person: it cannot be the name of a file")
    return to_nfc(name)


@contextlib.contextmanager
def open_entry(config: PlanConfig, name: str) -> Iterator[Entry]:
    """The person of this name; UnknownPersonError if there is none, NotAllowedError if this user may not look."""
    login = check_name(name)
    with ExitStack() as opened:
        try:
            if isinstance(config.backend, Files):
                yield _in_files(config.backend, login, opened)
            else:
                yield _of_account(config.backend, login, opened)
        except UnsafeFileError as error:
            raise NotAllowedError(str(error)) from error


def _in_files(backend: Files, login: str, opened: ExitStack) -> Entry:
    folder = _open(backend.folder, None, opened, for_listing=False)
    if folder is None:
        raise ConfigError([f"there is no directory {backend.folder}"])
    for name in spellings(login):
        path, file = f"{backend.folder}/{name}", f"{name}{PLAN_SUFFIX}"
        own = _open_own(path, name, folder, opened)
        has_file = _mode(file, folder) is not None
        if own is not None and not (has_file and _only_hides(own)):
            return Entry(login, (Place(path, own, {atom: atom for atom in TEXT_ATOMS}),), backend.file_bytes)
        if has_file:
            shared = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            opened.callback(os.close, shared)
            place = Place(backend.folder, shared, {"plan": file}, is_shared=True)
            return Entry(login, (place,), backend.file_bytes, hiding_name=name)
    raise UnknownPersonError(f"there is no {login} in {backend.folder}, and only the administrator can change that")


def _only_hides(directory: int) -> bool:
    """Whether the directory has nothing but files that hide the person, who is one file beside it."""
    names = os.listdir(directory)
    return bool(names) and set(names) <= set(NOFINGER)


def _of_account(backend: System, login: str, opened: ExitStack) -> Entry:
    account = Accounts(backend.min_uid, backend.also).find(login)
    if account is None:
        raise UnknownPersonError(f"there is no account {login} that the finger daemon shows")
    if os.geteuid() not in (0, account.uid):
        raise NotAllowedError(f"only {account.login} and root can change the entry of {account.login}")
    found = [_published(backend, account, opened), _at_home(backend, account, opened)]
    places = tuple(place for place in found if place)
    if not places:
        where = f" in {backend.plans}" if backend.plans else ""
        raise UnknownPersonError(f"{account.login} has no directory{where}, and only the administrator can change that")
    return Entry(account.login, places, backend.file_bytes)


def _published(backend: System, account: Account, opened: ExitStack) -> Place | None:
    """What the account has in the directory of published plans: a directory, or a file with the plan."""
    plans = _open(backend.plans, None, opened, for_listing=False) if backend.plans else None
    if plans is None or not is_safe_name(account.login):
        return None
    path = f"{backend.plans}/{account.login}"
    own = _open_own(path, account.login, plans, opened)
    if own is not None:
        return _checked(Place(path, own, PUBLISHED), account)
    if _mode(account.login, plans) is None:
        return None
    shared = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=plans)
    opened.callback(os.close, shared)
    return Place(str(backend.plans), shared, {"plan": account.login}, is_shared=True)


def _at_home(backend: System, account: Account, opened: ExitStack) -> Place | None:
    if not backend.homes or not is_home(account.home):
        return None
    home = _open(account.home, None, opened)
    if home is None:
        return None
    is_public = bool(os.fstat(home).st_mode & stat.S_IXOTH)
    return _checked(Place(account.home, home, AT_HOME, is_public=is_public), account)


def _checked(place: Place, account: Account) -> Place:
    """The place; NotAllowedError if another user owns it, whose files the daemon would leave out."""
    if (owner := os.fstat(place.directory).st_uid) not in (0, account.uid):
        raise NotAllowedError(f"{place.path} belongs to uid {owner}, and not to {account.login}")
    return place


def _open_own(path: str, name: str, parent: int, opened: ExitStack) -> int | None:
    """The directory ``name``, open; None if there is no directory of this name. NotAllowedError for a link."""
    mode = _mode(name, parent)
    if mode is not None and stat.S_ISLNK(mode):
        raise NotAllowedError(f"{path} is a symbolic link to {os.readlink(name, dir_fd=parent)}")
    return _open(name, parent, opened) if mode is not None and stat.S_ISDIR(mode) else None


def _open(path: str, parent: int | None, opened: ExitStack, *, for_listing: bool = True) -> int | None:
    directory = open_directory(path, parent, for_listing)
    if directory is not None:
        opened.callback(os.close, directory)
    return directory


def _mode(name: str, directory: int) -> int | None:
    """The mode of an entry, None if it is missing; NotAllowedError if the directory cannot be searched."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise NotAllowedError(f"{name}: {error.strerror}") from error
