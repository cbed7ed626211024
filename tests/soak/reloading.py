"""SIGHUP every second for as long as the load lasts: good configurations, now and then a broken one or a new log."""

import threading
from itertools import count

from tests.soak.daemon import Daemon, NotWellError

INTERVAL = 1.0  # seconds between one reload and the next
ROTATED = 7  # every so many reloads the log is rotated before
BROKEN = 5  # and every so many are of a broken file; with both, lines move to the new log all the same


class Reloading(threading.Thread):
    """Does it to one daemon until ``finish``."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(name=f"reloading {daemon.name}", daemon=True)
        self.done = self.refused = 0
        self.failure = ""
        self._daemon = daemon
        self._ending = threading.Event()

    def run(self) -> None:
        """Go on until the end, or until the daemon does not obey any more."""
        try:
            for turn in count(1):
                if self._ending.wait(INTERVAL):
                    return
                if turn % ROTATED == 0:
                    self._daemon.log.rotate()
                if turn % BROKEN == 0:
                    self._daemon.reload_broken()
                    self.refused += 1
                else:
                    self._daemon.reload()
                    self.done += 1
        except (NotWellError, OSError) as error:
            self.failure = str(error)

    def finish(self) -> None:
        """The load is over."""
        self._ending.set()
        self.join()
