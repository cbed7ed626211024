"""Descriptors: the standard ones are open, and no more clients are accepted than the limit has room for."""

import dataclasses
import os
import resource
import sys

from fingerd.settings import Settings


def ensure_standard_fds() -> None:
    """Open ``/dev/null`` where descriptors 0 to 2 are closed, lest a client or a log gets one of these."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115


def within_descriptors(settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings with no more connections than there can be descriptors, and a warning where those are fewer."""
    wanted = settings.limits.connections
    # Beside the clients: listeners and logs, and for every thread a program with its pipes, or a connection.
    possible = raise_descriptor_limit(wanted, 64 + 8 * settings.limits.threads)
    if possible == wanted:
        return settings, ()
    limits = dataclasses.replace(settings.limits, connections=possible)
    warning = f"limits.connections is {possible} instead of {wanted}: no more descriptors are allowed here (ulimit -n)"
    return dataclasses.replace(settings, limits=limits), (warning,)


def raise_descriptor_limit(wanted: int, spare: int) -> int:
    """Raise the soft limit of descriptors to the hard one; how many of the ``wanted`` fit in beside ``spare`` ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return wanted if hard == resource.RLIM_INFINITY else max(1, min(wanted, hard - spare))
