"""Converters for options about this system: users, groups, permission bits, paths, and secrets in files."""

import grp
import os
import pwd
import re
import stat
from dataclasses import dataclass, field
from typing import Annotated

from fingerd.config.values import Scalar, named, to_text
from fingerd.safe_files import decode_strictly, read_named


@dataclass(frozen=True, slots=True)
class User:
    """An account; ``name`` is empty for a uid without one."""

    name: str
    uid: int
    gid: int


_base: str | None = ""  # the directory of relative paths; empty: the working directory; None: there is none


def remember_cwd() -> None:
    """Resolve relative paths from the present working directory, even after the process has changed it."""
    global _base
    try:
        _base = os.getcwd()
    except OSError:  # it was deleted
        _base = None


def resolve_path(path: str) -> str:
    """The absolute path; a relative one starts at the directory of ``remember_cwd``, ValueError if that is gone."""
    try:
        if _base is not None or os.path.isabs(path):
            return os.path.abspath(os.path.join(_base or "", path))
    except OSError:  # without ``remember_cwd``
        pass
    raise ValueError(f"{path} is a relative path, and the working directory was deleted")


_ACCOUNT = "a name or a number"
_IDS = range((1 << 32) - 1)  # not the last one: -1 means "no change" to chown(2) and setresuid(2)


def _parse_id(scalar: Scalar) -> int | None:
    """The uid or gid in decimal digits, None for a name; ValueError for a number out of range."""
    if not re.fullmatch("0|[1-9][0-9]{0,9}", scalar.text):
        return None
    if int(scalar.text) not in _IDS:
        raise ValueError(f"{scalar.text} is not a valid uid or gid")
    return int(scalar.text)


def _printable(scalar: Scalar, form: str) -> str:
    text = to_text(scalar)
    if not text or not text.isprintable():
        raise ValueError(f"must be {form}")
    return text


@named("user")
def read_user(scalar: Scalar) -> User:
    """The user with this name or number; ValueError for an unknown name."""
    number = _parse_id(scalar)
    try:
        account = pwd.getpwuid(number) if number is not None else pwd.getpwnam(_printable(scalar, _ACCOUNT))
    except KeyError:
        if number is None:
            raise ValueError(f"there is no user {scalar.text}") from None
        return User("", number, number)
    return User(account.pw_name, account.pw_uid, account.pw_gid)


@named("group")
def read_group(scalar: Scalar) -> int:
    """The gid of the group with this name or number; ValueError for an unknown name."""
    number = _parse_id(scalar)
    try:
        return grp.getgrnam(_printable(scalar, _ACCOUNT)).gr_gid if number is None else number
    except KeyError:
        raise ValueError(f"there is no group {scalar.text}") from None


@named("mode")
def read_mode(scalar: Scalar) -> int:
    """Permission bits from octal digits in quotes: without quotes, YAML reads 0660 and 660 as other numbers."""
    digits = re.fullmatch("(?:0o)?([0-7]{1,4})", scalar.text)
    if not digits:
        raise ValueError('must be octal digits, as "027"')
    if not scalar.quoted:
        raise ValueError(f'must be octal digits in quotes: "{digits[1]}"')
    return int(digits[1], 8)


@named("path")
def read_path(scalar: Scalar) -> str:
    """An absolute path; ValueError for an empty text or control characters."""
    return resolve_path(_printable(scalar, "a path"))


@named("path")
def read_directory(scalar: Scalar) -> str:
    """The absolute path of a directory; ValueError if it does not exist."""
    path = read_path(scalar)
    if not os.path.isdir(path):
        raise ValueError(f"there is no directory {path}")
    return path


@named("path")
def read_file(scalar: Scalar) -> str:
    """The absolute path of a file, which need not exist; ValueError for a directory, or if its directory is missing."""
    path = read_path(scalar)
    if os.path.isdir(path):
        raise ValueError(f"{path} is a directory, not a file")
    if not os.path.isdir(directory := os.path.dirname(path)):
        raise ValueError(f"there is no directory {directory}")
    return path


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that ``repr`` does not show, so that it reaches no log, message or traceback by accident.

    ``exposure`` says which other users may read or change the file that it is from; it is empty if none may.
    """

    text: str = field(repr=False)
    exposure: str = field(default="", compare=False, repr=False)


@named("path")
def read_secret(scalar: Scalar) -> Secret:
    """The first line of the file at this path, without a byte order mark; ValueError if unreadable, or empty."""
    path = read_path(scalar)
    try:
        line = decode_strictly(read_named(path).content).partition("\n")[0].rstrip("\r")
        exposure = _exposure(path, os.stat(path).st_mode, os.stat(os.path.dirname(path)).st_mode)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    if not line:
        raise ValueError(f"{path}: the first line is empty")
    return Secret(line, exposure)


def _exposure(path: str, mode: int, directory_mode: int) -> str:
    """What every user may do with a file of a secret, by its permission bits; empty if nothing."""
    granted = [word for bit, word in ((stat.S_IROTH, "read"), (stat.S_IWOTH, "change")) if mode & bit]
    if directory_mode & stat.S_IWOTH and not directory_mode & stat.S_ISVTX:
        granted.append("replace")
    return f"every user may {' and '.join(granted)} {path}, which holds a secret" if granted else ""


SecretFile = Annotated[Secret, read_secret]
