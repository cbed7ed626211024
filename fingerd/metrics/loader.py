"""Loads the front door of metrics, with the libraries of the extra, where the configuration has that section."""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

from fingerd.figures import FIGURES
from fingerd.http.loader import missing_for
from fingerd.log.format import Access
from fingerd.server.server import FingerServer
from fingerd.server.steps import FrontDoor

_DOOR = "fingerd.metrics.door"

AccessLog = Callable[[Access], None]


class MonitoringDoor(FrontDoor, Protocol):
    """The front door of metrics, as it is known without its libraries."""

    def watch(
        self, server: FingerServer, dropped_lines: Callable[[], int], last_reload: Callable[[], tuple[bool, float]]
    ) -> None:
        """Report on this server from now on."""
        ...

    def closed(self) -> int:
        """The connections that were counted."""
        ...

    def counting(self, access_log: AccessLog) -> AccessLog:
        """Counts each connection, and then has it logged, but for those of this door."""
        ...


def missing_for_metrics() -> str:
    """What has to be installed for it; empty if all is there. The door is loaded then, before a chroot hides it."""
    return missing_for(_DOOR, "pip install prometheus_client h11, or apt install python3-prometheus-client python3-h11")


def start_counting(has_http: bool) -> MonitoringDoor:
    """The front door, whose libraries are there. Call it before the server is made: from then on look-ups are noted."""
    FIGURES.are_counted = True
    module: Any = importlib.import_module(_DOOR)
    door: MonitoringDoor = module.MetricsDoor(("", "http") if has_http else ("",))
    return door
