"""The client that a PROXY header names."""

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
    return (*peer,) if not _is_local(peer.client) or _is_local(balancer) else None


def own_rule_key(balancer: str) -> str:
    """The rule's key of a balancer that is itself the client: it is never ``local``, as anybody may come by it."""
    return NOT_LOCAL + balancer if _is_local(balancer) else balancer


def _is_local(client: str) -> bool:
    return client == UNIX or is_this_host(client)
