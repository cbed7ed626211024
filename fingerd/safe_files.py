"""Reads files by path without waiting: such a path may be a symbolic link, a FIFO, a device or an endless file."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from fingerd.text import mark_cut, read_cut, read_text

RESOURCE_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}  # the host fails, whatever the file is

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
_INHERITED = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")  # names of open descriptors, as of <(command) in bash
_NOT_REGULAR = "Not a regular file"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


T = TypeVar("T")


class Dated(NamedTuple, Generic[T]):
    """What a file contains, and when it was last changed, in ``time.time()`` seconds."""

    content: T
    changed: float


class UnsafeFileError(Exception):
    """The path exists and is not read; the text is the path and the reason."""


def is_safe_name(name: str) -> bool:
    """Whether a name can only mean an entry of one directory: it has no separator, no leading dot and no NUL."""
    return name[:1] not in ("", ".") and "/" not in name and "\0" not in name


def open_directory(path: str, dir_fd: int | None = None, for_listing: bool = True) -> int | None:
    """Return a descriptor of the directory, for the ``dir_fd`` of later calls; None if it does not exist.

    With ``dir_fd``, ``path`` is relative to that directory, and a symbolic link is not followed. Without
    ``for_listing``, search permission is enough, as on a home of mode 0711. Raises UnsafeFileError if the directory
    cannot be opened, and OSError if the host fails (RESOURCE_ERRNOS).
    """
    flags = _DIRECTORY if dir_fd is None else _DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(path, flags if for_listing else flags | os.O_PATH, dir_fd=dir_fd)
    except ValueError:  # the file system's charset cannot encode the name
        return None
    except OSError as error:
        if error.errno in _ABSENT or error.errno == errno.ELOOP:
            return None
        if error.errno in RESOURCE_ERRNOS:
            raise
        raise UnsafeFileError(f"{path}: {error.strerror}") from error


def entry_exists(name: str, dir_fd: int) -> bool | None:
    """Whether the directory has this entry, even a broken link; None if it cannot be searched. OSError as above."""
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in RESOURCE_ERRNOS:
            raise
        return None
    return True


def has_entry(names: Iterable[str], dir_fd: int) -> bool | None:
    """Whether the directory has an entry of one of these names; None if it cannot be searched. All are looked for."""
    found = [entry_exists(name, dir_fd) for name in names]
    return None if None in found else any(found)


def irregularity(name: str, dir_fd: int) -> str | None:
    """Why ``read_regular`` refuses this entry by its kind: None for a regular file, "" if missing. OSError as above."""
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except (OSError, ValueError) as error:  # ValueError: the file system's charset cannot encode the name
        if getattr(error, "errno", None) in RESOURCE_ERRNOS:
            raise
        return ""
    if stat.S_ISREG(status.st_mode):
        return None
    return "is a symbolic link" if stat.S_ISLNK(status.st_mode) else "is not a regular file"


def is_own_file(name: str, dir_fd: int, owner: int) -> bool:
    """Whether the directory has a regular file of this name that belongs to ``owner`` or to root. OSError as above."""
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except (OSError, ValueError) as error:  # ValueError: the file system's charset cannot encode the name
        if getattr(error, "errno", None) in RESOURCE_ERRNOS:
            raise
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid in (0, owner)


def read_regular(
    path: str, dir_fd: int | None, limit: int, owner: int | None = None, *, follow: bool = False
) -> Dated[str] | None:
    """Return the text of a regular file, cut after ``limit`` bytes, with its time; None if the file does not exist.

    ``path`` is relative to ``dir_fd`` if given. Opening never blocks and follows no symbolic link, except, with
    ``follow``, to a regular file of ``owner``, for which ``/proc`` is needed. The checks are made
    on the open descriptor, so nobody can swap the file between check and read. Raises UnsafeFileError for a link, a
    FIFO, a device, a directory, a file without read permission and, with ``owner``, one that belongs to neither that
    uid nor root. Raises OSError if the host fails.
    """
    try:
        descriptor = os.open(path, _READ, dir_fd=dir_fd)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in _ABSENT:
            return None
        if error.errno in RESOURCE_ERRNOS:
            raise
        if error.errno == errno.ELOOP and follow:
            return _read_linked(path, dir_fd, limit, owner)
        reason = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise UnsafeFileError(f"{path}: {reason}") from error
    return _read_open(descriptor, path, limit, owner)


def _read_linked(path: str, dir_fd: int | None, limit: int, owner: int | None) -> Dated[str]:
    """The text of the regular file of ``owner`` to which the symbolic link leads; UnsafeFileError for anything else.

    O_PATH only looks the file up: root opening a device would have effects, and opening a FIFO could wait. What was
    checked is then opened by its descriptor. What has no size is not opened: a file in /proc may belong to the owner,
    and tell root more than the owner.
    """
    try:
        checked = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            status = os.fstat(checked)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != owner:
                raise UnsafeFileError(f"{path}: is a symbolic link, and not to a regular file of the same user")
            if not status.st_size:
                return Dated("", status.st_mtime)
            descriptor = os.open(f"/proc/self/fd/{checked}", _READ & ~os.O_NOFOLLOW)
        finally:
            os.close(checked)
    except OSError as error:
        if error.errno in RESOURCE_ERRNOS:
            raise
        raise UnsafeFileError(f"{path}: is a symbolic link that cannot be followed: {error.strerror}") from error
    return _read_open(descriptor, path, limit, owner)


def _read_open(descriptor: int, path: str, limit: int, owner: int | None) -> Dated[str]:
    """The text of an open file, which is closed, and its time; UnsafeFileError as in ``read_regular``."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeFileError(f"{path}: is not a regular file")
        # The owner of a directory can rename a file of root's in it, and so publish a secret of root's if the daemon is
        # root. A second hard link may come from any directory.
        is_public = status.st_uid == 0 and status.st_nlink == 1 and status.st_mode & stat.S_IROTH
        if owner is not None and status.st_uid != owner and not is_public:
            raise UnsafeFileError(f"{path}: belongs to another user")
        data = bytearray()
        while len(data) <= limit and (more := os.read(descriptor, limit + 1 - len(data))):
            data += more
            if len(data) == status.st_size:  # a call that finds the end costs a thread as much as one that reads
                break
    finally:
        os.close(descriptor)
    if len(data) <= limit:
        text = decode_file(bytes(data))
    elif data[:2] in _UTF_16:
        text = mark_cut(bytes(data[:limit]).decode("utf-16", "ignore"))
    else:
        text = read_cut(bytes(data), limit).removeprefix("\ufeff")
    return Dated(text, status.st_mtime)


def read_resolved(path: str, limit: int) -> Dated[str] | None:
    """Return what ``read_regular`` does of the file at an absolute path without links; None if it does not exist.

    Every directory on the path is opened in turn, and none may have become a link. If anybody but root and this
    process's user can write to one of them, the file must belong to the owner of the last one, or to root. The path is
    resolved when it is configured: a link that is made later is not the administrator's. Raises UnsafeFileError and
    OSError as above.
    """
    *folders, name = path.strip("/").split("/")
    directory = os.open("/", _DIRECTORY | os.O_PATH)
    is_trusted = True
    try:
        for number, folder in enumerate(folders):
            below = open_directory(folder, directory, for_listing=False)
            if below is None:
                if entry_exists(folder, directory):
                    raise UnsafeFileError(f"/{'/'.join(folders[: number + 1])}: is not a directory")
                return None
            os.close(directory)
            directory = below
            is_trusted = is_trusted and not _writers(os.fstat(directory), is_parent=number < len(folders) - 1)
        owner = None if is_trusted else os.fstat(directory).st_uid
        return read_regular(name, directory, limit, owner)
    except UnsafeFileError as error:
        text = str(error)
        raise UnsafeFileError(text if text.startswith("/") else f"{os.path.dirname(path)}/{text}") from error
    finally:
        os.close(directory)


def writable_by_others(path: str, itself: bool = True) -> Iterator[str]:
    """A message for the first part of an absolute path that others than root and this process's user may change.

    The parts are its directories and, with ``itself``, what it names, before and after links are resolved.
    """
    for each in dict.fromkeys((path, os.path.realpath(path))):
        names = each.strip("/").split("/")
        for number in range(len(names) + itself):
            part = "/" + "/".join(names[:number])
            try:
                writers = _writers(os.stat(part), is_parent=number < len(names) - itself)
            except OSError:
                break
            if writers:
                yield f"{writers} may change {part}, and with it what is read there"
                return


def _writers(status: os.stat_result, is_parent: bool) -> str:
    """Who may write to it besides root and this process's user; as a parent: who may replace what exists in it."""
    if status.st_uid not in (0, os.geteuid()):
        return f"uid {status.st_uid}"
    if is_parent and status.st_mode & stat.S_ISVTX:
        return ""
    if status.st_mode & stat.S_IWOTH:
        return "every user"
    return f"gid {status.st_gid}" if status.st_mode & stat.S_IWGRP and status.st_gid else ""


def read_named(path: str) -> Dated[bytes]:
    """Return the content and the time of a regular file that the administrator names; symbolic links are followed.

    Opening never blocks: where the file should be, somebody else may have made a FIFO. An inherited descriptor, such as
    ``/dev/stdin``, may be a pipe or a terminal too, and is read to its end. Raises OSError for anything else, and
    ValueError for a path with a NUL.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise OSError(errno.EINVAL, _NOT_REGULAR) from error
        raise
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            if not path.startswith(_INHERITED):
                raise OSError(errno.EINVAL, _NOT_REGULAR)
            os.set_blocking(descriptor, True)
        with open(descriptor, "rb", closefd=False) as file:
            return Dated(file.read(), status.st_mtime)
    finally:
        os.close(descriptor)


def decode_file(data: bytes) -> str:
    """Decode a file: UTF-16 if it begins with that byte order mark, else UTF-8, else windows-1252."""
    with contextlib.suppress(UnicodeDecodeError):
        return decode_strictly(data)
    return read_text(data.removeprefix(b"\xef\xbb\xbf"))


def decode_strictly(data: bytes) -> str:
    """Decode a file as ``decode_file`` does; UnicodeDecodeError if it is neither UTF-16 nor UTF-8."""
    # Of the codecs that drop the mark, utf-8-sig is a module, which a chroot or another user may not have.
    return data.decode("utf-16") if data[:2] in _UTF_16 else data.removeprefix(b"\xef\xbb\xbf").decode()
