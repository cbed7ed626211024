"""Detaching from the terminal: the only importer of python-daemon.

python-daemon's steps are called one by one, in the order of ``DaemonContext.open``, but privileges are dropped by
``drop_privileges``: its own step keeps root's supplementary groups (``initgroups=False``) or root's gid (``True``), and
calls setuid even if nothing changes, which a sandbox may forbid. It would also open ``/dev/null`` and the pid file
within the chroot, and its parent process exits before the daemon is ready: so the shell waits on a pipe of ours.
"""

import contextlib
import ctypes
import encodings.idna
import encodings.punycode  # noqa: F401 - both are imported by name on first use, which fails in a chroot
import json
import os
import resource
import time
from collections.abc import Sequence

from fingerd.daemon.output import print_error
from fingerd.daemon.privileges import Identity, drop_privileges
from fingerd.errors import StartError, exit_code_of
from fingerd.settings import Process

MAX_DESCRIPTORS = 1 << 18

# When imported, python-daemon 2 makes a set of all possible descriptors, which takes gigabytes of memory in containers
# that allow a billion.
_, _hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
if _hard_limit == resource.RLIM_INFINITY or _hard_limit > MAX_DESCRIPTORS:
    with contextlib.suppress(ValueError, OSError):  # fs.nr_open is lower, or a sandbox forbids it
        resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, MAX_DESCRIPTORS))

from daemon import daemon as steps  # noqa: E402

# At exit, Python ends threads that still run by pthread_exit, for which the C library loads this library. In a chroot
# it is not found, and the process would be aborted.
with contextlib.suppress(OSError):  # a C library that does not need it
    ctypes.CDLL("libgcc_s.so.1")


class ParentPipe:
    """A pipe to the process that the shell waits for.

    It exits when the daemon reports that it serves, or when a daemon that reported a failure has ended: the next start
    finds no lock, no port and no file that are still held.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor  # -1 once the daemon serves
        self._reported = False

    @classmethod
    def fork_and_wait(cls) -> "ParentPipe":
        """Fork. Returns the pipe in the child; the parent waits for the report, and exits with its exit code."""
        try:
            reader, writer = os.pipe()
            pid = os.fork()
        except OSError as error:
            raise StartError(f"cannot start a process: {error.strerror}", exit_code_of(error)) from error
        if pid == 0:
            os.close(reader)
            return cls(writer)
        os.close(writer)
        with open(reader, encoding="utf-8") as pipe:
            report = pipe.read()
        code, message = json.loads(report) if report else (os.EX_SOFTWARE, "the daemon terminated during start-up")
        if message:
            print_error(f"fingerd: {message}")
        raise SystemExit(code)

    def fileno(self) -> int:
        """The descriptor, which must stay open until the report; -1 once the daemon serves."""
        return self._descriptor

    def report(self, code: int, message: str = "") -> None:
        """Let the parent print the message and exit with the code. Only the first report counts."""
        if not self._reported:
            self._reported = True
            with contextlib.suppress(BrokenPipeError):  # the parent was killed
                os.write(self._descriptor, json.dumps((code, message)).encode())
            if code == os.EX_OK:
                os.close(self._descriptor)
                self._descriptor = -1


def become_daemon(
    process: Process, identity: Identity, detach: bool, preserve: Sequence[int], log_descriptor: int | None
) -> None:
    """Change root directory, umask, working directory and identity, and detach from the terminal if asked to.

    Closes all descriptors but standard error and ``preserve``; standard input and output become ``/dev/null``, and so
    does standard error if it detaches; not ``log_descriptor``. StartError if a step fails.
    """
    time.localtime()  # loads the time zone, which a chroot may not contain
    try:
        null = os.open(os.devnull, os.O_RDWR)  # nor this
        if process.chroot is not None:
            steps.change_root_directory(process.chroot)
        steps.prevent_core_dump()
        steps.change_file_creation_mask(process.umask)
        steps.change_working_directory(process.rundir)
        drop_privileges(identity)
        if detach:
            steps.detach_process_context()
        steps.close_all_open_files(exclude={0, 1, 2, null, *preserve})
    except (steps.DaemonError, OSError) as error:
        # python-daemon's errors have no number; the error that led to one has.
        cause = error if getattr(error, "errno", None) else error.__cause__ or error.__context__
        raise StartError(str(error), exit_code_of(cause) if isinstance(cause, OSError) else os.EX_NOPERM) from error
    # In the foreground too: root's terminal, or a file that its shell opened, is not for the user that root becomes.
    for descriptor in {0, 1, *((2,) if detach else ())} - {log_descriptor}:
        os.dup2(null, descriptor)
    os.close(null)
