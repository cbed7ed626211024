"""Host name resolution with a deadline, which the system's resolver does not have."""

import contextlib
import encodings.idna
import encodings.punycode  # noqa: F401 - both are imported by name on first use, which fails in a chroot
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from fingerd.net.addresses import IPAddress, parse_address
from fingerd.net.deadline import DEADLINE_PASSED
from fingerd.net.stream import Endpoint, is_address

MAX_LOOKUPS = 64  # at once in this process; a lookup that no name server answers cannot be cancelled
PER_KEY_FRACTION = 4  # at most MAX_LOOKUPS / PER_KEY_FRACTION of them count for one key
HOSTS = "/etc/hosts"

# One for the process: abandoned lookups outlive the configuration that started them.
_slot_freed = threading.Condition()
_running: Counter[str] = Counter()  # lookups by key


def look_up(name: str, port: int, key: str, deadline: float) -> Sequence[IPAddress]:
    """Return the name's addresses in the resolver's order; raise TimeoutError past the deadline, else as getaddrinfo.

    The lookup is counted for ``key``, such as a client's limit key; ``deadline`` is in ``time.monotonic()`` seconds.
    """
    with _slot_freed:
        if not _slot_freed.wait_for(lambda: _has_free_slot(key), max(deadline - time.monotonic(), 0)):
            raise TimeoutError
        _running[key] += 1
    try:
        found: Future[Sequence[IPAddress]] = Future()
        threading.Thread(target=_resolve, args=(name, port, key, found), name="lookup", daemon=True).start()
    except (RuntimeError, MemoryError) as error:  # no more threads available
        _free_slot(key)
        raise OSError(str(error) or "out of memory") from error
    return found.result(max(deadline - time.monotonic(), 0))


def _has_free_slot(key: str) -> bool:
    return _running.total() < MAX_LOOKUPS and _running[key] < MAX_LOOKUPS // PER_KEY_FRACTION


def _free_slot(key: str) -> None:
    with _slot_freed:
        _running[key] -= 1
        if not _running[key]:
            del _running[key]
        _slot_freed.notify_all()


def _resolve(name: str, port: int, key: str, found: Future[Sequence[IPAddress]]) -> None:
    """Resolve on a separate thread: a call of the system's resolver cannot be cancelled."""
    try:
        infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        found.set_result(tuple(dict.fromkeys(parse_address(str(sockaddr[0])) for *_, sockaddr in infos)))
    except OSError as error:
        found.set_exception(error)
    except ValueError:  # not a host name, e.g. a..b, which is a UnicodeError
        found.set_exception(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    except BaseException as error:  # nobody waits here: it is the caller's
        found.set_exception(error)
    finally:
        _free_slot(key)


def absolute_name(name: str) -> str:
    """Return the name with a trailing dot, so that the resolver does not apply its search list.

    A name without a dot, or in /etc/hosts, where names have no trailing dot, is returned as it is.
    """
    if "." not in name:
        return name
    with contextlib.suppress(OSError), open(HOSTS, encoding="utf-8", errors="replace") as file:
        if any(name in line.partition("#")[0].lower().split()[1:] for line in file):
            return name
    return f"{name}."


def addresses_of(host: str, deadline: float) -> Sequence[str]:
    """Return the host's addresses, or ``host`` if it is an address; raise OSError, past the deadline TimeoutError.

    Lookups are counted by name, so that a name that no name server answers does not delay the others.
    """
    if is_address(host):
        return (host,)
    try:
        name = host.lower().removesuffix(".").encode("idna").decode()
    except UnicodeError as error:
        raise OSError("is not a host name") from error
    try:
        return [str(address) for address in look_up(name, 0, name, deadline)]
    except TimeoutError as error:
        raise TimeoutError(DEADLINE_PASSED) from error


def endpoints_of(host: str, port: int, deadline: float) -> Sequence[Endpoint]:
    """Return the endpoints of a host (see ``addresses_of``) and a port; with port 0, of the unix socket ``host``."""
    if not port:
        return ((socket.AF_UNIX, host),)
    return [endpoint for address in addresses_of(host, deadline) for endpoint in numeric_endpoints(address, port)]


def numeric_endpoints(address: str, port: int) -> Sequence[Endpoint]:
    """Return the endpoints of an address in any spelling, without name resolution; raise gaierror for a name."""
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


def missing_for_names(root: Path) -> Iterator[str]:
    """Yield a message if host names cannot be resolved with ``root`` as root directory."""
    if not any((root / "etc" / name).exists() for name in ("resolv.conf", "hosts")):
        yield f"host names cannot be resolved in {root}: it needs etc/resolv.conf or etc/hosts"
