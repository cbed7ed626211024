"""A lock on a directory, held by one change at a time, of all processes.

It is the directory that is locked: no lock file stays in it, and the lock ends with the process. Whoever may read the
directory can hold that lock too, so the wait for it has an end.
"""

import contextlib
import errno
import fcntl
import time
from collections.abc import Iterator

from fingerd.plans.errors import LockedError

LOCK_SECONDS = 3.0
RETRY_SECONDS = 0.005

_WITHOUT_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP)  # NFS locks only what is open for writing


@contextlib.contextmanager
def locked(directory: int, path: str) -> Iterator[None]:
    """Hold the lock of an open directory. LockedError, which names ``path``, if another process keeps it.

    Where the file system has no such locks, nothing is held.
    """
    is_held = _lock(directory, path)
    try:
        yield
    finally:
        if is_held:
            fcntl.flock(directory, fcntl.LOCK_UN)


def _lock(directory: int, path: str) -> bool:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                raise LockedError(f"{path}: another process holds the lock of the directory, try again later") from None
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                return False
            raise
        time.sleep(RETRY_SECONDS)
