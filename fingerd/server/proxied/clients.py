"""Whom PROXY headers name."""

from functools import lru_cache

from fingerd.net.addresses import UNIX, is_this_host
from fingerd.ruip.policy import NOT_LOCAL
from fingerd.server.limits import PEERS_MAX, Peer, identify


@lru_cache(PEERS_MAX)
def client_of(named: str, balancer: str) -> tuple[str, str, str] | None:
    """The client that the header of a balancer names; None if that is the balancer itself.

    It is a ``Peer`` as a plain tuple: unpacking a named one takes an iterator for each connection.

    The loopback address or unix socket of another host is not ours: who comes from there is that host.
    """
    if not named:
        return None
    peer = Peer(UNIX, UNIX) if named == UNIX else identify(named)
    return (*peer,) if not _is_here(peer.client) or _is_here(balancer) else None


def own_rule_key(balancer: str) -> str:
    """By what the rule is found for a balancer that is the client itself: who comes by it may be anybody."""
    return NOT_LOCAL + balancer if _is_here(balancer) else balancer


def _is_here(client: str) -> bool:
    return client == UNIX or is_this_host(client)
