"""The daemon that is attacked: its configuration, its memory, and its heartbeats as systemd would get them."""

import json
import os
import selectors
import socket
import subprocess
import time
from pathlib import Path

from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, ask, status
from tests.soak.attacks.attack import WATCHDOG_SECONDS, Attack
from tests.soak.attacks.configurations import ANSWER, PORT, QUERY
from tests.soak.attacks.good_client import PRIORITY
from tests.soak.daemon import SoakError

EXIT_SECONDS = 3.0


class AttackedDaemon:
    """fingerd on port 79 of this process's network namespace, with its files in ``directory``."""

    def __init__(self, attack: Attack, directory: Path) -> None:
        self.slowest_beat = 0.0  # seconds between two heartbeats
        self.peak = 0.0  # MB
        config = directory / "fingerd.yaml"
        config.write_text(json.dumps(attack.configuration(directory)))
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(directory / "notify"))
        self._notify.setblocking(False)
        self._errors = directory / "stderr"
        self._is_stuck = attack.stuck_log
        read_end = -1
        if attack.stuck_log:
            read_end, write_end = os.pipe()
        else:
            write_end = os.open(self._errors, os.O_WRONLY | os.O_CREAT, 0o644)
        self.process = subprocess.Popen(
            ["nice", "-n", str(PRIORITY), *FINGERD, "-n", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=write_end,
            cwd=ROOT,
            env=os.environ
            | {"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6))}
            | {"PYTHONPATH": os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")]))},
        )
        os.close(write_end)
        self._read_end = read_end
        self._last_beat = 0.0

    def start(self) -> None:
        """Wait until it serves, and until its first answer. Raises SoakError if it does not."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._notify, selectors.EVENT_READ)
            end = time.monotonic() + TIMEOUT
            while True:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise SoakError(f"the daemon does not start\n{self.stderr()}")
                if selector.select(0.1) and b"READY=1" in self._notify.recv(4096):
                    break
        for _ in range(2):
            if not ask(("127.0.0.1", PORT), QUERY).endswith(ANSWER):
                raise SoakError(f"the daemon does not answer\n{self.stderr()}")

    def memory(self) -> float:
        """Its VmRSS in MB."""
        try:
            return int(status(self.process.pid, "VmRSS")[0]) / 1000
        except (OSError, LookupError) as error:
            raise SoakError(f"the daemon has ended: {self.process.poll()}\n{self.stderr()}") from error

    def begin(self) -> None:
        """Measure from now on."""
        self._read_beats()
        self._last_beat = time.monotonic()
        self.slowest_beat, self.peak = 0.0, self.memory()

    def observe(self) -> None:
        """Take the heartbeats and the memory of now; to be called often."""
        self.peak = max(self.peak, self.memory())
        now = time.monotonic()
        self.slowest_beat = max(self.slowest_beat, now - self._last_beat)
        if self._read_beats():
            self._last_beat = now

    def _read_beats(self) -> int:
        beats = 0
        try:
            while True:
                beats += b"WATCHDOG=1" in self._notify.recv(4096)
        except BlockingIOError:
            return beats

    def stderr(self) -> str:
        """The end of its log, without access lines and the warning about root."""
        if self._is_stuck or not self._errors.exists():
            return ""
        lines = self._errors.read_text(errors="backslashreplace").splitlines()
        return "\n".join([line for line in lines if " client=" not in line and "as root" not in line][-30:])

    def close(self) -> None:
        """Stop it, the hard way if it does not."""
        self.process.terminate()
        try:
            self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(TIMEOUT)
        self._notify.close()
        if self._read_end >= 0:
            os.close(self._read_end)
