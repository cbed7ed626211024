"""The front door of Finger behind a balancer: whose PROXY headers are believed, and whom they name."""

from collections.abc import Sequence

from fingerd.memo import Memo
from fingerd.net.addresses import UNIX, is_this_host
from fingerd.net.sources import Proxy, ProxyTable
from fingerd.ruip.policy import NOT_LOCAL
from fingerd.server.finger_door import FingerDoor
from fingerd.server.limits import PEERS_MAX, Peer, identify

BALANCERS_MAX = 256  # addresses that are remembered as those of balancers or of others


class ProxiedDoor(FingerDoor):
    """How clients ask by Finger through one of ``proxies``."""

    def __init__(self, proxies: Sequence[Proxy]) -> None:
        # Whether a client, an address or ``unix``, is one of them.
        self.is_balancer = Memo(ProxyTable(proxies).__contains__, BALANCERS_MAX)


def _find_client(pair: tuple[str, str]) -> tuple[str, str, str] | None:
    """The fields of the client, for the name in a header and the balancer; None if the balancer itself is the client.

    The loopback address or unix socket of another host is not ours: who comes from there is that host.
    """
    named, balancer = pair
    if not named:
        return None
    peer = Peer(UNIX, UNIX) if named == UNIX else identify(named)
    return (*peer,) if not _is_here(peer.client) or _is_here(balancer) else None


client_of = Memo(_find_client, PEERS_MAX)


def own_rule_key(balancer: str) -> str:
    """By what the rule is found for a balancer that is the client itself: who comes by it may be anybody."""
    return NOT_LOCAL + balancer if _is_here(balancer) else balancer


def _is_here(client: str) -> bool:
    return client == UNIX or is_this_host(client)
