"""Forwarding targets: the hosts that a rule allows, and the addresses to which the server may connect.

Nothing is looked up here. A name that a rule allows may have an address that
it does not: whoever runs the name's zone chooses the address, and could choose
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

HostPattern = Network | str  # a name, "*.example.org" for all names below it, or "*" for every name


def parse_host_pattern(text: str) -> HostPattern:
    """Parse an entry of ``forward``: a name, ``*.name``, ``*``, an address or a CIDR network; ValueError otherwise."""
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
        raise ValueError(f"{text!r} is not a host name, *.name, address or network") from None


def has_loop(hosts: Sequence[str]) -> bool:
    """Whether a route names the same host twice; two names of one host are not detected."""
    names = [_canonical(host) for host in hosts]
    return len(set(names)) < len(names)


def _canonical(host: str) -> Host:
    try:
        return parse_host(host)
    except ValueError:  # the next host decides what it means
        return host.lower()


def is_allowed(host: Host, targets: Sequence[HostPattern]) -> bool:
    """Whether a target matches the host; a name matches only names, never a network that holds its address."""
    if isinstance(host, str):
        labels = host.split(".")
        patterns = {host, "*", *("*." + ".".join(labels[number:]) for number in range(1, len(labels)))}
        return any(target in patterns for target in targets if isinstance(target, str))
    return any(host in target for target in targets if not isinstance(target, str))


def may_connect(address: IPv4Address | IPv6Address, targets: Sequence[HostPattern]) -> bool:
    """Whether the server may connect to the address: it is public, or a target names it explicitly.

    A large network that merely contains it, such as 0.0.0.0/0, is not explicit.
    """
    return is_public(address) or any(
        address in target and _is_explicit(target) for target in targets if not isinstance(target, str)
    )


def _is_explicit(network: Network) -> bool:
    """Whether the network is a single address, or holds no public address."""
    if network.num_addresses == 1:
        return True
    if isinstance(network, IPv6Network):
        if network.overlaps(NAT64):  # which embeds all of IPv4
            bits = network.prefixlen - NAT64.prefixlen
            return bits >= 0 and _is_explicit(IPv4Network((int(network.network_address) & 0xFFFFFFFF, bits)))
        if not network.overlaps(UNICAST):
            return True
    return any(is_subnet(network, special) for special in NON_PUBLIC_NETWORKS)


def is_unbounded(target: HostPattern) -> bool:
    """Whether the target matches every name, or every address of a family."""
    return target == "*" or (not isinstance(target, str) and target.prefixlen == 0)
