"""Names of hosts to addresses, by a deadline, which the system's resolver does not know."""

import contextlib
import encodings.idna  # noqa: F401 - found by name when a host is looked up, which is too late in a chroot
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from queue import Empty, SimpleQueue

from fingerd.net.addresses import parse_address
from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.net.stream import Endpoint, is_address

LOOKUPS = 64  # at once in this process; nothing ends one for which no name server answers
SHARE = 4  # one client has at most LOOKUPS / SHARE of them
HOSTS = "/etc/hosts"

IPAddress = IPv4Address | IPv6Address
_Result = tuple[IPAddress, ...] | OSError

# One for the process, since those that are left behind outlive whoever asked, a reload too.
_changed = threading.Condition()
_running: Counter[str] = Counter()  # lookups by clients


def look_up(name: str, port: int, client: str, deadline: float) -> Sequence[IPAddress]:
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


def addresses_of(host: str, deadline: float) -> Sequence[str]:
    """The host's addresses, or itself where it is one; TimeoutError after the deadline, OSError where it has none.

    Of all lookups that may run at once, each name has its own share: one for
    which no name server answers holds up no other.
    """
    if is_address(host):
        return (host,)
    try:
        name = host.lower().removesuffix(".").encode("idna").decode()
    except UnicodeError as error:
        raise OSError("is no name of a host") from error
    try:
        return [str(address) for address in look_up(name, 0, name, deadline)]
    except TimeoutError as error:
        raise TimeoutError(DEADLINE_PASSED) from error


def endpoints_of(host: str, port: int, deadline: float) -> Sequence[Endpoint]:
    """Where to connect for a host and a port, or for the unix socket at the path ``host`` where the port is 0.

    TimeoutError after the deadline, OSError where the host has no address.
    """
    if not port:
        return ((socket.AF_UNIX, host),)
    return [
        (family, target)
        for address in addresses_of(host, deadline)
        for family, _, _, _, target in socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    ]


def missing_for_names(root: Path) -> Iterator[str]:
    """The complaint that no name can be looked up below this root directory, where that is so."""
    if not any((root / "etc" / name).exists() for name in ("resolv.conf", "hosts")):
        yield f"without etc/resolv.conf or etc/hosts in {root} no host name can be looked up"
