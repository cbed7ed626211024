"""Options that name something of this host: users, groups, directories, files, permission bits, passwords in files."""

import grp
import os
import pwd
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fingerd.config.values import Scalar, to_text


@dataclass(frozen=True, slots=True)
class User:
    """An account; ``name`` is empty for a uid that has none."""

    name: str
    uid: int
    gid: int


_started_in = ""  # where relative paths begin; nothing: wherever the process is


def remember_cwd() -> None:
    """Let relative paths begin in the working directory of now, wherever the process goes."""
    global _started_in
    _started_in = os.getcwd()


def resolve_path(path: str) -> str:
    """The path from the root directory on."""
    return os.path.abspath(os.path.join(_started_in, path))


_IDS = range((1 << 32) - 1)  # the last one means "leave it as it is" to the kernel


def _number(scalar: Scalar) -> int | None:
    """The id that the digits spell, None for a name; ValueError for digits that YAML reads as another number."""
    if not re.fullmatch("0|[1-9][0-9]{0,9}", scalar.text):
        return None
    if int(scalar.text) not in _IDS:
        raise ValueError(f"{scalar.text} is not a number that a user or a group can have")
    return int(scalar.text)


def _name(scalar: Scalar) -> str:
    name = to_text(scalar)
    if not name or not name.isprintable():
        raise ValueError("must be a name or a number")
    return name


def read_user(scalar: Scalar) -> User:
    """A user by name or number; ValueError for a name that the host does not know."""
    number = _number(scalar)
    try:
        account = pwd.getpwnam(_name(scalar)) if number is None else pwd.getpwuid(number)
    except KeyError:
        if number is not None:
            return User("", number, number)
        raise ValueError(f"there is no user {scalar.text}") from None
    return User(account.pw_name, account.pw_uid, account.pw_gid)


def read_group(scalar: Scalar) -> int:
    """The gid of a group by name or number; ValueError for a name that the host does not know."""
    number = _number(scalar)
    if number is not None:
        return number
    try:
        return grp.getgrnam(_name(scalar)).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {scalar.text}") from None


def read_mode(scalar: Scalar) -> int:
    """Permission bits from octal digits in quotes: YAML takes 0660 and 660 for other numbers."""
    digits = re.fullmatch("(?:0o)?([0-7]{1,4})", scalar.text)
    if not digits:
        raise ValueError('must be octal digits, as "027"')
    if not scalar.quoted:
        raise ValueError(f'must be octal digits in quotes: "{digits[1]}"')
    return int(digits[1], 8)


def read_path(scalar: Scalar) -> str:
    """A path, made absolute; ValueError for an empty one."""
    path = to_text(scalar)
    if not path or not path.isprintable():
        raise ValueError("must be a path")
    return resolve_path(path)


def read_folder(scalar: Scalar) -> str:
    """The absolute path of a folder; ValueError where it is none."""
    path = read_path(scalar)
    if not os.path.isdir(path):
        raise ValueError(f"there is no folder {path}")
    return path


def read_file(scalar: Scalar) -> str:
    """The absolute path of a file, which may be missing; ValueError where its folder is, or where it is a folder."""
    path = read_path(scalar)
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder, no file")
    if not os.path.isdir(os.path.dirname(path)):
        raise ValueError(f"there is no folder {os.path.dirname(path)}")
    return path


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that no log, message or traceback shows by accident."""

    text: str = field(repr=False)


def read_secret(scalar: Scalar) -> Secret:
    """The first line of the file with this path; ValueError where it cannot be read, or has none."""
    path = read_path(scalar)
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8") from None
    line = text.partition("\n")[0].rstrip("\r")
    if not line:
        raise ValueError(f"{path}: has no text in its first line")
    return Secret(line)


SecretFile = Annotated[Secret, read_secret]
