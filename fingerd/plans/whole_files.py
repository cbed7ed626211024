"""Replaces files as a whole: who reads one gets the old text or the new one, whenever the writer is killed.

The new text goes to a temporary file in the same directory, which is then renamed. Its name begins with a dot, so the
daemon does not read or list it. There is no lock file: a writer locks its own temporary file, the lock ends with the
process, and the next writer in the directory removes temporary files that are not locked.
"""

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import stat
from collections.abc import Callable, Collection

PREFIX = ".fingerd-plan-"  # of temporary files
FILE_MODE, DIRECTORY_MODE = 0o644, 0o755  # whatever the umask is: the daemon is another user
ATTEMPTS = 10

Commit = Callable[[], None]

log = logging.getLogger(__name__)

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXAMINE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def nothing() -> None:
    """Commit a change that nobody waits for but this process."""


def replace_file(
    name: str,
    data: bytes,
    directory: int,
    *,
    mode: int = FILE_MODE,
    owner: tuple[int, int] | None = None,
    commit: Commit = nothing,
) -> None:
    """Make ``data`` the content of the file. Written by root, it belongs to the owner of the directory. OSError.

    ``owner`` (uid, gid) is another one that root gives it to. ``commit`` is called when all is ready to be renamed,
    and may be called again: what it raises leaves the old content.
    """
    for _ in range(ATTEMPTS):
        if _try_to_replace(name, data, directory, mode=mode, owner=owner, commit=commit):
            return _sync(directory)
    raise OSError(errno.EAGAIN, "temporary files are removed by another process")


def create_file(name: str, directory: int) -> None:
    """Create an empty file, unless anything of this name exists. OSError."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(name, _CREATE, FILE_MODE, dir_fd=directory)
        try:
            _give_to_owner(descriptor, directory)
            os.fchmod(descriptor, FILE_MODE)
            _sync(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
            raise
        finally:
            os.close(descriptor)
    _sync(directory)


def remove_file(name: str, directory: int) -> None:
    """Remove the file, if it exists. OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    _sync(directory)


def create_directory(name: str, file: str, directory: int) -> None:
    """Create a directory that has one empty file from the moment it exists. OSError, also if the name is taken."""
    temporary = PREFIX + secrets.token_hex(8)
    umask = os.umask(0o077)  # one that takes rights of the user would lock the user out of the new directory
    try:
        os.mkdir(temporary, 0o700, dir_fd=directory)
    finally:
        os.umask(umask)
    try:
        own = os.open(temporary, _EXAMINE | os.O_DIRECTORY, dir_fd=directory)
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _give_to_owner(own, directory)
            create_file(file, own)
            os.fchmod(own, DIRECTORY_MODE)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            os.close(own)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove_directory(temporary, (file,), directory)
        raise
    _sync(directory)


def remove_directory(name: str, files: Collection[str], directory: int) -> None:
    """Remove a directory that has none but these files, in one step; with others it stays. OSError."""
    temporary = PREFIX + secrets.token_hex(8)
    os.rename(name, temporary, src_dir_fd=directory, dst_dir_fd=directory)
    try:
        _remove_directory(temporary, files, directory)
    except FileNotFoundError:  # another process took it for one that was left behind
        pass
    except OSError:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        raise
    _sync(directory)


def remove_left_behind(directory: int, files: Collection[str]) -> None:
    """Remove temporary files of processes that were killed, and temporary directories with none but these files.

    What this user may not remove stays.
    """
    with contextlib.suppress(OSError):  # without the right to list the directory
        for name in os.listdir(directory):
            if name.startswith(PREFIX):
                with contextlib.suppress(OSError):
                    _remove_unlocked(name, files, directory)


def _sync(descriptor: int) -> None:
    """Have the disk keep what was done. It is done already, so where that fails it is logged, and no error."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        log.warning("the change was made, but the disk may lose it: %s", error.strerror)


def _try_to_replace(
    name: str, data: bytes, directory: int, *, mode: int, owner: tuple[int, int] | None, commit: Commit
) -> bool:
    """As ``replace_file``; False if another process took the temporary file for one that was left behind."""
    temporary = PREFIX + secrets.token_hex(8)
    descriptor = os.open(temporary, _CREATE, 0o600, dir_fd=directory)  # nobody else can lock it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if owner:
            os.fchown(descriptor, *owner)
        else:
            _give_to_owner(descriptor, directory)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        commit()
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except (BlockingIOError, FileNotFoundError):
        return False
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    finally:
        os.close(descriptor)
    return True


def _give_to_owner(descriptor: int, directory: int) -> None:
    """If this is root, give the open file to the owner and the group of the directory."""
    owner = os.fstat(directory)
    if os.geteuid() == 0 and (owner.st_uid, owner.st_gid) != (0, 0):
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _remove_unlocked(name: str, files: Collection[str], directory: int) -> None:
    try:
        descriptor = os.open(name, _EXAMINE, dir_fd=directory)
    except PermissionError:  # root's, from before it was given away; a root that still lives makes another one
        if os.fstat(directory).st_uid == os.geteuid():
            os.unlink(name, dir_fd=directory)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            os.unlink(name, dir_fd=directory)
        elif stat.S_ISDIR(mode):
            _remove_directory(name, files, directory)
    finally:
        os.close(descriptor)


def _remove_directory(name: str, files: Collection[str], directory: int) -> None:
    own = os.open(name, _EXAMINE | os.O_DIRECTORY, dir_fd=directory)
    try:
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file, dir_fd=own)
    finally:
        os.close(own)
    os.rmdir(name, dir_fd=directory)
