"""The order in which the daemon starts: what needs root or the whole file system first, threads last."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fingerd.daemon.descriptors import within_descriptors
from fingerd.daemon.detach import Shell, become_daemon
from fingerd.daemon.pidfile import PidFile
from fingerd.daemon.privileges import Owner
from fingerd.daemon.reload import Reloader
from fingerd.daemon.systemd import Notifier
from fingerd.log.sinks import DescriptorSink, Sink, SyslogSink
from fingerd.log.writer import Writer, install, open_sink
from fingerd.server.listeners import name_of
from fingerd.server.server import FingerServer
from fingerd.settings import Settings

log = logging.getLogger("fingerd")


@dataclass(frozen=True, slots=True)
class Start:
    """Everything that is known before the first step."""

    path: str  # of the configuration
    options: Mapping[str, tuple[str, str]]  # of the command line, as read_config takes them
    settings: Settings
    warnings: Sequence[str]
    owner: Owner
    foreground: bool
    talks: bool  # logs to standard error by default
    client: socket.socket | None  # the only one, where inetd passed it
    listeners: Sequence[socket.socket]  # that systemd passed
    notifier: Notifier


def serve(start: Start, shell: Shell) -> int:
    """Serve until a signal says to stop; the exit code. StartError where that cannot begin; ``shell`` hears of both."""
    settings, few = within_descriptors(start.settings)
    doubts = [*start.warnings, *few]
    owner = start.owner
    sink = open_sink(settings.log, start.talks, (owner.uid, owner.gid) if owner.groups is not None else None)
    doubts += _doubts_about(sink, owner)
    if not start.foreground or not isinstance(sink, DescriptorSink):
        print(*(f"fingerd: warning: {doubt}\n" for doubt in doubts), sep="", end="", file=sys.stderr, flush=True)
    pidfile = PidFile(settings.process.pidfile) if settings.process.pidfile else None
    try:
        with FingerServer(settings, bind_and_activate=not (start.client or start.listeners)) as server:
            if start.listeners:
                server.inherit(start.listeners)
            keep = [
                *server.descriptors(),
                *sink.descriptors(),
                *start.notifier.descriptors(),
                *shell.descriptors(),
                *([start.client.fileno()] if start.client else []),
                *([pidfile.fileno()] if pidfile else []),
            ]
            become_daemon(settings.process, owner, not start.foreground, keep, keep_stderr=settings.log.to == "stderr")
            if not settings.process.chroot and not os.access(start.path, os.R_OK):
                doubts.append(f"uid {os.getuid()} cannot read {start.path}: changes of it need a restart")
            writer = Writer(sink, settings.log)
            reloader = Reloader(start.path, start.options, settings, server, writer, start.notifier, start.talks)
            _handle_signals(server, reloader)
            if pidfile:
                pidfile.write()  # from now on somebody may send one
            install(writer, settings.log.level)
            writer.start()
            try:
                for doubt in doubts:
                    log.warning("%s", doubt)
                _serve(start, server, writer, reloader, shell)
            except Exception:
                log.exception("a bug")
                return os.EX_SOFTWARE
            finally:
                writer.close()
            return os.EX_OK
    finally:
        if pidfile:
            pidfile.remove()


def _doubts_about(sink: Sink, owner: Owner) -> list[str]:
    doubts = []
    if isinstance(sink, SyslogSink) and not sink.connected:
        doubts.append("there is no syslog here: nothing is logged until there is one (log.to may name a file)")
    if os.getuid() == 0 and owner.uid == 0:
        doubts.append("running as root: set process.user to the user that fingerd should become")
    return doubts


def _serve(start: Start, server: FingerServer, writer: Writer, reloader: Reloader, shell: Shell) -> None:
    """Everything is given away: tell whoever waits, and serve."""
    notifier = start.notifier
    server.access_log = writer.log_access
    server.last_call = notifier.stopping
    if notifier.watchdog_seconds:
        server.porch.keep_beating(notifier.watchdog_seconds / 2, notifier.alive)
    reloader.start()
    if start.client:
        server.serve_client(start.client)
    else:
        log.info("listening on %s", ", ".join(map(name_of, server.listeners)) or "nothing")
        shell.tell(os.EX_OK)
        notifier.ready()
        server.serve_forever()
        log.info("stopped")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is being done
    server.close_backends()


def _handle_signals(server: FingerServer, reloader: Reloader) -> None:
    """SIGTERM and SIGINT stop, SIGHUP reloads; the wake-up descriptor ends the server's wait whenever they come."""
    signal.set_wakeup_fd(server.porch.bell_rope, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    signal.signal(signal.SIGHUP, lambda *_: reloader.wish())
