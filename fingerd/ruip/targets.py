"""Hosts to which a query may be forwarded: what names one, which of them a rule means, which addresses may be asked.

Nothing is looked up here. A name that is allowed may still stand for an
address that is not: whoever answers for the name chooses it, and could choose
one that only this host can reach.
"""

import contextlib
import encodings.idna  # noqa: F401 - found by name when a host is read, which is too late in a chroot
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from fingerd.net.addresses import NAT64, SPECIAL, UNICAST, Network, is_part, is_public, parse_address, parse_network

NAME_CHARACTERS = 253  # RFC 1035 2.3.4, in its written form

Host = IPv4Address | IPv6Address | str  # a name is ASCII, in lower case, without a dot at its end
Target = Network | str  # a name, "*.example.org" for all names below it, "*" for every name

_LABEL = re.compile("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile("[0-9]+|0x[0-9a-f]*")  # in the last place: 0x7f.1 and 2130706433 are addresses to some resolvers


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
    return _parse_name(text)


def parse_target(text: str) -> Target:
    """What a rule's ``forward`` says: a name, ``*.name``, an address or a CIDR network; ValueError otherwise."""
    if text == "*":
        return text
    try:
        return parse_network(text)
    except ValueError:
        if "/" in text:
            raise
    try:
        return f"*.{_parse_name(text[2:])}" if text.startswith("*.") else _parse_name(text)
    except ValueError:
        raise ValueError(f"{text!r} is no name of a host, no *.name, no address and no network") from None


def _parse_name(text: str) -> str:
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


def goes_round(hosts: Sequence[str]) -> bool:
    """Whether a route comes to the same host twice, as far as its names tell."""
    names = [_known_as(host) for host in hosts]
    return len(set(names)) < len(names)


def _known_as(host: str) -> Host:
    try:
        return parse_host(host)
    except ValueError:  # some other host may know what that is
        return host.lower()


def is_allowed(host: Host, targets: Sequence[Target]) -> bool:
    """Whether one of the targets means this host; a name is meant by names only, whatever it stands for."""
    if isinstance(host, str):
        above = host.split(".")
        meant = {host, "*", *("*." + ".".join(above[number:]) for number in range(1, len(above)))}
        return any(target in meant for target in targets if isinstance(target, str))
    return any(host in target for target in targets if not isinstance(target, str))


def may_be_asked(address: IPv4Address | IPv6Address, targets: Sequence[Target]) -> bool:
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
    return any(is_part(network, special) for special in SPECIAL)


def is_any(target: Target) -> bool:
    """Whether a target means hosts without a bound."""
    return target == "*" or (not isinstance(target, str) and target.prefixlen == 0)


def missing_for_names(root: Path) -> Iterator[str]:
    """The complaint that no name can be looked up below this root directory, where that is so."""
    if not any((root / "etc" / name).exists() for name in ("resolv.conf", "hosts")):
        yield f"without etc/resolv.conf or etc/hosts in {root} no host name can be looked up"
