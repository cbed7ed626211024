"""fingerd as a detached process."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import FINGERD, TIMEOUT, let_everybody_in, status, wait_until

STATIC = "backend: {type: static, users: {moshez: Happy and well}}\n"
NOBODY = 65534


def run(*options: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run fingerd until it exits; if it detaches, that is when the daemon serves."""
    command = [*FINGERD, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=cwd)


class Detached:
    """A detached daemon, with the pid from its pid file and the address from its log."""

    def __init__(self, directory: Path, config: str = "", *options: str, inside: tuple[str, ...] = ()) -> None:
        self.log = directory / "fingerd.log"
        self.pidfile = directory / "fingerd.pid"
        path = directory / "fingerd.yaml"
        path.write_text(f'listen: "127.0.0.1:0"\n{STATIC}{config}')
        command = [*inside, *FINGERD, "-c", str(path), "--pidfile", str(self.pidfile), *options]
        if not {"--syslog", "-l"} & set(options):
            command += ["-l", str(self.log)]
        self.done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert self.done.returncode == 0, self.done.stderr
        self.pid = int(self.pidfile.read_text())

    @property
    def address(self) -> tuple[str, int]:
        wait_until(lambda: self.log.exists() and "listening on" in self.log.read_text())
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text())
        assert found
        return "127.0.0.1", int(found[1])

    @property
    def is_running(self) -> bool:
        """Whether the process exists, and is not waited for after its end."""
        return Path(f"/proc/{self.pid}").exists() and status(self.pid, "State")[0] != "Z"

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        os.kill(self.pid, signal.SIGTERM)
        wait_until(lambda: not self.is_running)


Detach = Callable[..., Detached]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that a daemon can access as another user."""
    let_everybody_in(tmp_path)
    return tmp_path


@pytest.fixture
def detached(directory: Path) -> Iterator[Detach]:
    """Starts detached daemons, and stops those that still run."""
    started: list[Detached] = []

    def detached(config: str = "", *options: str, inside: tuple[str, ...] = ()) -> Detached:
        started.append(Detached(directory, config, *options, inside=inside))
        return started[-1]

    yield detached
    for daemon in started:
        if daemon.is_running:
            daemon.stop()


@pytest.fixture
def config(directory: Path) -> Path:
    path = directory / "fingerd.yaml"
    path.write_text(f'listen: "127.0.0.1:0"\n{STATIC}log: {{to: stderr}}\nprocess: {{pidfile: {directory}/pid}}\n')
    return path
