"""The pid file: it contains the daemon's pid, and is locked while the daemon runs."""

import contextlib
import errno
import fcntl
import os
import stat

from fingerd.errors import StartError


class PidFile:
    """A pid file, locked until the process ends, even by a crash. StartError: exit code 69 if locked, else 77 or 78."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._descriptor = self._open()
        except BlockingIOError:
            raise StartError(f"another fingerd holds {path} (pid {self._holder()})", os.EX_UNAVAILABLE) from None
        except OSError as error:
            code = os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_CONFIG
            raise StartError(f"cannot write the pid file {path}: {error.strerror}", code) from error

    def _open(self) -> int:
        """The locked descriptor. Raises OSError if the file cannot be opened or locked."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o600)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                    raise OSError(errno.EINVAL, "not a regular file with one link")
                os.fchmod(descriptor, 0o600)  # a user who can read the file can lock it
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                    return descriptor
            except FileNotFoundError:
                pass  # its previous holder has just removed it
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _holder(self) -> str:
        try:
            with open(self._path, encoding="ascii", errors="replace") as file:
                return file.read(20).strip() or "unknown"
        except OSError:  # the holder has just ended
            return "unknown"

    def fileno(self) -> int:
        """The locked descriptor, which must stay open."""
        return self._descriptor

    def write(self) -> None:
        """Write the pid of this process."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def remove(self) -> None:
        """Remove the file. Truncates it instead if that is not permitted, or the chroot hides it."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path)):
                os.unlink(self._path)
        os.ftruncate(self._descriptor, 0)
