"""One fingerd process: started, reloaded, its log rotated, looked at from outside, and ended."""

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
MOMENT = 0.02  # seconds between two looks at the log


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process was and had at one moment."""

    at: float  # time.monotonic()
    descriptors: int
    threads: int
    memory: int  # VmRSS in kB
    cpu: float  # seconds so far, its ended children's too


class Daemon:
    """fingerd in the foreground, logging to a file in ``folder``; its first configuration is generation 0.

    ``known`` is the generation of the last configuration of which the log said that it was reloaded, ``newest`` that
    of the last one that could be read. No answer asked for after the one may be older, none may be newer than the
    other. Both are shared with the processes that ask.
    """

    def __init__(self, name: str, folder: Path, web_port: int, context: SpawnContext) -> None:
        self.name = name
        self.known = context.Value("q", 0)
        self.newest = context.Value("q", 0)
        self.slowest_reload = 0.0
        self.connections = 0  # made here; those of the load are counted there
        self._folder, self._web_port = folder, web_port
        self._config = folder / f"{name}.yaml"
        self.log = LogFiles(folder / f"{name}.log")
        self._broken = broken_configurations(self.log.path)
        self._write(self._text(0))
        with (folder / f"{name}.stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                [*FINGERD, "-n", "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=ROOT,
                start_new_session=True,  # Ctrl-C is for the soak, which ends it in its own way
            )
        try:
            self._await(lambda: self.log.listening)
        except BaseException:
            self.kill()
            raise
        self.address = "127.0.0.1", int(self.log.listening.rpartition(":")[2])

    def complaints(self) -> str:
        """What it wrote to standard error, where nothing but a word about root belongs."""
        lines = (self._folder / f"{self.name}.stderr").read_text(errors="backslashreplace").splitlines()
        return "\n".join(line for line in lines if "running as root" not in line)

    def reload(self) -> None:
        """Have the next generation read; returns when the log says so."""
        generation = self.newest.value + 1
        self._write(self._text(generation))
        self.newest.value = generation
        self._hang_up(RELOADED)
        self.known.value = generation

    def reload_broken(self) -> None:
        """Have a broken file read; returns when the log says that it was refused."""
        self._write(next(self._broken))
        self._hang_up(REFUSED)

    def _text(self, generation: int) -> str:
        return configuration(self.name, generation, self._folder, self.log.path, self._web_port)

    def _write(self, text: str) -> None:
        """In one step, as an editor does: a reload that runs already must not read half of it."""
        new = self._config.with_suffix(".new")
        new.write_text(text)
        new.replace(self._config)

    def _hang_up(self, awaited: str) -> None:
        begun = time.monotonic()
        self.log.read()
        before = self.log.messages[awaited]
        self.process.send_signal(signal.SIGHUP)
        self._await(lambda: self.log.messages[awaited] > before)
        self.slowest_reload = max(self.slowest_reload, time.monotonic() - begun)

    def _await(self, logged: Callable[[], object]) -> None:
        end = time.monotonic() + TIMEOUT
        while not logged():
            if time.monotonic() > end or self.process.poll() is not None:
                raise NotWellError(f"{self.name} does not log what it should\n{self.complaints()}")
            time.sleep(MOMENT)
            self.log.read()

    def sample(self) -> Sample:
        """How it is now; NotWellError where it is not any more."""
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
            raise NotWellError(f"{self.name} has ended\n{self.complaints()}") from error

    def generations(self) -> Sequence[int]:
        """Those by which it may answer now."""
        return range(self.known.value, self.newest.value + 1)

    def open_files(self) -> Counter[str]:
        """What its descriptors are: paths, and words for all else."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        names: Counter[str] = Counter()
        for descriptor in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                names[str(descriptor.readlink()).partition(":[")[0]] += 1
        return names

    def connect(self, client: str) -> socket.socket:
        """A client from this address, who has not said anything."""
        self.connections += 1
        return socket.create_connection(self.address, timeout=TIMEOUT, source_address=(client, 0))

    def end(self, seconds: float) -> tuple[int | None, float]:
        """SIGTERM: its exit code, None where it did not end in time, and how long it took."""
        begun = time.monotonic()
        self.process.terminate()
        try:
            code: int | None = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            self.kill()
        return code, time.monotonic() - begun

    def kill(self) -> None:
        """End it whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT)


class NotWellError(Exception):
    """A daemon does not do what the soak cannot go on without."""
