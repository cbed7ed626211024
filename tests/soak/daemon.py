"""One fingerd process: start it, reload it, observe it from outside, and stop it."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from pathlib import Path

from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, descriptors, status
from tests.soak.configurations import broken_configurations, configuration
from tests.soak.logfiles import REFUSED, RELOADED, LogFiles

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.02  # how often the log is read

# The C library gives blocks of this size back to the system as soon as they are freed. By default it learns to keep
# larger and larger ones, in an arena for each thread, so that the memory of a daemon that reloads all the time creeps
# up for minutes, by more than what the check of memory is to find.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one point in time."""

    at: float  # time.monotonic()
    descriptors: int
    threads: int
    memory: int  # VmRSS in kB
    cpu: float  # seconds so far, with ended children


class Daemon:
    """fingerd in the foreground, with its log in a file in ``directory``; its first configuration is generation 0.

    ``oldest`` is the last generation whose reload was logged: an answer to a
    query sent after that must not be older. ``newest`` is the last one that was
    written to the file: no answer can be newer. Both are shared with the
    processes of clients.
    """

    def __init__(self, name: str, directory: Path, web_port: int, context: SpawnContext) -> None:
        self.name = name
        self.oldest = context.Value("q", 0)
        self.newest = context.Value("q", 0)
        self.slowest_reload = 0.0
        self.connections = 0  # of this process; those of the load are in its tally
        self._directory, self._web_port = directory, web_port
        self._config = directory / f"{name}.yaml"
        self.log = LogFiles(directory / f"{name}.log")
        self._broken = broken_configurations(self.log.path)
        self._write(self._text(0))
        with (directory / f"{name}.stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                [*FINGERD, "-n", "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=ROOT,
                env=os.environ | MALLOC,
                start_new_session=True,  # Ctrl-C is for the soak test, which then stops it
            )
        try:
            self._await(lambda: self.log.listening)
        except BaseException:
            self.kill()
            raise
        self.address = "127.0.0.1", int(self.log.listening.rpartition(":")[2])

    def stderr(self) -> str:
        """Its standard error, without the warning about root."""
        lines = (self._directory / f"{self.name}.stderr").read_text(errors="backslashreplace").splitlines()
        return "\n".join(line for line in lines if "running as root" not in line)

    def reload(self) -> None:
        """Write the next generation and reload; returns when that is logged."""
        generation = self.newest.value + 1
        self._write(self._text(generation))
        self.newest.value = generation
        self._send_sighup(RELOADED)
        self.oldest.value = generation

    def reload_broken(self) -> None:
        """Write an invalid file and reload; returns when the log says that it was refused."""
        self._write(next(self._broken))
        self._send_sighup(REFUSED)

    def _text(self, generation: int) -> str:
        return configuration(self.name, generation, self._directory, self.log.path, self._web_port)

    def _write(self, text: str) -> None:
        """Replace the file atomically: a reload that is running must not read half of it."""
        new = self._config.with_suffix(".new")
        new.write_text(text)
        new.replace(self._config)

    def _send_sighup(self, message: str) -> None:
        start = time.monotonic()
        self.log.read()
        before = self.log.messages[message]
        self.process.send_signal(signal.SIGHUP)
        self._await(lambda: self.log.messages[message] > before)
        self.slowest_reload = max(self.slowest_reload, time.monotonic() - start)

    def _await(self, logged: Callable[[], object]) -> None:
        end = time.monotonic() + TIMEOUT
        while not logged():
            if time.monotonic() > end or self.process.poll() is not None:
                raise SoakError(f"{self.name}: the expected log line is missing\n{self.stderr()}")
            time.sleep(POLL_SECONDS)
            self.log.read()

    def sample(self) -> Sample:
        """The process now. Raises SoakError if it has ended."""
        pid = self.process.pid
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return Sample(
                time.monotonic(),
                descriptors(pid),
                int(status(pid, "Threads")[0]),
                int(status(pid, "VmRSS")[0]),
                sum(map(int, fields[11:15])) / TICKS,
            )
        except (OSError, LookupError) as error:
            raise SoakError(f"{self.name} has ended\n{self.stderr()}") from error

    def generations(self) -> Sequence[int]:
        """The generations that may answer now."""
        return range(self.oldest.value, self.newest.value + 1)

    def open_files(self) -> Counter[str]:
        """Its open files, by path or type."""
        directory = Path(f"/proc/{self.process.pid}/fd")
        names: Counter[str] = Counter()
        for descriptor in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                names[str(descriptor.readlink()).partition(":[")[0]] += 1
        return names

    def connect(self, client: str) -> socket.socket:
        """A connection from this address."""
        self.connections += 1
        return socket.create_connection(self.address, timeout=TIMEOUT, source_address=(client, 0))

    def terminate(self, seconds: float) -> tuple[int | None, float]:
        """Send SIGTERM; returns its exit code, None if it did not exit in time, and the seconds that it took."""
        start = time.monotonic()
        self.process.terminate()
        try:
            code: int | None = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            self.kill()
        return code, time.monotonic() - start

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT)


class SoakError(Exception):
    """The soak test cannot go on: a daemon has ended or does not reload, or a process of clients has ended."""
