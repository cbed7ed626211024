"""A Finger client, as the server needs one: it asks the next RUIP (RFC 1288 2.4).

Everything here keeps to one deadline, the lookup of a name too, for which the
system's resolver knows none. A name is looked up once: the addresses that were
found to be harmless are those that are connected to.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Iterator, Sequence

from fingerd.errors import ForwardError
from fingerd.net.addresses import IPAddress, parse_address, parse_host
from fingerd.net.deadline import remaining
from fingerd.net.resolver import absolute_name, look_up
from fingerd.net.stream import connect
from fingerd.protocol.query import Query
from fingerd.protocol.reply import FORWARDING_DENIED, HOST_SILENT, HOST_UNREACHABLE, NO_SUCH_HOST
from fingerd.ruip.relay import Relay
from fingerd.ruip.targets import HostPattern, has_loop, is_allowed, may_connect

log = logging.getLogger(__name__)

FINGER_PORT = 79  # RFC 1288 2.1; no query can name another one
MOST_ADDRESSES = 4  # of a name that are tried
READ_BYTES = 1 << 16
MOMENT = 0.5  # seconds, or a tenth of all, that are left to tell the client when the time is over

_UNKNOWN = (socket.EAI_NONAME, socket.EAI_NODATA)


class Hop:
    """A RUIP that was asked, and says something by and by. To be closed."""

    def __init__(self, name: str, sock: socket.socket, deadline: float) -> None:
        self.name = name  # of its host, clean enough to be told
        self._socket = sock
        self._deadline = deadline

    def answer(self, charset: str, limit: int) -> Iterator[bytes]:
        """What it says under its name, piece by piece, up to the limit; HopError where it says nothing in time.

        Where it is gone in the middle, or the time is over, the last piece says that the answer is cut.
        """
        relay = Relay(charset, limit)
        data = self._read()
        piece = relay.take(f"[{self.name}]\n".encode())
        try:
            while data and not relay.is_full:
                yield piece + relay.take(data)
                piece = b""
                data = self._read()
        except ForwardError:
            yield relay.end(is_cut=True)
        else:
            yield piece + relay.end()

    def _read(self) -> bytes:
        """What it says next, nothing at its end; HopError where it says no more in time, or is gone."""
        try:
            self._socket.settimeout(remaining(self._deadline))
            return self._socket.recv(READ_BYTES)
        except TimeoutError as error:
            raise ForwardError("busy", HOST_SILENT) from error
        except OSError as error:
            raise _unreachable(self.name, error) from error

    def __enter__(self) -> "Hop":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class Forwarder:
    """Asks other hosts, for all threads. ``is_served``: the RUIP at this port of our own addresses may be ourselves."""

    def __init__(self, is_served: bool = False, port: int = FINGER_PORT) -> None:
        self._is_served = is_served
        self._port = port

    def ask(self, query: Query, targets: Sequence[HostPattern], client: str, deadline: float) -> Hop:
        """The next RUIP, having been asked; HopError where no target allows it, or it cannot be reached in time.

        ``client`` is for whom that is, ``deadline`` is in ``time.monotonic()`` seconds.
        """
        now = time.monotonic()
        deadline -= min(MOMENT, max(deadline - now, 0) / 10)
        text, rest = query.forwarded()
        try:
            host = parse_host(text)
        except ValueError:
            raise _denied() from None
        if not is_allowed(host, targets) or has_loop(query.hosts):
            raise _denied()
        name = str(host)
        try:
            found = look_up(absolute_name(host), self._port, client, deadline) if isinstance(host, str) else (host,)
            addresses = [address for address in found if may_connect(address, targets) and not self._is_us(address)]
            if not addresses:
                log.info("not forwarded to %s: its address is not for others, or ours", name)
                raise _denied()
            endpoints = [(_family(address), (str(address), self._port)) for address in addresses[:MOST_ADDRESSES]]
            connection = connect(endpoints, deadline)
        except TimeoutError as error:
            raise ForwardError("busy", HOST_SILENT) from error
        except socket.gaierror as error:
            raise (
                ForwardError("unknown", NO_SUCH_HOST) if error.errno in _UNKNOWN else _unreachable(name, error)
            ) from error
        except OSError as error:
            raise _unreachable(name, error) from error
        try:
            connection.sendall(rest.encode())
        except OSError as error:
            connection.close()
            raise _unreachable(name, error) from error
        return Hop(name, connection, deadline)

    def _is_us(self, address: IPAddress) -> bool:
        """Whether the address is one of this host's, where we answer at its port; nothing is sent to find out."""
        if not self._is_served:
            return False
        if address.is_loopback or address.is_unspecified:
            return True
        with contextlib.suppress(OSError), socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), self._port))
            return str(parse_address(probe.getsockname()[0])) == str(address)
        return False  # there is no way to it


def _family(address: IPAddress) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _denied() -> ForwardError:
    """The same for a host that no rule names, one whose address is not for others, and one that is ourselves."""
    return ForwardError("refused", FORWARDING_DENIED)


def _unreachable(name: str, error: OSError) -> ForwardError:
    log.warning("forwarding to %s failed: %s", name, error.strerror or error)
    return ForwardError("error", HOST_UNREACHABLE)
