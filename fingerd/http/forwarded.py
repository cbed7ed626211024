"""The client that a reverse proxy names in X-Forwarded-For."""

import logging
import re
from collections.abc import Collection, Iterable
from http import HTTPStatus

from fingerd.http.request import HttpError, Request
from fingerd.net.addresses import UNIX, is_this_host, parse_address
from fingerd.net.sources import Proxy, ProxyTable
from fingerd.server.connection import Connection
from fingerd.server.limits import Peer, identify
from fingerd.server.steps import Services

log = logging.getLogger(__name__)

MAX_PROXIES = 20  # in a row, that may have named each other

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")  # as some proxies write it


class Proxies(ProxyTable):
    """Who may name the client. All others' X-Forwarded-For is ignored."""

    def client_of(self, forwarded_for: Iterable[str], proxy: str) -> str:
        """The client: from the right, the first address that is no proxy. HttpError (400) if there is none.

        A loopback address counts from a proxy on this host only: from another it is that one's own host.
        """
        is_here = proxy == UNIX or is_this_host(proxy)
        entries = ",".join(forwarded_for).rsplit(",", MAX_PROXIES)[-MAX_PROXIES:]
        for entry in map(str.strip, reversed(entries)):
            match = _WITH_PORT.fullmatch(entry)
            try:
                client = str(parse_address((match[1] or match[2]) if match else entry))
            except ValueError:
                break
            is_loopback = is_this_host(client)
            if is_loopback and not is_here:
                break
            if client not in self:
                return client
            is_here = is_loopback
        raise HttpError(HTTPStatus.BAD_REQUEST, "X-Forwarded-For names no client", "proxy-error")


class ForwardedClients:
    """Finds out who asks by one front door; ``option`` says which proxies may name their clients there."""

    def __init__(self, option: str) -> None:
        self._option = option
        self._has_warned = False
        self.use(())

    def use(self, proxies: Collection[Proxy]) -> None:
        """Believe these proxies from now on."""
        self._proxies, self._has_proxies = Proxies(proxies), bool(proxies)

    def names_client(self, request: Connection) -> bool:
        """Whether it comes from one of the proxies."""
        return self._has_proxies and request.client in self._proxies

    def settle(self, request: Connection, parsed: Request | HttpError, services: Services) -> bool:
        """Find out who asks: the client of the connection, or whom its proxy names. True for a proxy.

        HttpError if that is refused. A reload after the connection was accepted may have made a proxy of a client, or a
        client of a proxy.
        """
        is_proxy = self.names_client(request)
        if is_proxy and isinstance(parsed, HttpError):  # whoever sent it must not have the proxy banned
            raise HttpError(parsed.status, parsed.text, "proxy-error")
        forwarded_for = () if isinstance(parsed, HttpError) else parsed.forwarded_for
        if is_proxy or not request.is_counted:
            peer = Peer(request.client, request.limit_key, request.site_key)
            if is_proxy:
                peer = identify(self._proxies.client_of(forwarded_for, request.client))
            if not services.settle_client(request, peer):
                # A proxy takes a connection that is closed for a failing server.
                raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections, try again later", "limited")
        if forwarded_for and not is_proxy and not self._has_warned:
            self._has_warned = True
            log.warning("X-Forwarded-For from a client that %s does not name is ignored", self._option)
        return is_proxy
