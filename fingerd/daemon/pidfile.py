"""The pid file: it contains the daemon's pid, and is locked while the daemon runs."""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Sequence

from fingerd.errors import StartError, write_error

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class PidFile:
    """A pid file, locked until the process ends, even by a crash. StartError: exit code 69 if locked, else 74, 77, 78.

    The lock is on a descriptor for reading. The one for writing is closed by ``write``: a daemon that has dropped root
    cannot make root signal another process, whatever code it runs.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._lock, self._writable = self._open()
        except OSError as error:
            raise write_error(f"the pid file {path}", error) from error

    def _open(self) -> tuple[int, int]:
        """The locked descriptor, and one for writing to the same file. OSError if it cannot be opened or locked."""
        while True:
            lock = os.open(self._path, os.O_RDONLY | os.O_CREAT | _FLAGS, 0o600)
            try:
                status = os.fstat(lock)
                if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                    raise OSError(errno.EINVAL, "not a regular file with one link")
                os.fchmod(lock, 0o600)  # a user who can read the file can lock it
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (writable := self._open_writable(lock)) is not None:
                    return lock, writable
            except FileNotFoundError:
                pass  # its previous holder has just removed it
            except BlockingIOError:
                holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(lock)
                what = f"another fingerd holds {self._path} (pid {holder})"
                raise StartError(what, os.EX_UNAVAILABLE) from None
            except OSError:
                os.close(lock)
                raise
            os.close(lock)

    def _open_writable(self, lock: int) -> int | None:
        """A descriptor for writing to the locked file; None if the path names another file by now."""
        writable = os.open(self._path, os.O_WRONLY | _FLAGS)
        if os.path.samestat(os.fstat(lock), os.fstat(writable)):
            return writable
        os.close(writable)
        return None

    def descriptors(self) -> Sequence[int]:
        """The descriptors that must stay open: the locked one, and until ``write`` the one for writing."""
        return [descriptor for descriptor in (self._lock, self._writable) if descriptor >= 0]

    def write(self) -> None:
        """Write the pid of this process, once. StartError (exit code 74) if the disk is full."""
        writable, self._writable = self._writable, -1
        try:
            try:
                os.ftruncate(writable, 0)
                line = b"%d\n" % os.getpid()
                if os.write(writable, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(writable)
        except OSError as error:
            raise write_error(f"the pid file {self._path}", error) from error

    def remove(self) -> None:
        """Remove the file, or truncate it if only that is permitted.

        Neither is possible if only root may write to the directory and root is dropped, or if the chroot hides the
        file: then it stays as it is, without the lock.
        """
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.fstat(self._lock), os.lstat(self._path)):
                return
            try:
                os.unlink(self._path)
            except OSError:
                if (writable := self._open_writable(self._lock)) is not None:
                    os.ftruncate(writable, 0)
                    os.close(writable)
