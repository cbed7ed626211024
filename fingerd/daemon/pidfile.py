"""The pid file: it holds the daemon's pid, and is locked while the daemon runs."""

import errno
import fcntl
import os
import stat

from fingerd.errors import StartError


class PidFile:
    """A file that holds the daemon's pid, and is locked while it runs: what a crash leaves behind is no obstacle.

    StartError with exit code 69 where another process holds it, 77 where it may not be written.
    """

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
        """The locked descriptor; OSError where there is none to be had."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o600)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                    raise OSError(errno.EINVAL, "it is no file of its own")
                os.fchmod(descriptor, 0o600)  # whoever can read the file can lock it
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                    return descriptor
            except FileNotFoundError:
                pass  # its last holder has just removed it
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _holder(self) -> str:
        try:
            with open(self._path, encoding="ascii", errors="replace") as file:
                return file.read(20).strip() or "unknown"
        except OSError:  # it has just ended
            return "unknown"

    def fileno(self) -> int:
        """The locked descriptor, which must stay open."""
        return self._descriptor

    def write(self) -> None:
        """Put this process's pid into the file."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def remove(self) -> None:
        """Remove the file, or empty it where it may not be removed, or cannot be seen any more."""
        try:
            if os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path)):
                os.unlink(self._path)
        except OSError:
            pass
        os.ftruncate(self._descriptor, 0)
