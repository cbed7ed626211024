"""Counting clients: how many connections each has, and how often each asks, in bounded memory."""

from dataclasses import dataclass
from typing import Annotated

from fingerd.config.values import Integer, Seconds, Size
from fingerd.net.addresses import UNIX

REMEMBERED_BUCKETS = 10_000  # clients whose rate is known at once; the one that asked longest ago is forgotten first


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything a client, and all of them together, may take."""

    query_bytes: Annotated[int, Size(1, 1 << 20)] = 1024  # of one line, without its end
    reply_bytes: Annotated[int, Size(64)] = 256 << 10  # of one answer, without header and footer
    read_seconds: Annotated[float, Seconds(0.1)] = 10  # for the whole query line, however it drips
    write_seconds: Annotated[float, Seconds(0.1)] = 30  # for the whole answer
    answer_seconds: Annotated[float, Seconds(0.1)] = 20  # from query to answer, queueing included
    connections: Annotated[int, Integer(1)] = 10_000  # each costs a descriptor and about 500 bytes
    per_client: Annotated[int, Integer(1)] = 50
    rate: Annotated[int, Integer(0)] = 0  # queries a minute from one client; 0 for no limit
    threads: Annotated[int, Integer(1, 10_000)] = 32
    drain_seconds: Annotated[float, Seconds(0)] = 10


class Clients:
    """Who is connected, and how often they asked. For one thread only; clients on unix sockets are never refused."""

    def __init__(self) -> None:
        self._connected: dict[str, int] = {}
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when; the longest unused first

    def enter(self, client: str, per_client: int) -> bool:
        """Count a connection of this client; false, and not counted, where it has ``per_client`` of them."""
        connected = self._connected.get(client, 0)
        if connected >= per_client and client != UNIX:
            return False
        self._connected[client] = connected + 1
        return True

    def leave(self, client: str) -> None:
        """Forget one connection that was counted."""
        connected = self._connected[client] - 1
        if connected:
            self._connected[client] = connected
        else:
            del self._connected[client]

    def may_ask(self, client: str, rate: int, now: float) -> bool:
        """Take a token from the client's bucket, of ``rate`` tokens and as many a minute; false if it is empty."""
        if not rate or client == UNIX:
            return True
        tokens, since = self._buckets.pop(client, (float(rate), now))
        tokens = min(rate, tokens + (now - since) * rate / 60)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - allowed, now)
        if len(self._buckets) > REMEMBERED_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        return allowed
