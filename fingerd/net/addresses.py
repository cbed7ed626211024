"""What a client's address means: its one spelling, its network, and where a policy rule says it comes from."""

import contextlib
import encodings.idna  # noqa: F401 - found by name when a host is read, which is too late in a chroot
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

NAME_CHARACTERS = 253  # RFC 1035 2.3.4, in its written form
UNIX = "unix"  # who asks over a unix socket

Network = IPv4Network | IPv6Network
Host = IPv4Address | IPv6Address | str  # a name is ASCII, in lower case, without a dot at its end
Source = Network | Literal["any", "local"]

_MAPPED = IPv6Network("::ffff:0:0/96")
UNICAST = IPv6Network("2000::/3")  # all else in IPv6 is of use within a site at most
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address stands in its last bits
# The registries of addresses for special purposes (RFC 6890), as far as these are not for everybody to reach.
NON_PUBLIC_NETWORKS = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("2001::/23", "2001:db8::/32", "3fff::/20"),
        ),
    )
)

_LABEL = re.compile("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile("[0-9]+|0x[0-9a-f]*")  # in the last place: 0x7f.1 and 2130706433 are addresses to some resolvers


def parse_address(text: str) -> IPv4Address | IPv6Address:
    """The address that ``text`` spells, without its zone, IPv4-mapped IPv6 as IPv4; ValueError where it spells none."""
    address = ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse_host(text: str) -> Host:
    """The host that a query names: an address, in brackets or not, or a name; ValueError for anything else.

    ``host:port`` is nothing of these, and neither is an address with a zone.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" not in bare:
        try:
            return parse_address(bare)
        except ValueError:
            pass
    return parse_host_name(text)


def parse_host_name(text: str) -> str:
    """A host's name in ASCII and lower case (IDNA 2003), without a dot at its end; ValueError for anything else."""
    if len(text) <= NAME_CHARACTERS + 1:
        with contextlib.suppress(UnicodeError):  # where IDNA has no form for it
            name = (text if text.isascii() else text.encode("idna").decode()).lower().removesuffix(".")
            labels = name.split(".")
            if (
                len(name) <= NAME_CHARACTERS
                and all(map(_LABEL.fullmatch, labels))
                and not _NUMBER.fullmatch(labels[-1])
            ):
                return name
    raise ValueError("no name of a host")


def parse_source(text: str) -> Source:
    """What a rule's ``from`` says: ``any``, ``local``, an address or a CIDR network; ValueError for anything else."""
    if text == "any":
        return "any"
    if text == "local":
        return "local"
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address, no network, not any and not local") from None
    return parse_network(text)


def parse_network(text: str) -> Network:
    """The network, or the single address, that ``text`` spells, IPv4-mapped ones as IPv4; ValueError otherwise."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address and no network") from None
    if "/" in text and str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f"{text} is an address inside of a network (did you mean {network}?)")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return ip_network((str(mapped), network.prefixlen - 96))
    return network


def matches(client: str, source: Source) -> bool:
    """Whether ``client``, an address or ``unix``, is one whom ``source`` means."""
    if source == "any":
        return True
    if client == UNIX:
        return source == "local"
    address = parse_address(client)
    return address.is_loopback if source == "local" else address in source


def covers(inner: Source, outer: Source) -> bool:
    """Whether everyone whom ``inner`` means is meant by ``outer`` too."""
    if outer in ("any", inner):
        return True
    if isinstance(inner, str):
        return False
    if isinstance(outer, str):
        return inner.is_loopback
    return is_subnet(inner, outer)


def is_subnet(inner: Network, outer: Network) -> bool:
    """Whether all addresses of one network belong to the other."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def limit_key(client: str) -> str:
    """The name under which a client is counted: its IPv4 address, its IPv6 /64, or ``unix``."""
    return client if client == UNIX else _network(client, 32, 64)


def anonymized(client: str) -> str:
    """The client's network, as far as a log may name it: an IPv4 /24, an IPv6 /48, or ``unix``."""
    return client if client == UNIX else _network(client, 24, 48)


def _network(client: str, ipv4_bits: int, ipv6_bits: int) -> str:
    address = parse_address(client)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, ipv6_bits), strict=False))
    return str(IPv4Network((address, ipv4_bits), strict=False)) if ipv4_bits < 32 else str(address)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether everybody can reach the address, also where it wraps an IPv4 address."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.sixtofour is not None:
            return is_public(address.sixtofour)
        if address not in UNICAST:
            return False
    return not any(address in network for network in NON_PUBLIC_NETWORKS)


def is_this_host(host: str) -> bool:
    """Whether what is sent to ``host`` stays on this machine: ``localhost``, or a loopback address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
