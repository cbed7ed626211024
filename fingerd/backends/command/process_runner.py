"""Runs programs and reads their output, with a deadline and with limits.

A program leads its own session and process group. The group is killed when the program has ended, at the deadline, and
when the output is too long. A child that leaves the group (setsid(2)) is not killed; the limits still apply to it.
"""

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from fingerd.net.deadline import remaining
from fingerd.text import read_text

KILL_SECONDS = 1.0  # maximum wait for a killed program
POLL_SECONDS = 0.01  # between two looks at a program whose end no event reports
CHUNK_BYTES = 1 << 16
CAUSE_BYTES = 1000  # of the standard error of a failed program, for the log
MAX_DESCRIPTORS = 1024  # of a program with limits; programs that use select(2) cannot handle more

# prlimit(1) sets the limits and then executes the program. A preexec_fn of our own is unsafe: it may run while another
# thread holds a lock. prlimit(2) from outside is too late: until then the program would run without limits.
LIMITER = "prlimit"

_Process = subprocess.Popen[bytes]


class Completed(NamedTuple):
    """The standard output, all of it or more than ``output_bytes``; and why the program failed, empty on success."""

    output: bytes
    failure: str


def with_limits(argv: Sequence[str], cpu_seconds: int, memory_bytes: int, processes: int) -> list[str]:
    """Return the command that runs ``argv`` with these limits; 0 is no limit."""
    if not (cpu_seconds or memory_bytes or processes):
        return list(argv)
    limits = []
    if cpu_seconds:  # SIGXCPU at the soft limit, so that the log shows the cause; SIGKILL a second later
        limits.append(f"--cpu={cpu_seconds}:{cpu_seconds + 1}")
    if memory_bytes:
        limits.append(f"--as={memory_bytes}")
    if processes:
        limits.append(f"--nproc={processes}")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] > MAX_DESCRIPTORS:
        limits.append(f"--nofile={MAX_DESCRIPTORS}:")  # the soft limit, which the daemon has raised for itself
    return [LIMITER, *limits, "--core=0", "--", *argv]


class ProcessRunner:
    """Runs programs, for all threads."""

    def __init__(self) -> None:
        self._running: set[int] = set()  # process groups
        self._closed = False

    def run(self, argv: Sequence[str], environment: Mapping[str, str], deadline: float, output_bytes: int) -> Completed:
        """Run a program until it ends, or its output exceeds ``output_bytes`` and it is killed.

        Raises TimeoutError at ``deadline`` (``time.monotonic()``), OSError or ValueError if the program cannot be run.
        """
        with _pipe() as (stdout, stdout_write_end), _pipe() as (stderr, stderr_write_end):
            process = self._start(argv, environment, stdout_write_end, stderr_write_end)
            try:
                output, errors = _communicate(process.pid, stdout, stderr, deadline, output_bytes)
            finally:
                status = self._end(process)
        if len(output) > output_bytes or status == 0:
            return Completed(output, "")
        return Completed(output, f"{_describe(status)}{errors and ': '}{errors}")

    def close(self) -> None:
        """Kill the programs that are running or being started."""
        self._closed = True
        for group in list(self._running):
            _kill(group)

    def _start(self, argv: Sequence[str], env: Mapping[str, str], stdout: BinaryIO, stderr: BinaryIO) -> _Process:
        """Start the program; afterwards it alone holds the pipes' write ends."""
        # Standard input is at its end, as that of /dev/null, which a chroot may not have.
        with _pipe() as (stdin, stdin_write_end):
            stdin_write_end.close()
            # A new session: its own process group, so that all of it can be killed.
            process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, start_new_session=True)
        try:
            self._running.add(process.pid)
            if self._closed:  # read after the group was added; close() sets it before it reads the groups
                _kill(process.pid)
            stdout.close()
            stderr.close()
        except BaseException:  # MemoryError: it must not run on unseen
            self._end(process)
            raise
        return process

    def _end(self, process: _Process) -> int | None:
        """Kill the whole process group and return the program's exit status, None if unknown."""
        _kill(process.pid)  # before the wait, after which the number may belong to another group
        try:
            return _wait(process)
        finally:
            self._running.discard(process.pid)


def _wait(process: _Process) -> int | None:
    """Wait for a killed program. Return its exit status, None if it does not end, or if the status is lost.

    It is lost if SIGCHLD is ignored, as by a program that embeds the server; Popen takes that for success.
    """
    end, pause = time.monotonic() + KILL_SECONDS, 0.0005
    while True:
        try:
            ended, status = os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            process.returncode = os.EX_SOFTWARE  # nothing is left to wait for
            return None
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode
        if time.monotonic() > end:  # it runs as another user now, and cannot be killed
            return None
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a pipe; its read end comes first. Popen leaks pipes in Python 3.11.2 if it cannot open its last one."""
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb", buffering=0) as read_end, open(write_fd, "wb", buffering=0) as write_end:
        yield read_end, write_end


def _communicate(pid: int, stdout: BinaryIO, stderr: BinaryIO, deadline: float, limit: int) -> tuple[bytes, str]:
    """Return standard output, up to the end or beyond the limit, and the end of standard error; raise TimeoutError."""
    output, errors = bytearray(), bytearray()
    with _end_event(pid) as ended, selectors.DefaultSelector() as selector:
        if ended:
            selector.register(ended, selectors.EVENT_READ)
        for pipe, buffer in ((stdout, output), (stderr, errors)):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, buffer)
        running = True
        while running and len(output) <= limit:
            seconds = remaining(deadline)
            ready = [key for key, _ in selector.select(seconds if ended else min(seconds, POLL_SECONDS))]
            running = all(key.fileobj is not ended for key in ready) if ended else not _has_ended(pid)
            # All that an ended program wrote is in the pipes, even if another process still holds them open.
            for key in ready if running else list(selector.get_map().values()):
                if key.data is not None and not _read(key.fd, key.data, None if running else limit):
                    selector.unregister(key.fileobj)
            del errors[:-CAUSE_BYTES]
    return bytes(output), " ".join(read_text(bytes(errors)).split())


@contextlib.contextmanager
def _end_event(pid: int) -> Iterator[BinaryIO | None]:
    """Open a file that is readable once the program has ended; None if the system has no pidfd_open(2).

    Linux before 5.3 and some containers refuse it. If the status is lost already, there is no such process.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    with open(descriptor, "rb", buffering=0) as file:
        yield file


def _has_ended(pid: int) -> bool:
    """Whether the program has ended; it can still be waited for."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _read(pipe: int, buffer: bytearray, limit: int | None) -> bool:
    """Read into the buffer, once or, with a limit, all there is up to beyond it; false at the end of the stream."""
    while True:
        try:
            data = os.read(pipe, CHUNK_BYTES)
        except BlockingIOError:
            return True
        buffer += data
        if not data or limit is None or len(buffer) > limit:
            return bool(data)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or runs as another user
        os.killpg(group, signal.SIGKILL)


def _describe(status: int | None) -> str:
    if status is None:
        return "exit status unknown"
    if status > 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal, most of which have no name
        return f"killed by signal {-status}"
