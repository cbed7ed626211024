"""The order in which the daemon starts: what needs root or the whole file system first, threads last."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fingerd.daemon.descriptors import within_descriptors
from fingerd.daemon.detach import ParentPipe, become_daemon
from fingerd.daemon.pidfile import PidFile
from fingerd.daemon.privileges import Identity
from fingerd.daemon.reload import Reloader
from fingerd.daemon.systemd import Notifier
from fingerd.log.sinks import DescriptorSink, Sink, SyslogSink
from fingerd.log.writer import Writer, install, open_sink
from fingerd.server.listeners import describe_listener
from fingerd.server.server import FingerServer
from fingerd.settings import Settings

log = logging.getLogger("fingerd")


@dataclass(frozen=True, slots=True)
class StartupContext:
    """Everything that is known before the first step."""

    path: str  # of the configuration
    options: Mapping[str, tuple[str, str]]  # of the command line, as read_config takes them
    settings: Settings
    warnings: Sequence[str]
    owner: Identity
    foreground: bool
    stderr_by_default: bool  # logs to standard error by default
    client: socket.socket | None  # the only one, where inetd passed it
    listeners: Sequence[socket.socket]  # that systemd passed
    notifier: Notifier


def serve(start: StartupContext, shell: ParentPipe) -> int:
    """Serve until a signal says to stop; the exit code. StartError where that cannot begin; ``shell`` hears of both."""
    settings, few = within_descriptors(start.settings)
    warnings = [*start.warnings, *few]
    owner = start.owner
    sink = open_sink(
        settings.log, start.stderr_by_default, (owner.uid, owner.gid) if owner.groups is not None else None
    )
    warnings += _warnings_about(sink, owner)
    if not start.foreground or not isinstance(sink, DescriptorSink):
        print(*(f"fingerd: warning: {warning}\n" for warning in warnings), sep="", end="", file=sys.stderr, flush=True)
    pidfile = PidFile(settings.process.pidfile) if settings.process.pidfile else None
    try:
        with FingerServer(settings, bind_and_activate=not (start.client or start.listeners)) as server:
            if start.listeners:
                server.use_listeners(start.listeners)
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
                warnings.append(f"uid {os.getuid()} cannot read {start.path}: changes of it need a restart")
            writer = Writer(sink, settings.log)
            reloader = Reloader(
                start.path, start.options, settings, server, writer, start.notifier, start.stderr_by_default
            )
            _handle_signals(server, reloader)
            if pidfile:
                pidfile.write()  # from now on somebody may send one
            install(writer, settings.log.level)
            writer.start()
            try:
                for warning in warnings:
                    log.warning("%s", warning)
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


def _warnings_about(sink: Sink, owner: Identity) -> list[str]:
    warnings = []
    if isinstance(sink, SyslogSink) and not sink.connected:
        warnings.append("there is no syslog here: nothing is logged until there is one (log.to may name a file)")
    if os.getuid() == 0 and owner.uid == 0:
        warnings.append("running as root: set process.user to the user that fingerd should become")
    return warnings


def _serve(start: StartupContext, server: FingerServer, writer: Writer, reloader: Reloader, shell: ParentPipe) -> None:
    """Everything is given away: tell whoever waits, and serve."""
    notifier = start.notifier
    server.access_log = writer.log_access
    server.on_draining = notifier.stopping
    if notifier.watchdog_seconds:
        server.loop.set_heartbeat(notifier.watchdog_seconds / 2, notifier.watchdog)
    reloader.start()
    if start.client:
        server.serve_client(start.client)
    else:
        log.info("listening on %s", ", ".join(map(describe_listener, server.listeners)) or "nothing")
        shell.tell(os.EX_OK)
        notifier.ready()
        server.serve_forever()
        log.info("stopped")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is being done
    server.close_backends()


def _handle_signals(server: FingerServer, reloader: Reloader) -> None:
    """SIGTERM and SIGINT stop, SIGHUP reloads; the wake-up descriptor ends the server's wait whenever they come."""
    signal.set_wakeup_fd(server.loop.wakeup_write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    signal.signal(signal.SIGHUP, lambda *_: reloader.wish())
