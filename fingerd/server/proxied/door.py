"""The front door of Finger behind a balancer: whose PROXY headers are believed, and whom they name."""

from collections.abc import Sequence
from functools import lru_cache

from fingerd.net.addresses import UNIX, is_this_host
from fingerd.net.sources import Proxy, ProxyTable
from fingerd.ruip.policy import NOT_LOCAL
from fingerd.server.connection import Connection
from fingerd.server.finger_door import FingerDoor
from fingerd.server.limits import PEERS_MAX, Peer, identify

BALANCERS_MAX = 256  # addresses that are remembered as those of balancers


class ProxiedDoor(FingerDoor):
    """How clients ask by Finger through one of ``proxies``."""

    def __init__(self, proxies: Sequence[Proxy]) -> None:
        self._proxies = ProxyTable(proxies)
        self._balancers: set[str] = set()

    def is_balancer(self, client: str) -> bool:
        """Whether ``client``, an address or ``unix``, is one of ``proxies``."""
        if client in self._balancers:
            return True
        if client not in self._proxies:
            return False
        if len(self._balancers) < BALANCERS_MAX:
            self._balancers.add(client)
        return True

    @staticmethod
    def names_client(request: Connection) -> bool:
        """Whether the header, which will name the client, has not been read yet."""
        return not request.via


@lru_cache(PEERS_MAX)
def client_of(named: str, balancer: str) -> Peer | None:
    """The client that the header of a balancer names; None if that is the balancer itself.

    The loopback address or unix socket of another host is not ours: who comes from there is that host.
    """
    if not named:
        return None
    peer = Peer(UNIX, UNIX) if named == UNIX else identify(named)
    return peer if not _is_here(peer.client) or _is_here(balancer) else None


def own_rule_key(balancer: str) -> str:
    """By what the rule is found for a balancer that is the client itself: who comes by it may be anybody."""
    return NOT_LOCAL + balancer if _is_here(balancer) else balancer


def _is_here(client: str) -> bool:
    return client == UNIX or is_this_host(client)
