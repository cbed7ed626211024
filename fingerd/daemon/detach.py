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
import json
import os
import resource
import sys
import time
from collections.abc import Sequence

from fingerd.daemon.privileges import Identity, verify_dropped
from fingerd.errors import StartError
from fingerd.settings import Process

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


class ParentPipe:
    """The way back to the shell that started a daemon, and waits to hear that the daemon serves, or why not."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def fork_and_wait(cls) -> "ParentPipe":
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
    def is_open(self) -> bool:
        """Whether a shell waits for a word."""
        return self._descriptor >= 0

    def descriptors(self) -> tuple[int, ...]:
        """What must stay open until something was said."""
        return (self._descriptor,) if self.is_open else ()

    def tell(self, code: int, message: str = "") -> None:
        """End the shell's wait; what is said after that is heard by nobody."""
        if self.is_open:
            with contextlib.suppress(BrokenPipeError):  # it did not wait
                os.write(self._descriptor, json.dumps((code, message)).encode())
            os.close(self._descriptor)
            self._descriptor = -1


def become_daemon(process: Process, owner: Identity, detach: bool, preserve: Sequence[int], keep_stderr: bool) -> None:
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
    verify_dropped(owner)
