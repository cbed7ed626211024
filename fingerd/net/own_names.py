"""The names of this host: a query for ``user@NAME`` of one of them is a query for ``user``."""

import os
import select
import signal
import socket
from collections.abc import Container
from contextlib import suppress
from functools import cache

from fingerd.net.addresses import parse_host_name

LOOKUP_SECONDS = 1.0  # for the fully qualified name, which a name server may have to tell


@cache
def own_names() -> frozenset[str]:
    """``localhost``, the host name and the fully qualified one, in lower case; looked up once in this process.

    Without an answer within LOOKUP_SECONDS the fully qualified name is missing. No address is among them.
    """
    host_name = socket.gethostname()
    names = {"localhost", host_name, _qualified(host_name)}
    return frozenset(filter(None, map(_canonical, names)))


def is_own_name(host: str, names: Container[str]) -> bool:
    """Whether a host of a query is one of these names, in any spelling: case, a trailing dot and IDNA do not matter."""
    return _canonical(host) in names


def is_host_name(host: str) -> bool:
    """Whether this is a name, and not an address."""
    return _canonical(host) is not None


def _canonical(host: str) -> str | None:
    """The name in the spelling of ``parse_host_name``; None for an address and for what is no name."""
    try:
        return parse_host_name(host)
    except ValueError:
        return None


def _qualified(host_name: str) -> str:
    """The fully qualified name of this host; empty if it is unknown, or not found in LOOKUP_SECONDS.

    A process of its own looks it up: a call of the system's resolver cannot be cancelled, and a thread in one would go
    on with a socket that the daemon closes, and whose number is a client's then.
    """
    reader, writer = os.pipe()
    child = 0
    try:
        with suppress(OSError, MemoryError):  # no more processes
            child = os.fork()
            if not child:
                _write_qualified(host_name, writer)
        os.close(writer)
        ready = select.select([reader], [], [], LOOKUP_SECONDS if child else 0)[0]
        return os.read(reader, 4096).decode("utf-8", "replace") if ready else ""
    finally:
        os.close(reader)
        if child:
            os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):  # a program that embeds this ignores SIGCHLD
                os.waitpid(child, 0)


def _write_qualified(host_name: str, writer: int) -> None:
    """In the child: write the name, and end."""
    try:
        name = socket.getaddrinfo(host_name, None, flags=socket.AI_CANONNAME)[0][3]
        os.write(writer, name.encode())
    finally:
        os._exit(0)
