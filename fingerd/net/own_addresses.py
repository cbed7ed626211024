"""Whether an address is this host's own: found out without sending a packet, and without netlink.

A sandbox may forbid netlink, and so getifaddrs(3): the one of the Debian package's service does.
"""

import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from fingerd.net.addresses import IPAddress, translated_ipv4

# Not /proc/net, which is missing where only the processes of /proc are mounted.
IPV4_ROUTES = "/proc/self/net/fib_trie"
IPV6_ADDRESSES = "/proc/self/net/if_inet6"

# For documentation, so no host should have them (RFC 5737, RFC 3849). If this one does, the lists of the kernel decide.
_FOREIGN: dict[int, IPAddress] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_UNAVAILABLE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # another host's, or no host's if there is no IPv6 here
_OWN_ROUTES = ("LOCAL", "BROADCAST")


def is_own_address(address: IPAddress) -> bool:
    """Whether a connection to the address may arrive at this host. Raises OSError if that cannot be found out.

    An address is ours if a socket can be bound to it. Where sockets can be
    bound to any address (``ip_nonlocal_bind``), it is ours if the kernel lists
    it. An IPv6 address is also ours if it embeds an IPv4 address that is: a
    translator (NAT64, SIIT) or a relay (6to4) would bring the connection back.
    """
    if isinstance(address, IPv6Address):
        if address.is_link_local:  # on which link? without its zone, it can be ours on one of them
            return True
        embedded = translated_ipv4(address) or address.sixtofour
        if embedded is not None and is_own_address(embedded):
            return True
    if address.is_loopback or address.is_unspecified:
        return True
    if not _can_bind(address):
        return False
    return not _can_bind(_FOREIGN[address.version]) or _is_listed(address)


def _can_bind(address: IPAddress) -> bool:
    try:
        with socket.socket(_FAMILIES[address.version], socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        if error.errno in _UNAVAILABLE:
            return False
        raise
    return True


def _is_listed(address: IPAddress) -> bool:
    """Whether the kernel lists the address as this host's; for IPv4 networks that are routed to this host count."""
    path = IPV4_ROUTES if address.version == 4 else IPV6_ADDRESSES
    try:
        with open(path, encoding="utf-8") as lines:  # a codec that is loaded already, for a chroot
            if address.version == 4:
                return any(address in network for network in _own_networks(lines))
            return any(int(line.split()[0], 16) == int(address) for line in lines)
    except OSError as error:
        what = f"cannot find out whether {address} is an address of this host: {path}: {error.strerror}"
        raise OSError(error.errno, what) from error


def _own_networks(lines: Iterator[str]) -> Iterator[IPv4Network]:
    """The networks of which this host has every address. ``lines`` are of fib_trie: an address, below it its routes."""
    leaf = ""
    for line in lines:
        words = line.split()
        if words[0] == "|--":
            leaf = words[1]
        elif words[0].startswith("/") and words[2] in _OWN_ROUTES:
            yield IPv4Network(leaf + words[0])
