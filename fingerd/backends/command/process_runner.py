"""Programs that are run to hear what they say: with pipes of their own, a deadline, limits, and an end for all of them.

A program leads a session and a process group of its own, which is killed when
the program has ended, when its time is over, or when it has said enough. What
leaves the group, by setsid(2), goes on; the limits hold for it all the same.
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

from fingerd.text import read_text

END_SECONDS = 1.0  # that a killed program may take to be gone
CHUNK_BYTES = 1 << 16
CAUSE_BYTES = 1000  # of what a failing program says on standard error, for the log

# Sets the limits before the program is there. A function of our own between fork and exec could not be: it may run
# while another thread holds a lock. Nor could we do it from outside: the program would run without them until then.
LIMITER = "prlimit"


class Said(NamedTuple):
    """What a program has said: all of it, or more than was wanted; on standard error; and why it failed, if it did."""

    output: bytes
    failure: str


DESCRIPTORS = 1024  # that a limited program has: what programs expect, as select(2) knows no others


def limited(argv: Sequence[str], cpu_seconds: int, memory_bytes: int, processes: int) -> list[str]:
    """The command that runs ``argv`` within these limits, of which 0 is none."""
    limits = []
    is_limited = bool(cpu_seconds or memory_bytes or processes)
    if cpu_seconds:  # SIGXCPU first, which tells why; a second later SIGKILL
        limits.append(f"--cpu={cpu_seconds}:{cpu_seconds + 1}")
    if memory_bytes:
        limits.append(f"--as={memory_bytes}")
    if processes:
        limits.append(f"--nproc={processes}")
    if (
        resource.getrlimit(resource.RLIMIT_NOFILE)[1] > DESCRIPTORS
    ):  # the daemon has raised its own; this is the soft one
        limits.append(f"--nofile={DESCRIPTORS}:")
    return [LIMITER, *limits, "--core=0", "--", *argv] if is_limited else list(argv)


class Programs:
    """The programs that run now, started by any thread."""

    def __init__(self) -> None:
        self._running: set[int] = set()  # process groups
        self._closed = False

    def run(self, argv: Sequence[str], environment: Mapping[str, str], deadline: float, output_bytes: int) -> Said:
        """What the program says until it ends, or has said more than so many bytes, and is ended.

        TimeoutError where it takes longer than until ``deadline``
        (``time.monotonic()``), OSError and ValueError where it cannot be run.
        """
        with _pipe() as output_pipe, _pipe() as errors_pipe:
            program = self._start(argv, environment, output_pipe, errors_pipe)
            try:
                output, cause = _hear(program, output_pipe[0], errors_pipe[0], deadline, output_bytes)
            finally:
                status = self._end(program)
        if len(output) > output_bytes or not status:
            return Said(output, "")
        return Said(output, f"{_how_it_ended(status)}{cause and ': '}{cause}")

    def close(self) -> None:
        """End those that still run, and those that are being started."""
        self._closed = True
        for group in list(self._running):
            _kill(group)

    def _start(
        self, argv: Sequence[str], environment: Mapping[str, str], output_pipe: "_Pipe", errors_pipe: "_Pipe"
    ) -> "subprocess.Popen[bytes]":
        """The program, which holds the pipes' other ends then, and nobody else."""
        program = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output_pipe[1],
            stderr=errors_pipe[1],
            env=environment,
            start_new_session=True,  # a process group of its own, to end all of it at once
        )
        self._running.add(program.pid)
        if self._closed:  # looked at after the program could be seen, as it is set before the others are looked at
            _kill(program.pid)
        for _, told in (output_pipe, errors_pipe):
            told.close()
        return program

    def _end(self, program: "subprocess.Popen[bytes]") -> int:
        """End the program's whole process group; its exit status, 0 where that is unknown."""
        _kill(program.pid)  # while it has not been waited for, so that the number is still its own
        try:
            return program.wait(END_SECONDS)
        except subprocess.TimeoutExpired:  # it became another user, and cannot be ended
            return 0
        finally:
            self._running.discard(program.pid)


_Pipe = tuple[BinaryIO, BinaryIO]  # what is heard, and what is told


@contextlib.contextmanager
def _pipe() -> Iterator[_Pipe]:
    """A pipe of our own: where Popen of Python 3.11.2 cannot make its last one, it loses those that it has made."""
    here, there = os.pipe()
    with open(here, "rb", buffering=0) as heard, open(there, "wb", buffering=0) as told:
        yield heard, told


def _hear(
    program: "subprocess.Popen[bytes]", output_pipe: BinaryIO, errors_pipe: BinaryIO, deadline: float, most: int
) -> tuple[bytes, str]:
    """Standard output, and the end of standard error, until the program ends or has said too much; TimeoutError."""
    output, errors = bytearray(), bytearray()
    ended = os.pidfd_open(program.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            for pipe, heard in ((output_pipe, output), (errors_pipe, errors)):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, heard)
            running = True
            while running and len(output) <= most:
                ready = selector.select(max(deadline - time.monotonic(), 0))
                if not ready or time.monotonic() >= deadline:
                    raise TimeoutError
                running = ended not in {key.fd for key, _ in ready}
                # What it said before it ended is there by now, even where somebody else holds the pipe open.
                for key in [key for key, _ in ready] if running else list(selector.get_map().values()):
                    if key.data is not None and not _read(key.fd, key.data, None if running else most):
                        selector.unregister(key.fileobj)
                del errors[:-CAUSE_BYTES]
    finally:
        os.close(ended)
    return bytes(output), " ".join(read_text(bytes(errors)).split())


def _read(pipe: int, heard: bytearray, most: int | None) -> bool:
    """Add what is there to what was heard: once, or until there is more than ``most``; false at the end of the pipe."""
    while True:
        try:
            data = os.read(pipe, CHUNK_BYTES)
        except BlockingIOError:
            return True
        heard += data
        if not data or most is None or len(heard) > most:
            return bool(data)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone, or not ours to end
        os.killpg(group, signal.SIGKILL)


def _how_it_ended(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:  # one of the real-time signals, of which most have no name
        return f"ended by signal {-status}"
