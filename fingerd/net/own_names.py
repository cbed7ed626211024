"""The names of this host: a query for ``user@NAME`` of one of them is a query for ``user``."""

import socket
import threading
from collections.abc import Container
from concurrent.futures import Future
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
    found: Future[str] = Future()
    names = {"localhost", host_name}
    with suppress(OSError, ValueError, RuntimeError, MemoryError):  # unknown, too slow, not a name, or no more threads
        threading.Thread(target=_qualify, args=(host_name, found), name="own names", daemon=True).start()
        names.add(found.result(LOOKUP_SECONDS))
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


def _qualify(host_name: str, found: Future[str]) -> None:
    """Look up on a separate thread: a call of the system's resolver cannot be cancelled."""
    try:
        found.set_result(socket.getaddrinfo(host_name, None, flags=socket.AI_CANONNAME)[0][3])
    except BaseException as error:  # nobody waits here: it is the caller's
        found.set_exception(error)
