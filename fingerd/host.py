"""Options that name something of this host: users, groups, folders, files, permission bits."""

import grp
import os
import pwd
import re
from dataclasses import dataclass

from fingerd.scalars import Scalar, to_text


@dataclass(frozen=True, slots=True)
class User:
    """An account; ``name`` is empty for a uid that has none."""

    name: str
    uid: int
    gid: int


def read_user(scalar: Scalar) -> User:
    """A user by name or number; ValueError for a name that the host does not know."""
    number = scalar.text.isascii() and scalar.text.isdigit()
    try:
        account = pwd.getpwuid(int(scalar.text)) if number else pwd.getpwnam(to_text(scalar))
    except (KeyError, OverflowError):
        if number and int(scalar.text) < 1 << 32:
            return User("", int(scalar.text), int(scalar.text))
        raise ValueError(f"there is no user {scalar.text}") from None
    return User(account.pw_name, account.pw_uid, account.pw_gid)


def read_group(scalar: Scalar) -> int:
    """The gid of a group by name or number; ValueError for a name that the host does not know."""
    if scalar.text.isascii() and scalar.text.isdigit() and int(scalar.text) < 1 << 32:
        return int(scalar.text)
    try:
        return grp.getgrnam(to_text(scalar)).gr_gid
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
    if not path or "\0" in path:
        raise ValueError("must be a path")
    return os.path.abspath(path)


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
