"""The limits, and counting by client: open connections, and queries a minute. In bounded memory."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, NamedTuple

from fingerd.config.values import Integer, Seconds, Size
from fingerd.net.addresses import UNIX, limit_key, parse_address

PEERS_MAX = 4096  # clients whose spelling and limit key are kept at hand, some 300 bytes each
BUCKETS_MAX = 10_000  # clients whose rate is kept; the one that asked longest ago is forgotten first


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything a client, and all of them together, may take."""

    query_bytes: Annotated[int, Size(1, 1 << 20)] = 1024  # of one line, without its end
    reply_bytes: Annotated[int, Size(64)] = 256 << 10  # of one answer, without header and footer
    read_seconds: Annotated[float, Seconds(0.1)] = 10  # for the whole query line, however it drips
    write_seconds: Annotated[float, Seconds(0.1)] = 30  # for the whole answer
    answer_seconds: Annotated[float, Seconds(0.1)] = 20  # from query to answer, queueing included
    connections: Annotated[int, Integer(1)] = 10_000  # each costs a descriptor and about 800 bytes
    per_client: Annotated[int, Integer(1)] = 50
    rate: Annotated[int, Integer(0)] = 0  # queries a minute from one client; 0 for no limit
    threads: Annotated[int, Integer(1, 10_000)] = 32
    drain_seconds: Annotated[float, Seconds(0)] = 10


class Peer(NamedTuple):
    """A client: its address in one spelling, or ``unix``, and what it is counted by."""

    client: str
    limit_key: str


@lru_cache(PEERS_MAX)
def identify(host: str) -> Peer:
    """The client at an address, as the socket module spells it, or ``unix``."""
    client = host if host == UNIX else str(parse_address(host))
    return Peer(client, limit_key(client))


class ClientCounter:
    """Counts connections and queries by limit key, for one thread. Clients of unix sockets are never refused."""

    def __init__(self) -> None:
        self._connected: dict[str, int] = {}
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when; the longest unused first

    def connect(self, limit_key: str, per_client: int) -> bool:
        """Count a connection; false, and not counted, where there are ``per_client`` of them."""
        connected = self._connected.get(limit_key, 0)
        if connected >= per_client and limit_key != UNIX:
            return False
        self._connected[limit_key] = connected + 1
        return True

    def disconnect(self, limit_key: str) -> None:
        """Forget one connection that was counted."""
        connected = self._connected[limit_key] - 1
        if connected:
            self._connected[limit_key] = connected
        else:
            del self._connected[limit_key]

    def take_token(self, limit_key: str, rate: int, now: float) -> bool:
        """Take a token from the client's bucket, which holds ``rate`` and gains as many a minute; false if empty."""
        if not rate or limit_key == UNIX:
            return True
        tokens, since = self._buckets.pop(limit_key, (float(rate), now))
        tokens = min(rate, tokens + (now - since) * rate / 60)
        allowed = tokens >= 1
        self._buckets[limit_key] = (tokens - allowed, now)
        if len(self._buckets) > BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        return allowed
