"""SIGHUP: read the configuration again, beside the thread that serves, and swap it in one step; and sending it."""

import dataclasses
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue

from fingerd.daemon.descriptors import within_descriptors
from fingerd.daemon.systemd import Notifier
from fingerd.errors import ConfigError, StartError
from fingerd.log.writer import Writer, open_sink
from fingerd.server.server import FingerServer
from fingerd.settings import Settings, read_config

log = logging.getLogger(__name__)

# What a jail cannot see: accounts, folders, syslog, the log file. These go on as they are.
IN_JAIL = ("listen", "log", "process")


def send_reload(pid: int) -> None:
    """Send SIGHUP to the fingerd with this pid.

    StartError with exit code 69 where no such process exists or it has no handler for SIGHUP, 77 where this user may
    not signal it.
    """
    try:
        # The default action of SIGHUP ends a process, and a stale pid file may name any.
        if _catches_sighup(pid) is False:
            raise StartError(
                f"process {pid} has no handler for SIGHUP, so it is not a running fingerd: no signal sent",
                os.EX_UNAVAILABLE,
            )
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        raise StartError(f"process {pid} does not exist", os.EX_UNAVAILABLE) from None
    except PermissionError:
        raise StartError(f"process {pid} cannot be signalled by uid {os.getuid()}", os.EX_NOPERM) from None


def _catches_sighup(pid: int) -> bool | None:
    """Whether the process has a handler for SIGHUP; None where /proc does not show it.

    /proc may be absent, or hide processes of other users and user namespaces (hidepid, ProtectProc=).
    """
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        return bool(int(fields["SigCgt"], 16) >> (signal.SIGHUP - 1) & 1)
    except (OSError, KeyError, ValueError):
        return None


@dataclass
class Reloader:
    """Reads the file at ``path`` again whenever it is asked to. A bad file is logged, and the old one goes on."""

    path: str
    options: Mapping[str, tuple[str, str]]  # of the command line
    settings: Settings  # those in force
    server: FingerServer
    writer: Writer
    notifier: Notifier
    stderr_by_default: bool  # logs to standard error by default
    _wishes: SimpleQueue[None] = field(default_factory=SimpleQueue, init=False)

    def start(self) -> None:
        """Wait for wishes, on a thread of its own."""
        threading.Thread(target=self._run, name="reload", daemon=True).start()

    def wish(self) -> None:
        """Ask for a reload; may be called from a signal handler."""
        self._wishes.put(None)

    def _run(self) -> None:
        while True:
            self._wishes.get()
            while not self._wishes.empty():  # several wishes are one
                self._wishes.get()
            if self.server.is_stopping:
                continue
            self.notifier.reloading()
            try:
                self._reload()
            except (ConfigError, StartError) as error:
                for problem in str(error).splitlines():
                    log.error("not reloaded: %s", problem)
                self._go_on()
            except Exception:
                log.exception("a bug while reloading: the old configuration goes on")
            self.notifier.ready()

    def _reload(self) -> None:
        """Everything is read and opened before anything changes."""
        jailed = self.settings.process.chroot is not None
        if jailed and not os.path.exists(self.path):
            raise StartError("the configuration cannot be seen from the chroot: that needs a restart", os.EX_CONFIG)
        settings, warnings = read_config(self.path, self.options, without=IN_JAIL if jailed else ())
        if jailed:
            settings = dataclasses.replace(settings, **{name: getattr(self.settings, name) for name in IN_JAIL})
        settings, warnings = within_descriptors(settings)
        for warning in (*warnings, *warnings, *self._needs_restart(settings)):
            log.warning("%s", warning)
        try:
            self._reopen_log(settings)
        except StartError:
            settings.backend.close()
            raise
        self.server.reload(settings)
        self.settings = dataclasses.replace(settings, listen=self.settings.listen, process=self.settings.process)
        log.info("configuration reloaded")

    def _needs_restart(self, settings: Settings) -> Iterator[str]:
        for name in ("listen", "process"):
            if getattr(settings, name) != getattr(self.settings, name):
                yield f"{name} has changed: that needs a restart"

    def _go_on(self) -> None:
        """With the old settings, but with a new log file all the same: the old one may have been moved away."""
        try:
            self._reopen_log(self.settings)
        except StartError as error:
            log.error("%s: the old file goes on", error)

    def _reopen_log(self, settings: Settings) -> None:
        """Let lines go where these settings say, into files that are opened anew; StartError where that cannot be."""
        if self.settings.process.chroot:
            return
        self.writer.switch(open_sink(settings.log, self.stderr_by_default, None), settings.log)
