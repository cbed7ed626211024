"""Names of hosts to addresses, by a deadline, which the system's resolver does not know."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from queue import Empty, SimpleQueue

from fingerd.net.addresses import parse_address

LOOKUPS = 64  # at once in this process; nothing ends one for which no name server answers
SHARE = 4  # one client has at most LOOKUPS / SHARE of them
HOSTS = "/etc/hosts"

Address = IPv4Address | IPv6Address
_Result = tuple[Address, ...] | OSError

# One for the process, since those that are left behind outlive whoever asked, a reload too.
_changed = threading.Condition()
_running: Counter[str] = Counter()  # lookups by clients


def look_up(name: str, port: int, client: str, deadline: float) -> Sequence[Address]:
    """The name's addresses, in the resolver's order; TimeoutError when the time is over, else as getaddrinfo.

    ``client`` is for whom it is, ``deadline`` is in ``time.monotonic()`` seconds.
    """
    with _changed:
        if not _changed.wait_for(lambda: _has_room(client), max(deadline - time.monotonic(), 0)):
            raise TimeoutError
        _running[client] += 1
    results: SimpleQueue[_Result] = SimpleQueue()
    try:
        threading.Thread(target=_resolve, args=(name, port, client, results), name="lookup", daemon=True).start()
    except RuntimeError as error:  # the system gives no more threads
        _done(client)
        raise OSError(str(error)) from error
    try:
        result = results.get(timeout=max(deadline - time.monotonic(), 0))
    except Empty:
        raise TimeoutError from None
    if isinstance(result, OSError):
        raise result
    return result


def _has_room(client: str) -> bool:
    return _running.total() < LOOKUPS and _running[client] < LOOKUPS // SHARE


def _done(client: str) -> None:
    with _changed:
        _running[client] -= 1
        if not _running[client]:
            del _running[client]
        _changed.notify_all()


def _resolve(name: str, port: int, client: str, results: "SimpleQueue[_Result]") -> None:
    """On a thread of its own, since nothing ends the system's resolver but itself."""
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        results.put(tuple(dict.fromkeys(parse_address(str(target[0])) for *_, target in found)))
    except OSError as error:
        results.put(error)
    except UnicodeError:  # no name of a host, as a..b
        results.put(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    finally:
        _done(client)


def whole(name: str) -> str:
    """The name as it is to be looked up where it must mean itself, and not what a search list makes of it."""
    if "." not in name:
        return name
    with contextlib.suppress(OSError), open(HOSTS, encoding="utf-8", errors="replace") as file:
        if any(name in line.partition("#")[0].lower().split()[1:] for line in file):
            return name  # that file knows no dot at the end
    return f"{name}."
