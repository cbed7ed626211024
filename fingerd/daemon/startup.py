"""The order of start-up: first what needs root or the whole file system, then dropping privileges, threads last."""

import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fingerd.bugs import report_bug
from fingerd.daemon.descriptors import within_descriptors
from fingerd.daemon.detach import ParentPipe, become_daemon
from fingerd.daemon.output import print_error
from fingerd.daemon.pidfile import PidFile
from fingerd.daemon.privileges import Identity
from fingerd.daemon.reload import Reloader
from fingerd.daemon.signals import handle_signals, ignore_signals
from fingerd.daemon.systemd import Notifier, StatusLine, finger_sockets
from fingerd.errors import StartError
from fingerd.http.loader import make_door
from fingerd.log.sinks import DescriptorSink, Sink, SyslogSink
from fingerd.log.writer import STREAMS, Writer, install, open_sink
from fingerd.metrics.loader import MonitoringDoor, start_counting
from fingerd.server.listeners import describe_listener, open_listeners
from fingerd.server.server import FingerServer
from fingerd.settings import Settings

log = logging.getLogger("fingerd")


@dataclass(slots=True)
class StartupContext:
    """What start-up needs to know."""

    path: str  # of the configuration
    options: Mapping[str, tuple[str, str]]  # from the command line, as for read_config
    settings: Settings  # until they are taken
    warnings: Sequence[str]
    stderr_by_default: bool  # logs to standard error by default
    client: socket.socket | None  # from inetd: the only client
    listeners: Mapping[str, Sequence[socket.socket]]  # from systemd, by name
    notifier: Notifier

    def take_settings(self) -> Settings:
        """The settings, which this no longer holds, so that they are freed when a reload has replaced them."""
        settings = self.settings
        del self.settings
        return settings


def serve(start: StartupContext, parent: ParentPipe | None) -> int:
    """Serve until a signal, detached if a parent waits for a report. Returns the exit code; StartError if it fails."""
    settings, limit_warnings = within_descriptors(start.take_settings())
    identity = Identity.of(settings.process)
    owner = (identity.uid, identity.gid) if identity.groups is not None else None
    sink = open_sink(settings.log, start.stderr_by_default, owner)
    warnings = [*start.warnings, *limit_warnings, *_start_warnings(sink, identity)]
    if parent or not isinstance(sink, DescriptorSink):
        print_error(*(f"fingerd: warning: {warning}" for warning in warnings))
    pidfile = PidFile(settings.process.pidfile) if settings.process.pidfile else None
    try:
        metrics = start_counting(settings.http is not None) if settings.metrics else None
        with FingerServer(settings, bind_and_activate=False) as server:
            if not start.client:
                server.addresses, server.inherited = finger_sockets(settings, start.listeners)
                server.server_bind()
                server.server_activate()
            _add_front_doors(server, start, settings, metrics)
            preserve = [*server.descriptors(), *sink.descriptors(), *start.notifier.descriptors()]
            preserve += [opened.fileno() for opened in (parent, start.client) if opened]
            preserve += pidfile.descriptors() if pidfile else ()
            log_descriptor = STREAMS.get(settings.log.to or "")
            become_daemon(settings.process, identity, bool(parent), preserve, log_descriptor)
            if not settings.process.chroot and not os.access(start.path, os.R_OK):
                warnings.append(f"uid {os.getuid()} cannot read {start.path}: SIGHUP cannot reload it; restart instead")
            writer = Writer(sink, settings.log)
            closed_streams = {1, *((2,) if parent else ())} - {log_descriptor}
            reloader = Reloader(
                start.path,
                server,
                writer,
                start.notifier,
                options=start.options,
                settings=settings,
                stderr_by_default=start.stderr_by_default,
                closed_streams=closed_streams,
            )
            _log_and_count(server, writer, reloader, start.notifier, metrics)
            handle_signals(server.loop, server.stop, reloader.trigger)
            if pidfile:
                pidfile.write()  # after the handlers are set: from now on a signal may arrive
            install(writer, settings.log.level)
            del settings  # the server and the reloader have them, as long as they are the active ones
            try:
                _start_thread(writer.start)
                for warning in warnings:
                    log.warning("%s", warning)
                _serve(start, server, writer, reloader, parent)
            except StartError:
                raise
            except BaseException as error:
                report_bug(error, "while serving")
                return os.EX_SOFTWARE
            finally:
                writer.close()
            return os.EX_OK
    finally:
        if pidfile:
            pidfile.remove()


def _add_front_doors(
    server: FingerServer, start: StartupContext, settings: Settings, metrics: MonitoringDoor | None
) -> None:
    """Listen for all that is asked otherwise than by Finger."""
    if settings.http:
        server.add_front_door(make_door(settings.http), open_listeners(settings.http.listen, start.listeners))
    if settings.metrics and metrics:
        server.add_front_door(metrics, open_listeners(settings.metrics.listen))


def _log_and_count(
    server: FingerServer, writer: Writer, reloader: Reloader, notifier: Notifier, metrics: MonitoringDoor | None
) -> None:
    """Have each connection logged, and counted where there are metrics; and the service manager told of the load."""
    server.access_log, closed = writer.log_access, lambda: server.closed
    if metrics:
        metrics.watch(server, lambda: writer.buffer.dropped, lambda: reloader.last)
        server.access_log, closed = metrics.counting(writer.log_access), metrics.closed
    if notifier.descriptors():
        StatusLine(notifier, server, closed)  # a timer of the loop has it


def _start_thread(start: Callable[[], object]) -> None:
    """Raises StartError (exit code 69) if the system allows no more threads."""
    try:
        start()
    except RuntimeError as error:
        raise StartError(f"cannot start: {error}", os.EX_UNAVAILABLE) from error


def _start_warnings(sink: Sink, identity: Identity) -> list[str]:
    warnings = []
    if isinstance(sink, SyslogSink) and not sink.connected:
        warnings.append("syslog is not available: nothing is logged until it is (log.to can name a file instead)")
    if os.getuid() == 0 and identity.uid == 0:
        warnings.append("running as root: set process.user to an unprivileged user")
    return warnings


def _serve(
    start: StartupContext, server: FingerServer, writer: Writer, reloader: Reloader, parent: ParentPipe | None
) -> None:
    """Start the threads, report that the daemon serves, and serve."""
    notifier = start.notifier
    server.on_long_work = writer.on_long_work = reloader.short_turns.change
    server.on_draining = partial(notifier.send, "STOPPING=1")
    if notifier.watchdog_seconds:
        server.loop.set_heartbeat(notifier.watchdog_seconds / 2, notifier.beat)
    _start_thread(reloader.start)
    if start.client:
        server.serve_client(start.client)
    else:
        log.info("listening on %s", ", ".join(map(describe_listener, server.listeners)) or "nothing")
        if parent:
            parent.report(os.EX_OK)
        notifier.send("READY=1")
        server.serve_forever()
        log.info("stopped")
    ignore_signals()  # the daemon is stopping already
    server.close_backends()
