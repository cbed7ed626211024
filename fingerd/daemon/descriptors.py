"""Descriptors: the standard ones, and a limit of connections that fits the limit of open descriptors."""

import dataclasses
import os
import resource
import sys

from fingerd.server.active_config import needs_workers
from fingerd.settings import Settings


def ensure_standard_fds() -> None:
    """Open ``/dev/null`` on descriptors 0 to 2 if they are closed: no client or log may get one of these numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115


def redirect_to_null(*descriptors: int) -> None:
    """Replace the descriptors by ``/dev/null``."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


def within_descriptors(settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings with ``limits.connections`` reduced to the limit of open descriptors, and a warning if it was."""
    configured = settings.limits.connections
    # Reserved: listeners and logs, and for each worker a program with its pipes, or a connection to a server.
    workers = settings.limits.threads if needs_workers(settings) else 0
    possible = raise_descriptor_limit(configured, 64 + 8 * workers)
    if possible == configured:
        return settings, ()
    limits = dataclasses.replace(settings.limits, connections=possible)
    why = "the limit of open descriptors is too low (ulimit -n)"
    warning = f"limits.connections is reduced from {configured} to {possible}: {why}"
    return dataclasses.replace(settings, limits=limits), (warning,)


def raise_descriptor_limit(connections: int, reserved: int) -> int:
    """Raise the soft limit of descriptors to the hard one. Returns how many connections fit beside the reserved."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # it exceeds fs.nr_open, or a sandbox forbids it
            hard = soft
    return connections if hard == resource.RLIM_INFINITY else max(1, min(connections, hard - reserved))
