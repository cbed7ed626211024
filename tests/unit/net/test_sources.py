"""The sources of policy rules: which clients each of them matches, and which of many is the first."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fingerd.net.addresses import UNIX, parse_address
from fingerd.net.sources import Source, SourceTable, parse_source

MATCHES = {
    "any matches IPv4": ("192.0.2.7", "any", True),
    "any matches IPv6": ("2001:db8::7", "any", True),
    "any matches unix": ("unix", "any", True),
    "local matches unix": ("unix", "local", True),
    "local matches loopback": ("127.0.0.1", "local", True),
    "local matches all of loopback": ("127.8.9.10", "local", True),
    "local matches IPv6 loopback": ("::1", "local", True),
    "local matches mapped loopback": ("::ffff:127.0.0.1", "local", True),
    "local matches no other address": ("192.0.2.7", "local", False),
    "local matches no private network": ("10.0.0.1", "local", False),
    "an address": ("192.0.2.7", "192.0.2.7", True),
    "another address": ("192.0.2.8", "192.0.2.7", False),
    "a network": ("192.0.2.255", "192.0.2.0/24", True),
    "outside of a network": ("192.0.3.0", "192.0.2.0/24", False),
    "a network by its mask": ("192.0.2.9", "192.0.2.0/255.255.255.0", True),
    "a mapped client is IPv4": ("::ffff:192.0.2.7", "192.0.2.0/24", True),
    "a mapped source is IPv4": ("192.0.2.7", "::ffff:192.0.2.7", True),
    "a mapped network is IPv4": ("192.0.2.7", "::ffff:192.0.2.0/120", True),
    "a mapped client is not IPv6": ("::ffff:192.0.2.7", "::/0", False),
    "IPv4 is not in an IPv6 network": ("192.0.2.7", "2001:db8::/32", False),
    "IPv6 is not in an IPv4 network": ("2001:db8::7", "0.0.0.0/0", False),
    "an IPv6 network": ("2001:db8:1::7", "2001:db8::/32", True),
    "however it is spelt": ("2001:db8::7", "2001:0DB8:0::0007", True),
    "a client's zone is ignored": ("fe80::7%eth0", "fe80::/10", True),
    "unix is in no network": ("unix", "127.0.0.0/8", False),
    "behind NAT64, by its IPv4 address": ("64:ff9b::192.0.2.7", "192.0.2.7", True),
    "behind NAT64, by its IPv4 network": ("64:ff9b::c000:207", "192.0.2.0/24", True),
    "behind NAT64, by its IPv6 address": ("64:ff9b::192.0.2.7", "64:ff9b::c000:207", True),
    "behind NAT64, by its IPv6 network": ("64:ff9b::192.0.2.7", "64:ff9b::/96", True),
    "behind NAT64, by every network of either family": ("64:ff9b::192.0.2.7", "::/0", True),
    "behind NAT64, any": ("64:ff9b::192.0.2.7", "any", True),
    "behind NAT64, another IPv4 address": ("64:ff9b::192.0.2.8", "192.0.2.7", False),
    "behind NAT64, another IPv6 address": ("64:ff9b::192.0.2.8", "64:ff9b::c000:207", False),
    "behind SIIT, by its IPv4 network": ("::ffff:0:192.0.2.7", "192.0.2.0/24", True),
    "behind SIIT, by its IPv6 network": ("::ffff:0:192.0.2.7", "::ffff:0:0:0/96", True),
    "a NAT64 source is no IPv4 source": ("192.0.2.7", "64:ff9b::c000:207", False),
    "another NAT64 prefix has no IPv4 addresses": ("64:ff9b:1::192.0.2.7", "192.0.2.7", False),
    "a 6to4 address is none of IPv4": ("2002:c000:207::1", "192.0.2.7", False),
    "an IPv4-compatible address is none of IPv4": ("::192.0.2.7", "192.0.2.7", False),
    "loopback behind NAT64 is not local": ("64:ff9b::127.0.0.1", "local", False),
    "loopback behind NAT64 is not even any": ("64:ff9b::127.0.0.1", "any", False),
    "loopback behind NAT64 is not in its network": ("64:ff9b::7fff:ffff", "64:ff9b::/96", False),
    "loopback behind SIIT": ("::ffff:0:127.0.0.1", "any", False),
    "this network behind NAT64": ("64:ff9b::0.0.0.1", "any", False),
    "this network behind SIIT": ("::ffff:0:0.255.255.255", "::/0", False),
    "this network, mapped": ("::ffff:0.0.0.1", "any", False),
    "this network": ("0.0.0.0", "0.0.0.0/0", False),
    "next to this network": ("1.0.0.0", "any", True),
    "next to loopback behind NAT64": ("64:ff9b::126.255.255.255", "any", True),
    "after loopback behind NAT64": ("64:ff9b::128.0.0.0", "any", True),
    "the unspecified IPv6 address": ("::", "any", True),
}

INVALID_SOURCES = {
    "a word": ("localnet", "'localnet' is not an address, a network, any or local"),
    "another letter case": ("Any", "'Any' is not an address, a network, any or local"),
    "nothing": ("", "'' is not an address, a network, any or local"),
    "a name": ("example.org", "'example.org' is not an address, a network, any or local"),
    "no address": ("300.0.0.1", "'300.0.0.1' is not an address, a network, any or local"),
    "a leading zero": ("010.0.0.1", "'010.0.0.1' is not an address, a network, any or local"),
    "too many bits": ("192.0.2.0/33", "'192.0.2.0/33' is not an address, a network, any or local"),
    "an address inside": (
        "192.0.2.7/24",
        "192.0.2.7/24 has host bits set (did you mean 192.0.2.0/24?)",
    ),
    "an IPv6 address inside": (
        "2001:db8::1/32",
        "2001:db8::1/32 has host bits set (did you mean 2001:db8::/32?)",
    ),
}

COVERS = {
    "every source is within any": ("192.0.2.7", "any", True),
    "local is within any": ("local", "any", True),
    "any is within any": ("any", "any", True),
    "any is within no network": ("any", "0.0.0.0/0", False),
    "any is not within local": ("any", "local", False),
    "local is within local": ("local", "local", True),
    "local, which is unix too, is within no network": ("local", "127.0.0.0/8", False),
    "loopback is within local": ("127.0.0.1", "local", True),
    "all of loopback is within local": ("127.0.0.0/8", "local", True),
    "more than loopback is not": ("126.0.0.0/7", "local", False),
    "IPv6 loopback is within local": ("::1", "local", True),
    "a private network is not within local": ("10.0.0.0/8", "local", False),
    "a network is within itself": ("192.0.2.0/24", "192.0.2.0/24", True),
    "a network is within a larger one": ("192.0.2.0/25", "192.0.2.0/24", True),
    "a network is not within a smaller one": ("192.0.2.0/24", "192.0.2.0/25", False),
    "a network is not within another": ("192.0.2.0/24", "198.51.100.0/24", False),
    "IPv4 is not within IPv6": ("192.0.2.0/24", "::/0", False),
    "IPv6 is within IPv6": ("2001:db8:1::/48", "2001:db8::/32", True),
    "a mapped network is IPv4": ("::ffff:10.1.0.0/112", "10.0.0.0/8", True),
    "a NAT64 network is within its IPv4 network": ("64:ff9b::a01:0/112", "10.0.0.0/8", True),
    "an IPv4 network is not within its NAT64 network": ("10.1.0.0/16", "64:ff9b::/96", False),
    "a network around NAT64 is not within IPv4": ("64:ff9b::/95", "0.0.0.0/0", False),
    "all of NAT64 is within all of IPv4": ("64:ff9b::/96", "0.0.0.0/0", True),
}


def table(*sources: str) -> SourceTable:
    """These sources, numbered from 0."""
    return SourceTable(enumerate(map(parse_source, sources)))


@pytest.mark.parametrize(("client", "source", "is_match"), MATCHES.values(), ids=MATCHES.keys())
def test_a_source_matches_its_clients(client: str, source: str, is_match: bool) -> None:
    assert table(source).lowest(client) == (0 if is_match else None)


@pytest.mark.parametrize(("inner", "outer", "is_covered"), COVERS.values(), ids=COVERS.keys())
def test_a_source_covers_another_if_it_matches_all_of_its_clients(inner: str, outer: str, is_covered: bool) -> None:
    assert table(outer, inner).covers(parse_source(inner), 1) is is_covered


@pytest.mark.parametrize(("text", "message"), INVALID_SOURCES.values(), ids=INVALID_SOURCES.keys())
def test_an_invalid_source_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"is|has") as caught:
        parse_source(text)
    assert str(caught.value) == message


# The first of many

FIRST: dict[str, tuple[Sequence[str], str, int | None]] = {
    "none of none": ((), "192.0.2.7", None),
    "none of none, for unix": ((), "unix", None),
    "none of several": (("192.0.2.0/24", "local"), "198.51.100.7", None),
    "the longer prefix comes first": (("192.0.2.7", "192.0.2.0/24", "any"), "192.0.2.7", 0),
    "the shorter prefix comes first": (("192.0.2.0/24", "192.0.2.7", "any"), "192.0.2.7", 0),
    "the shortest prefix comes first": (("any", "192.0.2.0/24", "192.0.2.7"), "192.0.2.7", 0),
    "the one in the middle comes first": (("192.0.2.0/24", "any", "192.0.2.7"), "192.0.2.7", 0),
    "outside of the longer prefix": (("192.0.2.7", "192.0.2.0/24", "any"), "192.0.2.8", 1),
    "outside of all but any": (("192.0.2.7", "192.0.2.0/24", "any"), "192.0.3.8", 2),
    "the same network again": (("192.0.2.0/24", "192.0.2.0/24"), "192.0.2.7", 0),
    "local before loopback": (("local", "127.0.0.1"), "127.0.0.1", 0),
    "loopback before local": (("127.0.0.1", "local"), "127.0.0.1", 0),
    "loopback before local, another address": (("127.0.0.1", "local"), "127.0.0.2", 1),
    "IPv6 loopback before local": (("::1", "local", "any"), "::1", 0),
    "local before any, for unix": (("192.0.2.0/24", "local", "any"), "unix", 1),
    "any before local, for unix": (("::/0", "any", "local"), "unix", 1),
    "NAT64, the IPv4 network first": (("10.0.0.0/8", "64:ff9b::/96", "any"), "64:ff9b::10.8.0.66", 0),
    "NAT64, the IPv6 network first": (("64:ff9b::/96", "10.0.0.0/8", "any"), "64:ff9b::10.8.0.66", 0),
    "NAT64, any IPv6 client first": (("::/0", "10.8.0.66"), "64:ff9b::10.8.0.66", 0),
    "NAT64, one of them": (("10.0.0.0/9", "64:ff9b::a00:0/104", "any"), "64:ff9b::10.200.0.66", 1),
    "everything": (("0.0.0.0/0", "::/0"), "255.255.255.255", 0),
    "everything IPv6": (("0.0.0.0/0", "::/0"), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1),
}


@pytest.mark.parametrize(("sources", "client", "number"), FIRST.values(), ids=FIRST)
def test_the_first_source_that_matches_is_found_whatever_its_prefix(
    sources: Sequence[str], client: str, number: int | None
) -> None:
    assert table(*sources).lowest(client) == number


COVERED: dict[str, tuple[Sequence[str], int, bool]] = {
    "by the sum of earlier ones, part by part": (("127.0.0.0/8", "::1", "local", "local"), 3, True),
    "any, by every network and local": (("0.0.0.0/0", "::/0", "local", "any"), 3, True),
    "any, by every network but no unix socket": (("0.0.0.0/0", "::/0", "any"), 2, False),
    "not by a later one": (("10.1.0.0/16", "10.0.0.0/8"), 0, False),
    "not by itself": (("10.1.0.0/16",), 0, False),
    "not by its halves": (("10.0.0.0/9", "10.128.0.0/9", "10.0.0.0/8"), 2, False),
    "not by a part of it": (("10.0.0.0", "10.0.0.0/31"), 1, False),
}


@pytest.mark.parametrize(("sources", "number", "is_covered"), COVERED.values(), ids=COVERED)
def test_sources_are_covered_by_those_with_lower_numbers(sources: Sequence[str], number: int, is_covered: bool) -> None:
    assert table(*sources).covers(parse_source(sources[number]), number) is is_covered


# The definition, without a table, for any sources and clients

THIS_NETWORK = IPv4Network("0.0.0.0/8")

# So that many addresses are in one network.
NEAR_V4 = st.integers(0, 0xFFFF).map(lambda low: IPv4Address(0x0A000000 | low))
NEAR_V6 = st.builds(
    lambda high, low: IPv6Address((high << 96) + low),
    st.sampled_from([0, 0x20010DB8, 0xFE800000, 0x64FF9B]),
    st.one_of(st.integers(0, 0xFFFF), st.integers(0x0A000000, 0x0A00FFFF), st.integers(0x7EFFFFF0, 0x8000000F)),
)
ADDRESSES = st.one_of(NEAR_V4, NEAR_V6, st.ip_addresses())


@st.composite
def networks(draw: st.DrawFn) -> Source:
    address = draw(ADDRESSES)
    prefix = draw(st.integers(0, address.max_prefixlen))
    kind = IPv4Network if isinstance(address, IPv4Address) else IPv6Network
    return parse_source(str(kind((int(address), prefix), strict=False)))


@st.composite
def clients(draw: st.DrawFn) -> str:
    address = draw(ADDRESSES)
    spellings = [str(address), address.exploded]
    if isinstance(address, IPv4Address):
        spellings += [f"::ffff:{address}", f"64:ff9b::{address}", f"::ffff:0:{address}"]
    else:
        spellings.append(f"{address}%eth0")
    return draw(st.sampled_from([UNIX, "127.0.0.1", "::1", *spellings]))


SOURCES = st.lists(st.one_of(st.sampled_from(["any", "local", "local"]), networks()), max_size=30)


def matches(client: str, source: Source) -> bool:
    """Whether the client matches the source, as fingerd.yaml(5) defines it."""
    if client == UNIX:
        return source in ("any", "local")
    address = parse_address(client)
    if source == "any":
        return bool(aliases(address))
    return any(alias.is_loopback if source == "local" else alias in source for alias in aliases(address))


def aliases(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The addresses by which the client at an address matches: none if no client can have it."""
    for network in map(IPv6Network, ("64:ff9b::/96", "::ffff:0:0:0/96")):
        if address in network:
            ipv4 = IPv4Address(address.packed[-4:])
            return [] if ipv4 in THIS_NETWORK or ipv4.is_loopback else [address, ipv4]
    return [] if address in THIS_NETWORK else [address]


@given(SOURCES, st.lists(clients(), min_size=1, max_size=20))
@example([IPv6Network("::/0"), "any"], ["::ffff:192.0.2.7"])
def test_the_table_finds_what_a_comparison_one_by_one_finds(sources: list[Source], asking: list[str]) -> None:
    built = SourceTable(enumerate(sources))
    for client in asking:
        expected = next((number for number, source in enumerate(sources) if matches(client, source)), None)
        assert built.lowest(client) == expected


@given(SOURCES.filter(len), st.lists(clients(), min_size=1, max_size=20))
def test_a_source_that_is_covered_is_never_the_first(sources: list[Source], asking: list[str]) -> None:
    built = SourceTable(enumerate(sources))
    covered = {number for number, source in enumerate(sources) if built.covers(source, number)}
    assert not covered & {built.lowest(client) for client in asking}


@pytest.mark.parametrize("address", [IPv4Address("192.0.2.7"), IPv6Address("2001:db8::7")])
def test_a_table_of_every_prefix_length_keeps_the_order_of_the_sources(address: IPv4Address | IPv6Address) -> None:
    lengths = range(address.max_prefixlen + 1)
    sources = [ip_network((int(address), length), strict=False) for length in lengths]
    assert SourceTable(enumerate(sources)).lowest(str(address)) == 0
    assert SourceTable(enumerate(sources[::-1])).lowest(str(address)) == 0
    assert SourceTable(enumerate(sources[5::-1])).lowest(str(address)) == 0
    assert SourceTable(enumerate(sources[5:])).lowest(str(address)) == 0
