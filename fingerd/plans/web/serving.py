"""Serves changes of plans by HTTP, in the foreground, until a signal."""

import dataclasses
import logging
import os
from dataclasses import dataclass
from functools import partial

from fingerd.config.system_options import resolve_path
from fingerd.daemon.descriptors import within_descriptors
from fingerd.daemon.reload import ReloadThread
from fingerd.daemon.signals import handle_signals, ignore_signals
from fingerd.daemon.systemd import Notifier, listen_fds
from fingerd.errors import StartError
from fingerd.http.options import Plan
from fingerd.log.writer import Writer, install, open_sink
from fingerd.plans.configuration import read_plan_config
from fingerd.plans.web.door import REQUEST_MEMORY, PlanDoor, max_body
from fingerd.plans.web.framing import BodyFraming
from fingerd.plans.web.tokens import read_tokens
from fingerd.plans.web.transport import BodyTransport
from fingerd.ruip.policy import DEFAULT_RULE
from fingerd.server.listeners import describe_listener, open_listeners
from fingerd.server.server import FingerServer
from fingerd.settings import Settings

log = logging.getLogger("fingerd")

MIN_CONNECTIONS = 16  # however long a request may be


def serve(path: str) -> int:
    """Serve by the configuration at this path. Returns the exit code; ConfigError and StartError if it cannot begin."""
    path = resolve_path(path)
    settings, plan, warnings = _read(path)
    inherited, notifier = listen_fds(), Notifier()
    if os.geteuid() == 0:
        warnings.append("running as root: let the user who owns the people's directory run it")
    door = PlanDoor(plan, _file_bytes(settings))
    with FingerServer(settings, bind_and_activate=False) as server:
        server.add_front_door(door, open_listeners(plan.listen, inherited), BodyTransport)
        writer = Writer(open_sink(settings.log, True, None), settings.log)
        reloader = PlanReloader(path, server, writer, notifier, plan)
        handle_signals(server.loop, server.stop, reloader.trigger)
        install(writer, settings.log.level)
        try:
            writer.start()
            reloader.start()
            for warning in (*warnings, *notifier.warnings):
                log.warning("%s", warning)
            server.access_log = writer.log_access
            server.on_draining = partial(notifier.send, "STOPPING=1")
            if notifier.watchdog_seconds:
                server.loop.set_heartbeat(notifier.watchdog_seconds / 2, notifier.beat)
            log.info("listening on %s", ", ".join(map(describe_listener, server.listeners)))
            notifier.send("READY=1")
            server.serve_forever()
            door.end()
            log.info("stopped")
            ignore_signals()
        except RuntimeError as error:  # of a thread
            raise StartError(f"cannot start: {error}", os.EX_UNAVAILABLE) from error
        finally:
            writer.close()
    return os.EX_OK


def _read(path: str) -> tuple[Settings, Plan, list[str]]:
    """The settings for a server, the section ``plan``, and the warnings."""
    config = read_plan_config(path, ("log", "plan"))
    settings, plan = config.settings, config.settings.plan
    assert plan is not None  # noqa: S101 - read_plan_config does not return without it
    if plan.tokens:
        read_tokens(plan.tokens)
    request_bytes = BodyFraming(max_body(_file_bytes(settings))).max_bytes(settings.limits)
    connections = min(settings.limits.connections, max(MIN_CONNECTIONS, REQUEST_MEMORY // request_bytes))
    limits = dataclasses.replace(settings.limits, connections=connections)
    to_stderr = dataclasses.replace(settings.log, to="stderr", prefix="fingerd-plan")
    # Who may ask is not who may write: a token, or the proxy, decides.
    settings = dataclasses.replace(settings, listen=(), policy=(DEFAULT_RULE,), limits=limits, log=to_stderr)
    settings, warnings = within_descriptors(settings)
    return settings, plan, [*config.warnings, *warnings]


def _file_bytes(settings: Settings) -> int:
    size: int = getattr(settings.backend, "file_bytes")  # noqa: B009 - of a backend that read_plan_config returns
    return size


@dataclass
class PlanReloader(ReloadThread):
    """Reloads the configuration of ``serve``."""

    plan: Plan  # as it was at the start

    def _reload(self) -> None:
        settings, plan, warnings = _read(self.path)
        for warning in warnings:
            log.warning("%s", warning)
        if plan.listen != self.plan.listen:
            log.warning("plan.listen has changed: a restart is needed")
        self.server.reload(settings)
        self.writer.switch(open_sink(settings.log, True, None), settings.log)
        log.info("configuration reloaded")
