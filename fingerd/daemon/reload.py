"""Reloading the configuration: sending SIGHUP to a fingerd, and what the daemon does on SIGHUP."""

import abc
import contextlib
import dataclasses
import logging
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue

from fingerd.backends import close_backend
from fingerd.bugs import BackendBugError, report_bug
from fingerd.daemon.descriptors import within_descriptors
from fingerd.daemon.switching import ShortTurns
from fingerd.daemon.systemd import Notifier
from fingerd.errors import ConfigError, StartError
from fingerd.log.format import timestamp
from fingerd.log.sinks import Sink
from fingerd.log.writer import STREAMS, Writer, open_sink
from fingerd.server.server import FingerServer
from fingerd.settings import Settings, read_config

log = logging.getLogger(__name__)

LOCAL_TIME = "/etc/localtime"  # read when the process starts, and again by tzset(3)

# A reload in a chroot keeps these sections: they refer to accounts, directories, log files, which the chroot hides.
FIXED_IN_CHROOT = ("http", "listen", "log", "metrics", "plan", "process")


def send_reload(pid: int) -> None:
    """Send SIGHUP to the fingerd with this pid; StartError: exit code 69 if it is none, 77 if that is not permitted."""
    try:
        # The default action of SIGHUP ends a process, and a stale pid file may name any.
        if _catches_sighup(pid) is False:
            what = "has no handler for SIGHUP, so it is not a running fingerd: no signal sent"
            raise StartError(f"process {pid} {what}", os.EX_UNAVAILABLE)
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        raise StartError(f"process {pid} does not exist", os.EX_UNAVAILABLE) from None
    except PermissionError:
        raise StartError(f"process {pid} cannot be signalled by uid {os.getuid()}", os.EX_NOPERM) from None


def _catches_sighup(pid: int) -> bool | None:
    """Whether the process has a handler for SIGHUP; None if /proc is absent or hides it (hidepid, ProtectProc=)."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        return bool(int(fields["SigCgt"], 16) >> (signal.SIGHUP - 1) & 1)
    except (OSError, KeyError, ValueError):
        return None


@dataclass
class ReloadThread(abc.ABC):
    """Reloads on a thread of its own, and tells the service manager. A failure is logged, and changes nothing."""

    path: str
    server: FingerServer
    writer: Writer
    notifier: Notifier
    _requests: SimpleQueue[None] = field(default_factory=SimpleQueue, init=False)

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="reload", daemon=True).start()

    def trigger(self) -> None:
        """Request a reload. May be called from a signal handler."""
        self._requests.put(None)

    def _run(self) -> None:
        while True:
            self._requests.get()
            while not self._requests.empty():  # one reload for all requests
                self._requests.get()
            if self.server.is_stopping:
                continue
            try:
                self._notify_and_reload()
            except BaseException as error:
                report_bug(error, "while reloading")

    def _notify_and_reload(self) -> None:
        try:
            self.notifier.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._reload_or_keep()
        finally:
            self.notifier.send("READY=1")  # whether it succeeded or not

    def _reload_or_keep(self) -> bool:
        """Reload; if that fails, log why, keep the old configuration, and return false."""
        if os.path.exists(LOCAL_TIME):  # else it was deleted, or a chroot hides it: the time would be UTC
            time.tzset()
            timestamp.cache_clear()
        try:
            self._reload()
            return True
        except (ConfigError, StartError) as error:
            problems = str(error).splitlines()
        except BaseException as error:
            report_bug(error, "while reloading")
            problems = [str(error) if isinstance(error, BackendBugError) else "internal error"]
        for problem in problems:
            log.error("not reloaded: %s", problem)
        return False

    @abc.abstractmethod
    def _reload(self) -> None:
        """Read and open everything before anything changes; ConfigError or StartError if that fails."""


@dataclass(kw_only=True)
class Reloader(ReloadThread):
    """Reloads the daemon's configuration."""

    options: Mapping[str, tuple[str, str]]  # from the command line
    settings: Settings  # the active ones
    stderr_by_default: bool  # logs to standard error by default
    closed_streams: Collection[int] = ()  # standard output or error, if closed at the start
    short_turns: ShortTurns = field(default_factory=ShortTurns)
    last: tuple[bool, float] = field(default_factory=lambda: (True, time.time()))  # whether it succeeded, and when

    def _reload_or_keep(self) -> bool:
        with self.short_turns:
            succeeded = super()._reload_or_keep()
            if not succeeded:
                self._keep_old()
        self.last = succeeded, time.time()
        return succeeded

    def _reload(self) -> None:
        """Read and open everything before anything changes."""
        chroot = self.settings.process.chroot is not None
        if chroot and not os.path.exists(self.path):
            raise StartError("the configuration file is not visible in the chroot: a restart is needed", os.EX_CONFIG)
        settings, warnings = read_config(self.path, self.options, without=FIXED_IN_CHROOT if chroot else ())
        if chroot:
            settings = dataclasses.replace(settings, **{name: getattr(self.settings, name) for name in FIXED_IN_CHROOT})
        with contextlib.ExitStack() as undo:
            undo.callback(close_backend, settings.backend)
            settings, limit_warnings = within_descriptors(settings)
            changes = [f"{name} has changed: a restart is needed" for name in _changed(settings, self.settings)]
            for warning in (*warnings, *limit_warnings, *changes):
                log.warning("%s", warning)
            if sink := self._open_log(settings):
                undo.callback(sink.close)
            self.server.reload(settings)
            undo.pop_all()
        if sink:
            self.writer.switch(sink, settings.log)
        self.settings = _as_started(settings, self.settings)
        log.info("configuration reloaded")

    def _keep_old(self) -> None:
        """Keep the active settings, but reopen the log file: it may have been rotated."""
        try:
            if sink := self._open_log(self.settings):
                self.writer.switch(sink, self.settings.log)
        except StartError as error:
            log.error("%s: keeping the open log file", error)

    def _open_log(self, settings: Settings) -> Sink | None:
        """Open the configured log; None in a chroot, which hides it. Raises StartError if it cannot be opened."""
        if self.settings.process.chroot:
            return None
        if (descriptor := STREAMS.get(settings.log.to or "")) in self.closed_streams:
            stream = "standard output" if descriptor == 1 else "standard error"
            raise StartError(f"log.to: {stream} was closed at the start: a restart is needed", os.EX_CONFIG)
        return open_sink(settings.log, self.stderr_by_default, None)


def _changed(new: Settings, started: Settings) -> Iterator[str]:
    """What has changed and needs a restart."""
    yield from (name for name in ("listen", "process") if getattr(new, name) != getattr(started, name))
    for name in ("http", "metrics"):
        section, before = getattr(new, name), getattr(started, name)
        if (section is None) != (before is None):
            yield name
        elif section and section.listen != before.listen:
            yield f"{name}.listen"


def _as_started(new: Settings, started: Settings) -> Settings:
    """The new settings, but for what is as it was at the start."""
    http = dataclasses.replace(new.http, listen=started.http.listen) if new.http and started.http else started.http
    kept = {name: getattr(started, name) for name in ("listen", "metrics", "process")}
    return dataclasses.replace(new, http=http, **kept)
