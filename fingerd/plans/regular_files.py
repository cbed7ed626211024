"""What may be changed: a regular file that has one name. A link is not followed, and is named with its target."""

import os
import stat

from fingerd.plans.errors import NotAllowedError


def status_of(name: str, directory: int, path: str) -> os.stat_result | None:
    """The status of an entry, None if there is none; NotAllowedError, which names ``path``, without that right."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise NotAllowedError(f"{path}: {error.strerror}") from error


def examine(name: str, directory: int, path: str) -> bool:
    """Whether the file exists; NotAllowedError for what is not a regular file with this name alone."""
    if (status := status_of(name, directory, path)) is None:
        return False
    if stat.S_ISLNK(status.st_mode):
        raise NotAllowedError(f"{path} is a symbolic link to {os.readlink(name, dir_fd=directory)}")
    check_regular(path, status)
    return True


def check_regular(path: str, status: os.stat_result) -> None:
    """NotAllowedError for what is not a regular file with one name."""
    if not stat.S_ISREG(status.st_mode):
        raise NotAllowedError(f"{path} is not a regular file")
    if status.st_nlink > 1:
        raise NotAllowedError(f"{path} has {status.st_nlink} names (hard links)")
