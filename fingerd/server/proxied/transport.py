"""The transport behind a balancer: reads the PROXY header of each connection, then the line as any other does.

"The receiver MUST be configured to only receive the protocol described in this specification and MUST not try to guess
whether the protocol header is present or not" (HAProxy's specification, 2): which listeners expect it is configured.
"""

import time
from collections.abc import Sequence
from functools import lru_cache

from fingerd.errors import ProxyHeaderError
from fingerd.net.sources import Proxy, ProxyTable
from fingerd.protocol.proxy_header import MAX_HEADER_BYTES, ProxyHeader, parse_proxy_header
from fingerd.server.connection import Connection
from fingerd.server.delivery import Delivery
from fingerd.server.finger_door import FingerDoor
from fingerd.server.loop import EventLoop
from fingerd.server.proxied.clients import client_of, own_rule_key
from fingerd.server.steps import ServerSteps
from fingerd.server.transport import RECEIVE, Transport

BALANCERS_MAX = 256  # addresses that are remembered as those of balancers or of others

# Of a header and what follows, read at once: nearly every query is complete then. Python has objects of up to 512 bytes
# at hand, 33 of which are not data; for larger ones it asks the C library, which takes longer.
READ_BYTES = 479


class ProxiedTransport(Transport):
    """The connections that balancers have made. ``read_seconds`` is for the header and the line together.

    Until the header is complete only that and ``limits.connections`` bound a connection. Then it is like one that the
    named client has just made, and ``verify_request`` is called for it.
    """

    verifies_late = True

    def __init__(self, server: ServerSteps, loop: EventLoop, proxies: Sequence[Proxy], delivery: Delivery) -> None:
        super().__init__(server, loop, FingerDoor(), delivery)
        self._is_balancer = lru_cache(BALANCERS_MAX)(ProxyTable(proxies).__contains__)

    def on_accepted(self, request: Connection) -> None:
        """Take over a connection, if it is one of a balancer's. The header is read, whatever the backend reads.

        "The receiver SHOULD ensure proper access filtering so that only trusted proxies are allowed to use this
        protocol" (2).
        """
        if not self._is_balancer(request.client):
            request.outcome, request.abortive = "denied", True
            return self._server.shutdown_request(request)
        try:
            if self._receive(request):
                self._dispatch(request)
            else:
                self._await_rest(request)
        except BaseException:
            self.delivery.fail(request)

    def _receive(self, request: Connection) -> bool:
        """Read what is there; true when there is nothing to wait for."""
        if request.via:
            return Transport._receive(self, request)
        received = request.received
        try:
            data = request.socket.recv(READ_BYTES, RECEIVE)
        except BlockingIOError:
            return False
        except OSError:
            if received:
                return self._refuse(request)  # as at the end of the stream, below
            request.outcome = "hung-up"
            return True
        if len(data) == READ_BYTES:
            data += self._read_more(request)
        received = request.received = received + data if received else data
        try:
            header = parse_proxy_header(received)
        except ProxyHeaderError:
            return self._refuse(request)
        if header:
            return self._admit(request, header)
        if received and not data:
            # "The receiver must also reject incoming connections containing partial protocol headers" (2.2).
            self._refuse(request)
        return not data

    def _read_more(self, request: Connection) -> bytes:
        """What else has arrived: bytes that are still unread at the deadline would count as late."""
        try:
            return request.socket.recv(MAX_HEADER_BYTES + self._request_bytes, RECEIVE)
        except OSError:  # no more, or an error that the next read reports
            return b""

    @staticmethod
    def _refuse(request: Connection) -> bool:
        """Have it closed without a word."""
        request.outcome, request.abortive = "proxy-error", True
        return True

    def _admit(self, request: Connection, header: ProxyHeader) -> bool:
        """Let the client be whom the header names; true when there is nothing to wait for.

        "The receiver MUST NOT start processing the connection before it receives a complete and valid PROXY protocol
        header" (2).
        """
        size, client, port = header
        balancer = request.via = request.client
        received = request.received = request.received[size : size + self._request_bytes]
        if peer := client_of(client, balancer):
            client, request.limit_key, request.site_key = peer
            request.client = request.rule_key = client
            request.address = client, port
        else:  # "use the real connection's parameters" (2.1)
            request.rule_key = own_rule_key(balancer)
        request.config = self._server.active
        if not self._server.verify_request(request, request.address):
            request.outcome = request.outcome or "denied"
            return True
        if not self._asks:
            request.received = b""
            return True
        end = self._find_end(received)
        if end < 0:
            end = self._framing.find_other_end(received)
        if end >= 0:
            request.line = received[: end + 1]
        elif len(received) >= self._request_bytes:
            request.line = received
        return bool(request.line)

    def _end_unasked(self, request: Connection) -> None:
        """There is no request: refused, denied, the balancer is gone, or the backend is not asked."""
        if request.via and not (request.outcome or self._asks):
            self.delivery.leave(request)
            return self._ignore(request)
        request.outcome = request.outcome or "hung-up"
        self._server.shutdown_request(request)

    def read_on(self, request: Connection) -> bool:
        """As every transport does; but a header that is incomplete at the deadline is an error."""
        if super().read_on(request):
            return True
        if request.via or not request.received or time.monotonic() < request.deadline:
            return False
        self.delivery.leave(request)
        self._refuse(request)
        self._dispatch(request)
        return True
