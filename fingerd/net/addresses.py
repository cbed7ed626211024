"""IP addresses, networks and host names: their canonical spelling, and what they mean."""

import contextlib
import encodings.idna
import encodings.punycode  # noqa: F401 - both are imported by name on first use, which fails in a chroot
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

NAME_CHARACTERS = 253  # maximum length of a host name in its written form (RFC 1035 2.3.4)
UNIX = "unix"  # the client address of a connection over a unix socket

IPAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Host = IPAddress | str  # a name is ASCII, lower case, without a trailing dot

_MAPPED = IPv6Network("::ffff:0:0/96")
UNICAST = IPv6Network("2000::/3")  # all other IPv6 addresses have site scope at most
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_SIIT = IPv6Network("::ffff:0:0:0/96")  # RFC 2765: as well
_TRANSLATED = frozenset(int(network.network_address) >> 32 for network in (NAT64, _SIIT))
# The special-purpose address registries (RFC 6890): the entries that are not globally reachable.
_NON_PUBLIC = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24
    192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    2001::/23 2001:db8::/32 3fff::/20
"""
NON_PUBLIC_NETWORKS = tuple(map(ip_network, _NON_PUBLIC.split()))

_LABEL = re.compile("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile("[0-9]+|0x[0-9a-f]*")  # as last label: some resolvers read 0x7f.1 and 2130706433 as addresses


def parse_address(text: str) -> IPAddress:
    """Return the address without its zone, IPv4-mapped IPv6 as IPv4; raise ValueError for any other text."""
    address = ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse_host(text: str) -> Host:
    """Return a query's host: a name, or an address, with or without brackets; ValueError for a port, a zone or else."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" not in bare:
        with contextlib.suppress(ValueError):
            return parse_address(bare)
    return parse_host_name(text)


def parse_host_name(text: str) -> str:
    """Return a host name in ASCII (IDNA 2003) and lower case, without a trailing dot; raise ValueError if invalid."""
    if len(text) <= NAME_CHARACTERS + 1:
        with contextlib.suppress(UnicodeError):  # IDNA cannot encode it
            name = (text if text.isascii() else text.encode("idna").decode()).lower().removesuffix(".")
            labels = name.split(".")
            is_valid = all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])
            if is_valid and len(name) <= NAME_CHARACTERS:
                return name
    raise ValueError("not a host name")


def parse_network(text: str, expected: str = "an address or a network") -> Network:
    """Return a network, or an address as a network; IPv4-mapped ones as IPv4. Raise ValueError for any other text."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not {expected}") from None
    if "/" in text and str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f"{text} has host bits set (did you mean {network}?)")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((str(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return network


def is_subnet(inner: Network, outer: Network) -> bool:
    """Whether ``outer`` contains every address of ``inner``."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # same version


def translated_ipv4(address: IPAddress) -> IPv4Address | None:
    """Return the IPv4 address of a host behind a translator of addresses (NAT64, SIIT); None for any other host."""
    if address.version == 6 and int(address) >> 32 in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def is_impossible(address: IPAddress) -> bool:
    """Whether no client has this address: 0.0.0.0/8, or loopback or 0.0.0.0/8 behind a translator."""
    translated = translated_ipv4(address)
    if translated is not None:
        return int(translated) >> 24 in (0, 127)
    return address.version == 4 and not int(address) >> 24


def limit_key(client: str) -> str:
    """Return the key under which a client is counted: its IPv4 address, its IPv6 /64, or ``unix``.

    A client behind a translator is counted by its IPv4 address, unless this is impossible.
    """
    if client == UNIX:
        return client
    address = parse_address(client)
    if not is_impossible(address):
        address = translated_ipv4(address) or address
    return str(address) if address.version == 4 else _network(address, 64)


def site_key(limit_key: str) -> str:
    """Return the key of the larger network under which a client is counted as well: its IPv6 /48, else empty."""
    return _network(parse_address(limit_key.partition("/")[0]), 48) if ":" in limit_key else ""


def anonymized(client: str) -> str:
    """Return the client's network for a log without full addresses: an IPv4 /24, an IPv6 /48, or ``unix``.

    Of a client behind a translator it is the /120, which is the /24 of its IPv4 address.
    """
    if client == UNIX:
        return client
    address = parse_address(client)
    if address.version == 4:
        return _network(address, 24)
    return _network(address, 48 if translated_ipv4(address) is None else 120)


def _network(address: IPAddress, prefix_length: int) -> str:
    host_bits = address.max_prefixlen - prefix_length
    return f"{type(address)(int(address) >> host_bits << host_bits)}/{prefix_length}"


def is_public(address: IPAddress) -> bool:
    """Whether the address, or the IPv4 address that it embeds, is globally reachable."""
    if isinstance(address, IPv6Address):
        embedded = address.sixtofour if address not in NAT64 else translated_ipv4(address)
        if embedded is not None:
            return is_public(embedded)
        if address not in UNICAST:
            return False
    return not any(address in network for network in NON_PUBLIC_NETWORKS)


def is_this_host(host: str) -> bool:
    """Whether traffic to ``host`` stays on this machine: ``localhost``, or a loopback address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
