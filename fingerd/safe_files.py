"""Reading a file that somebody else has put there: a plan may be a link, a pipe, a device, or without end."""

import contextlib
import errno
import os
import stat

from fingerd.text import mark_cut, read_cut, read_text

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
RESOURCE_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}  # of the host, whatever lies there
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class UnsafeFileError(Exception):
    """Something is there that will not be read; the text says what and why."""


def is_safe_name(name: str) -> bool:
    """Whether a name can only mean an entry of one folder: it has no separator, no leading dot and no NUL."""
    return name[:1] not in ("", ".") and "/" not in name and "\0" not in name


def open_directory(path: str, folder: int | None = None, for_listing: bool = True) -> int | None:
    """A descriptor of the folder, to open files in; None where there is none, RefusedError where it cannot be opened.

    ``path`` is inside of the open ``folder`` where one is given, and no link
    is followed then. What is not ``for_listing`` need not be readable, as a home
    of mode 0711. OSError where the host fails.
    """
    flags = _FOLDER if folder is not None else _FOLDER & ~os.O_NOFOLLOW
    try:
        return os.open(path, flags if for_listing else flags | os.O_PATH, dir_fd=folder)
    except ValueError:  # a name that cannot be written in the host's charset
        return None
    except OSError as error:
        if error.errno in _ABSENT or error.errno == errno.ELOOP:
            return None
        if error.errno in RESOURCE_ERRNOS:
            raise
        raise UnsafeFileError(f"{path}: {error.strerror}") from error


def read_regular(path: str, folder: int | None, limit: int, owner: int | None = None) -> str | None:
    """The text of a regular file, its first ``limit`` bytes; None where there is no such file.

    ``path`` is inside of the open ``folder`` where one is given. A link is
    not followed, and nothing is waited for: RefusedError for a link, a pipe, a
    device, a folder, and whatever the process may not read; OSError where the
    host fails. What is looked at is what was opened, so nobody can put another
    file in its place meanwhile. With an ``owner`` it has to be that uid's
    file, or one of root's.
    """
    try:
        descriptor = os.open(path, _READ, dir_fd=folder)
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in _ABSENT:
            return None
        if error.errno in RESOURCE_ERRNOS:
            raise
        reason = "is a link" if error.errno == errno.ELOOP else error.strerror
        raise UnsafeFileError(f"{path}: {reason}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeFileError(f"{path}: is no regular file")
        if owner is not None and not _is_owned(status, owner):
            raise UnsafeFileError(f"{path}: belongs to somebody else")
        return _read(descriptor, limit)
    finally:
        os.close(descriptor)


def _is_owned(status: os.stat_result, owner: int) -> bool:
    """Whether it is this uid's, or root's and for everybody.

    Whoever owns a folder can give a file of root's in it another name, and so
    has a secret of root's told where the daemon is root. One with a second
    name may come from anywhere.
    """
    for_everybody = status.st_nlink == 1 and status.st_mode & stat.S_IROTH
    return status.st_uid == owner or bool(status.st_uid == 0 and for_everybody)


def _read(descriptor: int, limit: int) -> str:
    """The text up to the limit, with the words that say so where there is more."""
    data = bytearray()
    while len(data) <= limit and (more := os.read(descriptor, limit + 1 - len(data))):
        data += more
    if len(data) <= limit:
        return decode_file(bytes(data))
    if data[:2] in _UTF_16:
        return mark_cut(bytes(data[:limit]).decode("utf-16", "ignore"))
    return read_cut(bytes(data), limit).removeprefix("\ufeff")


def decode_file(data: bytes) -> str:
    """The text of a file: UTF-16 where it begins with that mark, else UTF-8, else Latin-1."""
    if data[:2] in _UTF_16:
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-16")
    return read_text(data.removeprefix(b"\xef\xbb\xbf"))
