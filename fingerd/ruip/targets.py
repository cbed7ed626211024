"""Hosts to which a query may be forwarded: what names one, which of them a rule means, which addresses may be asked.

Nothing is looked up here. A name that is allowed may still stand for an
address that is not: whoever answers for the name chooses it, and could choose
one that only this host can reach.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from fingerd.net.addresses import (
    NAT64,
    NON_PUBLIC_NETWORKS,
    UNICAST,
    Host,
    Network,
    is_public,
    is_subnet,
    parse_host,
    parse_host_name,
    parse_network,
)

HostPattern = Network | str  # a name, "*.example.org" for all names below it, "*" for every name


def parse_host_pattern(text: str) -> HostPattern:
    """What a rule's ``forward`` says: a name, ``*.name``, an address or a CIDR network; ValueError otherwise."""
    if text == "*":
        return text
    try:
        return parse_network(text)
    except ValueError:
        if "/" in text:
            raise
    try:
        return f"*.{parse_host_name(text[2:])}" if text.startswith("*.") else parse_host_name(text)
    except ValueError:
        raise ValueError(f"{text!r} is no name of a host, no *.name, no address and no network") from None


def has_loop(hosts: Sequence[str]) -> bool:
    """Whether a route comes to the same host twice, as far as its names tell."""
    names = [_known_as(host) for host in hosts]
    return len(set(names)) < len(names)


def _known_as(host: str) -> Host:
    try:
        return parse_host(host)
    except ValueError:  # some other host may know what that is
        return host.lower()


def is_allowed(host: Host, targets: Sequence[HostPattern]) -> bool:
    """Whether one of the targets means this host; a name is meant by names only, whatever it stands for."""
    if isinstance(host, str):
        above = host.split(".")
        meant = {host, "*", *("*." + ".".join(above[number:]) for number in range(1, len(above)))}
        return any(target in meant for target in targets if isinstance(target, str))
    return any(host in target for target in targets if not isinstance(target, str))


def may_connect(address: IPv4Address | IPv6Address, targets: Sequence[HostPattern]) -> bool:
    """Whether to connect to this address: one that everybody can reach, or that a target names itself.

    A network that only happens to hold it, as 0.0.0.0/0, does not name it.
    """
    return is_public(address) or any(
        address in target and _is_meant(target) for target in targets if not isinstance(target, str)
    )


def _is_meant(network: Network) -> bool:
    """Whether a network that a rule names is one for special purposes, or a part of one, or a single address."""
    if network.num_addresses == 1:
        return True
    if isinstance(network, IPv6Network):
        if network.overlaps(NAT64):  # in which all of IPv4 stands
            bits = network.prefixlen - NAT64.prefixlen
            return bits >= 0 and _is_meant(IPv4Network((int(network.network_address) & 0xFFFFFFFF, bits)))
        if not network.overlaps(UNICAST):
            return True
    return any(is_subnet(network, special) for special in NON_PUBLIC_NETWORKS)


def is_unbounded(target: HostPattern) -> bool:
    """Whether a target means hosts without a bound."""
    return target == "*" or (not isinstance(target, str) and target.prefixlen == 0)
