"""The client that a reverse proxy names in X-Forwarded-For."""

import re
from collections.abc import Iterable
from http import HTTPStatus

from fingerd.http.request import HttpError
from fingerd.net.addresses import UNIX, is_this_host, parse_address
from fingerd.net.sources import ProxyTable

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
