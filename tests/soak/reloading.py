"""Sends SIGHUP every second during the load: with a valid configuration, an invalid one, or a rotated log."""

import threading
from itertools import count

from tests.soak.daemon import Daemon, SoakError

INTERVAL = 1.0  # seconds between one reload and the next
ROTATED = 7  # the log is rotated before every 7th reload
BROKEN = 5  # every 5th reload is of an invalid file; the log is reopened nevertheless


class Reloading(threading.Thread):
    """Reloads one daemon until ``finish``."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(name=f"reloading {daemon.name}", daemon=True)
        self.done = self.refused = 0
        self.failure = ""
        self._daemon = daemon
        self._stopping = threading.Event()

    def run(self) -> None:
        """Reload until ``finish``, or until the daemon does not react."""
        try:
            for number in count(1):
                if self._stopping.wait(INTERVAL):
                    return
                if number % ROTATED == 0:
                    self._daemon.log.rotate()
                if number % BROKEN == 0:
                    self._daemon.reload_broken()
                    self.refused += 1
                else:
                    self._daemon.reload()
                    self.done += 1
        except (SoakError, OSError) as error:
            self.failure = str(error)

    def finish(self) -> None:
        """Stop, and wait for the thread."""
        self._stopping.set()
        self.join()
