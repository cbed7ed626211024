"""The limits, and counting by client: open connections, and queries a minute. In bounded memory."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, NamedTuple

from fingerd.config.values import Integer, Seconds, Size
from fingerd.net.addresses import UNIX, limit_key, parse_address, site_key

PEERS_MAX = 4096  # clients whose spelling and limit key are kept at hand, some 300 bytes each
SITE_FACTOR = 4  # times per_client connections come from one IPv6 /48 at most: one host is given a whole one
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
    per_client: Annotated[int, Integer(1)] = 50  # of one limit key; SITE_FACTOR times as many of an IPv6 /48
    rate: Annotated[int, Integer(0)] = 0  # queries a minute from one client; 0 for no limit
    unsent_bytes: Annotated[int, Size(4096)] = 64 << 20  # of all answers that clients have not taken
    threads: Annotated[int, Integer(1, 10_000)] = 32
    drain_seconds: Annotated[float, Seconds(0)] = 10


class Peer(NamedTuple):
    """A client: its address in one spelling, or ``unix``, and what it is counted by."""

    client: str
    limit_key: str
    site_key: str = ""  # of the larger network that holds it; empty if it is counted by its limit key alone


@lru_cache(PEERS_MAX)
def identify(host: str) -> Peer:
    """The client at an address, as the socket module spells it."""
    client = str(parse_address(host))
    key = limit_key(client)
    return Peer(client, key, site_key(key))


@lru_cache(PEERS_MAX)
def identify_user(uid: int) -> Peer:
    """The client of a unix socket, whose process has this user id."""
    return Peer(UNIX, f"uid {uid}")


class ClientCounter:
    """Counts connections and queries by limit key, for one thread."""

    def __init__(self) -> None:
        self._connected: dict[str, int] = {}  # by limit key and by site key
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when; the longest unused first

    def connect(self, limit_key: str, site_key: str, per_client: int) -> bool:
        """Count a connection; false, and not counted, where its client or its site has too many."""
        connected = self._connected
        if (count := connected.get(limit_key, 0)) >= per_client:
            return False
        if site_key:
            if (site_count := connected.get(site_key, 0)) >= per_client * SITE_FACTOR:
                return False
            connected[site_key] = site_count + 1
        connected[limit_key] = count + 1
        return True

    def disconnect(self, limit_key: str, site_key: str) -> None:
        """Forget one connection that was counted."""
        self._forget_one(limit_key)
        if site_key:
            self._forget_one(site_key)

    def _forget_one(self, key: str) -> None:
        count = self._connected[key] - 1
        if count:
            self._connected[key] = count
        else:
            del self._connected[key]

    def take_token(self, limit_key: str, rate: int, now: float) -> bool:
        """Take a token from the client's bucket, which holds ``rate`` and gains as many a minute; false if empty."""
        if not rate:
            return True
        tokens, since = self._buckets.pop(limit_key, (float(rate), now))
        tokens = min(rate, tokens + (now - since) * rate / 60)
        allowed = tokens >= 1
        self._buckets[limit_key] = (tokens - allowed, now)
        if len(self._buckets) > BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        return allowed
