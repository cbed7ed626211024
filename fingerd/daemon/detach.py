"""Becoming a daemon: the only importer of python-daemon, and the only place where root is given up.

python-daemon does the chroot, the working directory, the umask, the uid and
the detaching. It is not trusted with groups, which it leaves with root's
(``initgroups=False``) or without a gid (``True``), nor with the pid file,
which it would open in the jail; and since its parent leaves before the daemon
is ready, the shell waits on a pipe of ours.
"""

import contextlib
import ctypes
import encodings.idna  # noqa: F401 - found by name when a host is looked up, which is too late in a chroot
import errno
import fcntl
import json
import os
import resource
import stat
import sys
import time
from collections.abc import Sequence

from fingerd.daemon.privileges import Owner, Process
from fingerd.errors import StartError

MOST_DESCRIPTORS = 1 << 18

# python-daemon 2 makes a set of all descriptors that there could be as soon as it is imported, which is gigabytes where
# containers allow a billion.
_, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if _hard == resource.RLIM_INFINITY or _hard > MOST_DESCRIPTORS:
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_DESCRIPTORS, MOST_DESCRIPTORS))

import daemon  # noqa: E402

# At the exit, Python ends threads that still wake by pthread_exit, for which the C library wants this one. In a chroot
# it is not to be found any more, and the process would be aborted.
with contextlib.suppress(OSError):  # a C library that does without
    ctypes.CDLL("libgcc_s.so.1")


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


class Shell:
    """The way back to the shell that started a daemon, and waits to hear that the daemon serves, or why not."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def wait_in_parent(cls) -> "Shell":
        """Fork. The child returns with its way back; the parent waits, and leaves with the code that it hears."""
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(reader)
            return cls(writer)
        os.close(writer)
        with open(reader, encoding="utf-8") as pipe:
            said = pipe.read()
        code, message = json.loads(said) if said else (os.EX_SOFTWARE, "died while starting")
        if message:
            print(f"fingerd: {message}", file=sys.stderr)
        raise SystemExit(code)

    @property
    def waits(self) -> bool:
        """Whether a shell waits for a word."""
        return self._descriptor >= 0

    def descriptors(self) -> tuple[int, ...]:
        """What must stay open until something was said."""
        return (self._descriptor,) if self.waits else ()

    def tell(self, code: int, message: str = "") -> None:
        """End the shell's wait; what is said after that is heard by nobody."""
        if self.waits:
            with contextlib.suppress(BrokenPipeError):  # it did not wait
                os.write(self._descriptor, json.dumps((code, message)).encode())
            os.close(self._descriptor)
            self._descriptor = -1


def fill_standard_descriptors() -> None:
    """Open ``/dev/null`` where descriptors 0 to 2 are closed, lest a client or a log gets one of these."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115


def become_daemon(process: Process, owner: Owner, detach: bool, preserve: Sequence[int], keep_stderr: bool) -> None:
    """Change root, folder, umask and owner as the settings say, and detach.

    All descriptors but the preserved ones are closed, and threads are gone.
    StartError where something is not allowed, or could be had back.
    """
    time.localtime()  # reads the time zone, which a jail may not have
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if detach:
        null = open(os.devnull, "r+", encoding="utf-8")  # noqa: SIM115 - a jail may not have it either
        streams = (null, null, sys.stderr if keep_stderr else null)
    context = daemon.DaemonContext(
        chroot_directory=process.chroot,
        working_directory=process.rundir,
        umask=process.umask,
        uid=owner.uid,
        gid=owner.gid,
        initgroups=False,
        detach_process=detach,
        files_preserve=list(preserve),
        signal_map={},
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
    )
    try:
        if owner.groups is not None:
            os.setgroups(owner.groups)
            os.setgid(owner.gid)
        else:  # nobody is to be become; python-daemon would call setuid all the same, which a sandbox may forbid
            daemon.daemon.change_process_owner = lambda *_: None
        context.open()
    except (daemon.daemon.DaemonError, OSError) as error:
        raise StartError(str(error), os.EX_NOPERM) from error
    verify(owner)


def become(owner: Owner) -> None:
    """Change groups and user for good, and nothing else; StartError where that is not allowed, or could be undone."""
    if owner.groups is None:
        return
    try:
        os.setgroups(owner.groups)
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, owner.uid)
    except OSError as error:
        raise StartError(f"cannot become uid {owner.uid}, gid {owner.gid}: {error.strerror}", os.EX_NOPERM) from error
    verify(owner)


def verify(owner: Owner) -> None:
    """StartError where this process is not wholly what it should be, or could be root again."""
    if os.getresuid() != (owner.uid,) * 3 or os.getresgid() != (owner.gid,) * 3:
        raise StartError(f"still uid {os.getresuid()}, gid {os.getresgid()}", os.EX_SOFTWARE)
    if owner.groups is not None and not set(os.getgroups()) <= set(owner.groups):
        raise StartError(f"still in the groups {os.getgroups()}", os.EX_SOFTWARE)
    if owner.uid == 0:
        return
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise StartError("root could be had back", os.EX_SOFTWARE)
