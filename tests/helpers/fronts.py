"""HAProxy and stunnel in front of fingerd, by the recipes of examples/fleet/ with addresses of loopback."""

import csv
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.helpers.daemons import EXAMPLES, TIMEOUT, hear, is_open, wait_until
from tests.helpers.requirements import find, need

RECIPES = EXAMPLES / "fleet"


def recipe(name: str, replaced: Mapping[str, str]) -> str:
    """A file of examples/fleet/ with other addresses and paths; each of them is in it."""
    text = (RECIPES / name).read_text()
    for old, new in replaced.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


class Front:
    """A program in the foreground; what it prints is in a file. Only root can become the user that it names."""

    def __init__(
        self, folder: Path, name: str, config: str, options: tuple[str, ...], answers: Callable[[], bool]
    ) -> None:
        need(name)
        program = find(name)
        assert program
        folder.mkdir()
        if os.getuid() != 0:
            words = ("user ", "group ", "chroot ", "setuid ", "setgid ")
            config = "".join(line for line in config.splitlines(keepends=True) if not line.strip().startswith(words))
        self.config = folder / f"{name}.cfg"
        self.config.write_text(config)
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [program, *options, str(self.config)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            wait_until(lambda: self.process.poll() is not None or answers())
            assert self.process.poll() is None, self.printed
        except BaseException:
            self.close()
            raise

    @property
    def printed(self) -> str:
        """All that it has printed so far, the log included."""
        return self._output.read_text(errors="replace")

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT)


def haproxy(folder: Path, config: str, port: int, *options: str) -> Front:
    """A HAProxy that answers at this port of 127.0.0.1, and at its ``stats socket`` if it has one."""
    sockets = [Path(path) for path in re.findall(r"^ *stats socket (\S+)", config, re.MULTILINE)]

    def answers() -> bool:
        return is_open(("127.0.0.1", port)) and all(path.exists() for path in sockets)

    return Front(folder, "haproxy", config, (*options, "-f"), answers)


def stunnel(folder: Path, config: str, port: int) -> Front:
    """A stunnel that answers at this port of 127.0.0.1."""
    return Front(folder, "stunnel", config, (), lambda: is_open(("127.0.0.1", port)))


def server_state(stats: Path, name: str) -> tuple[str, str]:
    """Whether HAProxy takes this server of the backend fingerd for one that is up, and what its last check found."""
    table = csv.DictReader(told(stats, "show stat").removeprefix("# ").splitlines())
    (row,) = (row for row in table if (row["pxname"], row["svname"]) == ("fingerd", name))
    return row["status"], row["check_status"].removeprefix("* ")


def told(path: Path, command: str) -> str:
    """What HAProxy answers to a command on its ``stats socket``."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        client.sendall(f"{command}\n".encode())
        return hear(client).decode()
