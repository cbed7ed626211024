"""The sources of policy rules (``from``): parsing one, and finding the first of many that a client matches; proxies."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from fingerd.net.addresses import (
    UNIX,
    IPAddress,
    Network,
    is_impossible,
    is_subnet,
    parse_address,
    parse_network,
    translated_ipv4,
)

Source = Network | Literal["any", "local"]
Proxy = Network | Literal["unix"]

_NETWORKS: dict[str, tuple[Network, ...]] = {
    "any": (IPv4Network("0.0.0.0/0"), IPv6Network("::/0")),
    "local": (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
}


def parse_source(text: str) -> Source:
    """Return a rule's ``from``: ``any``, ``local``, or a network; raise ValueError for any other text."""
    if text == "any":
        return "any"
    if text == "local":
        return "local"
    return parse_network(text, "an address, a network, any or local")


def is_loopback(source: Source) -> bool:
    """Whether a source names only this host."""
    return source == "local" or (source != "any" and any(is_subnet(source, net) for net in _NETWORKS["local"]))


def _networks(source: Source) -> tuple[Network, ...]:
    """The networks of the clients that match a source; ``any`` and ``local`` match clients of unix sockets, too."""
    return _NETWORKS[source] if isinstance(source, str) else (source,)


class SourceTable:
    """Sources with a number each, and the lowest number that a client matches.

    A client can choose its address from a network, so a look-up must not
    depend on how many sources there are: it takes one step for each prefix
    length that occurs, at most 33 for IPv4 and 129 for IPv6. For this, each
    prefix has the lowest number of all prefixes that contain it. The longest
    prefix that contains an address then has the answer.
    """

    def __init__(self, sources: Iterable[tuple[int, Source]]) -> None:
        lowest: dict[Network, int] = {}
        unix: list[int] = []
        for number, source in sources:
            for network in _networks(source):
                lowest[network] = min(number, lowest.get(network, number))
            if isinstance(source, str):
                unix.append(number)
        self._unix = min(unix, default=None)
        # Of each IP version, from the longest prefix to the shortest: how many bits follow the prefix, and the lowest
        # numbers by prefix.
        self._tables: dict[int, list[tuple[int, dict[int, int]]]] = {4: [], 6: []}
        for network in sorted(lowest, key=lambda network: network.prefixlen):
            self._add(network, lowest[network])

    def _add(self, network: Network, number: int) -> None:
        """Add a network; no network with a longer prefix was added before."""
        host_bits = network.max_prefixlen - network.prefixlen
        tables = self._tables[network.version]
        address = int(network.network_address)
        number = _min(number, self._find(network.version, address, host_bits))
        if not tables or tables[0][0] != host_bits:
            tables.insert(0, (host_bits, {}))
        tables[0][1][address >> host_bits] = number

    def lowest(self, client: str) -> int | None:
        """Return the lowest number of the sources that ``client``, an address or ``unix``, matches; None if none.

        A client behind a translator of addresses matches as both of its
        addresses, IPv6 and IPv4. An address that no client has matches nothing.
        """
        if client == UNIX:
            return self._unix
        address = parse_address(client)
        return None if is_impossible(address) else self._containing(address, 0)

    def covers(self, source: Source, below: int) -> bool:
        """Whether every client that matches ``source`` matches one of the sources with a number below ``below``.

        Several networks that cover ``source`` together, such as its halves, are not recognized.
        """
        return all(number is not None and number < below for number in self._covering(source))

    def _covering(self, source: Source) -> Iterator[int | None]:
        """For each part of a source, the lowest number of the sources that match all of its clients."""
        if isinstance(source, str):
            yield self._unix
        for network in _networks(source):
            yield self._containing(network.network_address, network.max_prefixlen - network.prefixlen)

    def _containing(self, address: IPAddress, host_bits: int) -> int | None:
        """The lowest number of the networks that contain all addresses that begin like this one."""
        number = self._find(address.version, int(address), host_bits)
        translated = translated_ipv4(address)
        if translated is None or host_bits > translated.max_prefixlen:
            return number
        also = self._find(translated.version, int(translated), host_bits)
        return number if also is None else _min(also, number)

    def _find(self, version: int, address: int, min_host_bits: int) -> int | None:
        for host_bits, numbers in self._tables[version]:
            if host_bits >= min_host_bits:
                number = numbers.get(address >> host_bits)
                if number is not None:
                    return number
        return None


class ProxyTable:
    """Those who may name a client."""

    def __init__(self, proxies: Iterable[Proxy]) -> None:
        proxies = tuple(proxies)
        self._has_unix = UNIX in proxies
        self._table = SourceTable((0, proxy) for proxy in proxies if not isinstance(proxy, str))

    def __contains__(self, client: str) -> bool:
        return self._has_unix if client == UNIX else self._table.lowest(client) is not None


def _min(number: int, other: int | None) -> int:
    return number if other is None else min(number, other)
