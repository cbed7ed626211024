"""``type: command``: a program is run for every query.

There is no shell. The user's name is one argument of its own, and a name that
begins with ``-`` is run past no program at all, so none can take it for an
option (the oldest hole of finger daemons that call finger(1)).
"""

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO

from fingerd.backends import Ask, Backend
from fingerd.errors import BackendError
from fingerd.host import absolute
from fingerd.people import Person
from fingerd.protocol import read_cut, read_text
from fingerd.scalars import Seconds, Size

END_SECONDS = 1.0  # that a killed program may take to be gone
CHUNK_BYTES = 1 << 16
CAUSE_BYTES = 1000  # of what a failing program says on standard error, for the log

# All that a program sees of the daemon's environment; a fixed locale, so that answers do not depend on who started it.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)} | {
    name: os.environ[name] for name in ("TZ", "TMPDIR") if name in os.environ
}


@dataclass(frozen=True)
class Command(Backend):
    """Runs a program for every query.

    In ``argv`` the text ``{user}`` stands for the user's name. Exit status 0
    with output is the answer, 0 without any is an unknown user, and
    everything else is a failure. ``list_argv`` is run for the list of users.
    """

    argv: tuple[str, ...]
    list_argv: tuple[str, ...] | None = None
    timeout: Annotated[float, Seconds(0.1)] = 10
    output_bytes: Annotated[int, Size()] = 256 << 10  # the rest is cut, and the program ended
    _running: set[int] = field(default_factory=set, init=False, repr=False, compare=False)  # process groups

    def __post_init__(self) -> None:
        for argv in (self.argv, self.list_argv):
            if argv is not None and (not argv or not argv[0]):
                raise ValueError("a program is needed")
            if argv and len(argv) == 1 and " " in argv[0]:
                raise ValueError(f"argv is a list: [{', '.join(argv[0].split())}]")
            if argv and "{user}" in argv[0]:
                raise ValueError("a user's name may not choose the program")
        object.__setattr__(self, "argv", _from_here(self.argv))
        object.__setattr__(self, "list_argv", self.list_argv and _from_here(self.list_argv))

    def find(self, ask: Ask) -> Sequence[Person]:
        """Somebody with the program's output as text; BackendError where it fails or takes too long."""
        if ask.username.startswith("-"):
            return ()
        output = self._run([part.replace("{user}", ask.username) for part in self.argv], ask.deadline)
        return (Person(ask.username, output),) if output else ()

    def listed(self, ask: Ask) -> Iterator[Person] | None:
        """The output of ``list_argv``; None without that."""
        if self.list_argv is None:
            return None
        return iter((Person("", self._run(list(self.list_argv), ask.deadline)),))

    def missing(self, root: Path) -> Iterator[str]:
        """The programs that cannot be found, or not be run, below ``root``."""
        path = os.pathsep.join(str(root / folder.lstrip("/")) for folder in _ENVIRONMENT["PATH"].split(os.pathsep))
        for argv in (self.argv, self.list_argv or ()):
            program = argv[0] if argv else ""
            if program and not shutil.which(str(root / program.lstrip("/")) if "/" in program else program, path=path):
                yield f"there is no program {program}" + (f" in {root}" if root != Path("/") else "")

    def close(self) -> None:
        """End the programs that still run."""
        for group in list(self._running):
            _kill(group)

    def _run(self, argv: list[str], deadline: float) -> str:
        """What the program prints, cut at ``output_bytes``; BackendError for all but exit status 0."""
        deadline = min(deadline, time.monotonic() + self.timeout)
        try:
            with _pipe() as output_pipe, _pipe() as errors_pipe:
                program = self._start(argv, output_pipe, errors_pipe)
                try:
                    output, cause = self._hear(program, output_pipe[0], errors_pipe[0], deadline)
                finally:
                    status = self._end(program)
        except TimeoutError as error:
            raise BackendError(f"command {argv[0]}: not done in time") from error
        except (OSError, ValueError) as error:
            raise BackendError(f"command {argv[0]}: {error}") from error
        if len(output) > self.output_bytes:
            return read_cut(output, self.output_bytes)
        if status:
            raise BackendError(f"command {argv[0]}: {_how_it_ended(status)}{cause and ': '}{cause}")
        return read_text(output)

    def _start(self, argv: list[str], output_pipe: "_Pipe", errors_pipe: "_Pipe") -> "subprocess.Popen[bytes]":
        """The program, which holds the pipes' other ends then, and nobody else."""
        program = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output_pipe[1],
            stderr=errors_pipe[1],
            env=_ENVIRONMENT,
            start_new_session=True,  # a process group of its own, to end all of it at once
        )
        self._running.add(program.pid)
        for _, told in (output_pipe, errors_pipe):
            told.close()
        return program

    def _hear(
        self, program: "subprocess.Popen[bytes]", output_pipe: BinaryIO, errors_pipe: BinaryIO, deadline: float
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
                while running and len(output) <= self.output_bytes:
                    ready = selector.select(max(deadline - time.monotonic(), 0))
                    if not ready or time.monotonic() >= deadline:
                        raise TimeoutError
                    running = ended not in {key.fd for key, _ in ready}
                    # What it said before it ended is there by now, even where somebody else holds the pipe open.
                    for key in [key for key, _ in ready] if running else list(selector.get_map().values()):
                        if key.data is not None and not self._read(key.fd, key.data, to_the_end=not running):
                            selector.unregister(key.fileobj)
                    del errors[:-CAUSE_BYTES]
        finally:
            os.close(ended)
        return bytes(output), " ".join(read_text(bytes(errors)).split())

    def _read(self, pipe: int, heard: bytearray, to_the_end: bool) -> bool:
        """Add what is there to what was heard, once or as far as it is wanted; false at the end of the pipe."""
        while True:
            try:
                data = os.read(pipe, CHUNK_BYTES)
            except BlockingIOError:
                return True
            heard += data
            if not data or not to_the_end or len(heard) > self.output_bytes:
                return bool(data)

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


def _from_here(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The same, with a program that is named by a relative path named by its whole one."""
    return (absolute(argv[0]) if "/" in argv[0] else argv[0], *argv[1:])


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone, or not ours to end
        os.killpg(group, signal.SIGKILL)


def _how_it_ended(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"ended by {signal.Signals(-status).name}"
