"""Forwarding (RFC 1288 2.4): a Finger client that queries the next RUIP.

Every step keeps to one deadline, also the name lookup, for which the system's
resolver takes none. A name is looked up once, and the connection goes to an
address from that lookup that was checked: a second lookup could return another.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Iterator, Sequence

from fingerd.errors import ForwardError
from fingerd.net.addresses import IPAddress, parse_host
from fingerd.net.deadline import remaining
from fingerd.net.own_addresses import is_own_address
from fingerd.net.resolver import absolute_name, look_up
from fingerd.net.stream import CHUNK_BYTES, connect
from fingerd.protocol.query import Query
from fingerd.protocol.reply import FORWARDING_DENIED, HOST_SILENT, HOST_UNREACHABLE, NO_SUCH_HOST
from fingerd.ruip.relay import Relay
from fingerd.ruip.targets import HostPattern, has_loop, is_allowed, may_connect

log = logging.getLogger(__name__)

FINGER_PORT = 79  # RFC 1288 2.1; a query cannot name another port
MAX_ADDRESSES = 4  # of one name that are tried
REPLY_SECONDS = 0.5  # of the deadline, or a tenth of it, that are kept for telling the client about a timeout

_NOT_FOUND = (socket.EAI_NONAME, socket.EAI_NODATA)
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


class Hop:
    """The next RUIP, which has been sent the query."""

    def __init__(self, name: str, sock: socket.socket, deadline: float) -> None:
        self.name = name  # of the host, safe to show
        self._socket = sock
        self._deadline = deadline

    def answer(self, charset: str, limit: int) -> Iterator[bytes]:
        """The answer below the host's name, in pieces of at most ``limit`` bytes together.

        Raises ForwardError if nothing arrives before the deadline. If the
        connection fails or the deadline passes later, the last piece says that
        the answer is cut.
        """
        relay = Relay(charset, limit)
        data = self._read()
        piece = relay.feed(f"[{self.name}]\n".encode())
        try:
            while data and not relay.is_full:
                yield piece + relay.feed(data)
                piece = b""
                data = self._read()
        except ForwardError:
            yield relay.finish(is_cut=True)
        else:
            yield piece + relay.finish()

    def _read(self) -> bytes:
        """The next bytes, empty at the end; ForwardError after the deadline or if the connection fails."""
        with _forward_errors(self.name):
            self._socket.settimeout(remaining(self._deadline))
            return self._socket.recv(CHUNK_BYTES)


class Forwarder:
    """Queries other hosts, for all threads. ``is_served``: this program may listen on ``port`` of this host itself."""

    def __init__(self, is_served: bool = False, port: int = FINGER_PORT) -> None:
        self._is_served = is_served
        self._port = port

    @contextlib.contextmanager
    def ask(self, query: Query, targets: Sequence[HostPattern], limit_key: str, deadline: float) -> Iterator[Hop]:
        """Send the query to its right-most host; the connection is open inside the ``with`` block.

        The name lookup counts for ``limit_key``, ``deadline`` is in
        ``time.monotonic()`` seconds. Raises ForwardError if no target allows
        the host, or if it cannot be reached before the deadline.
        """
        deadline -= min(REPLY_SECONDS, max(deadline - time.monotonic(), 0) / 10)
        text, rest = query.forwarded()
        try:
            host = parse_host(text)
        except ValueError:
            raise _denied() from None
        if not is_allowed(host, targets) or has_loop(query.hosts):
            raise _denied()
        name = str(host)
        with _forward_errors(name):
            remaining(deadline)  # TimeoutError: no lookup starts after the deadline
            addresses = (
                look_up(absolute_name(host), self._port, limit_key, deadline) if isinstance(host, str) else (host,)
            )
            endpoints = [
                (_FAMILY[address.version], (str(address), self._port))
                for address in addresses
                if may_connect(address, targets) and not self._is_self(address)
            ]
            if not endpoints:
                log.info("not forwarded to %s: its address is ours, or neither public nor named by the rule", name)
                raise _denied()
            connection = connect(endpoints[:MAX_ADDRESSES], deadline)
        with connection:
            with _forward_errors(name):
                connection.sendall(rest.encode())
            yield Hop(name, connection, deadline)

    def _is_self(self, address: IPAddress) -> bool:
        """Whether this program may be what answers at the address. Raises OSError if that cannot be found out."""
        return self._is_served and is_own_address(address)


@contextlib.contextmanager
def _forward_errors(name: str) -> Iterator[None]:
    """Turn an OSError into the ForwardError for the client; log those that an operator can act on."""
    try:
        yield
    except TimeoutError as error:
        raise ForwardError("busy", HOST_SILENT) from error
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno in _NOT_FOUND:
            raise ForwardError("unknown", NO_SUCH_HOST) from error
        log.warning("forwarding to %s failed: %s", name, error.strerror or error)
        raise ForwardError("error", HOST_UNREACHABLE) from error


def _denied() -> ForwardError:
    """One error for a host that no rule allows, one without an allowed address, and this host itself."""
    return ForwardError("refused", FORWARDING_DENIED)
