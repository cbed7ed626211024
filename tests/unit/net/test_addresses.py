"""Addresses and host names: parsing, public addresses, and the sources of policy rules."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.net.addresses import (
    anonymized,
    covers,
    is_public,
    is_this_host,
    limit_key,
    matches,
    parse_address,
    parse_host,
    parse_source,
)

PUBLIC = ["2002:101:101::1", "1.1.1.1", "93.184.216.34", "2606:2800:220:1::1", "::ffff:1.1.1.1", "64:ff9b::101:101"]
PRIVATE = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "192.0.0.9"),
    *(
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *(
        "::",
        "::1",
        "::127.0.0.1",
        "::1.1.1.1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "ff0e::1",
    ),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:224.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2002:a00:1::", "2001::1", "2001:db8::1", "100::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address: str) -> None:
    assert is_public(parse_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(parse_address(address))


# Sources of policy rules

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
}

LIMIT_KEYS = {
    "IPv4": ("192.0.2.7", "192.0.2.7"),
    "mapped": ("::ffff:192.0.2.7", "192.0.2.7"),
    "IPv6": ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    "zone": ("fe80::7%eth0", "fe80::/64"),
    "unix": ("unix", "unix"),
}

ANONYMIZED = {
    "IPv4": ("192.0.2.7", "192.0.2.0/24"),
    "mapped": ("::ffff:192.0.2.7", "192.0.2.0/24"),
    "IPv6": ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
    "unix": ("unix", "unix"),
}


@pytest.mark.parametrize(("client", "source", "is_match"), MATCHES.values(), ids=MATCHES.keys())
def test_a_source_matches_its_clients(client: str, source: str, is_match: bool) -> None:
    assert matches(client, parse_source(source)) is is_match


@pytest.mark.parametrize(("inner", "outer", "is_covered"), COVERS.values(), ids=COVERS.keys())
def test_a_source_covers_another_if_it_matches_all_of_its_clients(inner: str, outer: str, is_covered: bool) -> None:
    assert covers(parse_source(inner), parse_source(outer)) is is_covered


@pytest.mark.parametrize(("text", "message"), INVALID_SOURCES.values(), ids=INVALID_SOURCES.keys())
def test_an_invalid_source_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"is|has") as caught:
        parse_source(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("client", "name"), LIMIT_KEYS.values(), ids=LIMIT_KEYS.keys())
def test_clients_of_one_network_share_a_limit_key(client: str, name: str) -> None:
    assert limit_key(client) == name


@pytest.mark.parametrize(("client", "network"), ANONYMIZED.values(), ids=ANONYMIZED.keys())
def test_an_anonymized_client_is_its_network(client: str, network: str) -> None:
    assert anonymized(client) == network


def test_an_address_has_one_canonical_form() -> None:
    assert str(parse_address("2001:0DB8:0:0::1%eth0")) == "2001:db8::1"
    assert str(parse_address("::ffff:192.0.2.7")) == "192.0.2.7"
    with pytest.raises(ValueError, match="example"):
        parse_address("example.org")


# Host names and addresses in queries

HOSTS: dict[str, tuple[str, str]] = {
    "a name": ("example.org", "example.org"),
    "in capitals": ("Example.ORG", "example.org"),
    "with the root's dot": ("example.org.", "example.org"),
    "a single label": ("pilot", "pilot"),
    "an underscore": ("_finger.example.org", "_finger.example.org"),
    "digits, but not in the last place": ("10.example.org", "10.example.org"),
    "IDNA": ("Bücher.example", "xn--bcher-kva.example"),
    "IDNA, with another dot": ("bücher\u3002example", "xn--bcher-kva.example"),
    "as long as a name can be": (f"{'a.' * 126}a", f"{'a.' * 126}a"),
    "as long as a name can be, with the root's dot": (f"{'a.' * 127}", f"{'a.' * 126}a"),
    "IPv4": ("192.0.2.1", "192.0.2.1"),
    "IPv4 in brackets": ("[192.0.2.1]", "192.0.2.1"),
    "IPv6": ("2001:DB8:0::1", "2001:db8::1"),
    "IPv6 in brackets": ("[2001:db8::1]", "2001:db8::1"),
    "IPv4 within IPv6": ("::ffff:192.0.2.1", "192.0.2.1"),
}

INVALID_HOSTS = {
    "a port": "example.org:79",
    "a port after an address": "192.0.2.1:79",
    "a port after brackets": "[2001:db8::1]:79",
    "a zone": "fe80::1%eth0",
    "a zone in brackets": "[fe80::1%eth0]",
    "an unclosed bracket": "[2001:db8::1",
    "a name in brackets": "[example.org]",
    "empty brackets": "[]",
    "a dot": ".",
    "two dots": "example..org",
    "a dot in front": ".example.org",
    "two dots at the end": "example.org..",
    "a hyphen in front": "-l",
    "a hyphen at the end": "example-.org",
    "a wildcard": "*.example.org",
    "a path": "../x",
    "a slash": "example.org/24",
    "a line separator": "exa\u2028mple.org",
    "a shell command": "$(id)",
    "a number": "2130706433",
    "a hexadecimal number": "0x7f000001",
    "an address of two parts": "127.1",
    "octal parts": "0177.0.0.1",
    "hexadecimal parts": "0x7f.1",
    "an address of five parts": "1.2.3.4.5",
    "full-width digits": "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
    "a long label": "a" * 64 + ".org",
    "a long name": "a." * 127 + "a",
    "a name that is one character too long": "a." * 125 + "a" * 4,
    "a very long name": "ü" * 10_000,
    "a label that IDNA cannot encode": "\u00ad.org",
    "an empty text": "",
}


@pytest.mark.parametrize(("text", "name"), HOSTS.values(), ids=HOSTS)
def test_a_host_is_a_name_or_an_address(text: str, name: str) -> None:
    assert str(parse_host(text)) == name
    assert parse_host(name) == parse_host(text)


@pytest.mark.parametrize("text", INVALID_HOSTS.values(), ids=INVALID_HOSTS)
def test_anything_else_is_not_a_host(text: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        parse_host(text)


@given(st.text())
def test_any_text_is_a_clean_host_or_refused(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert re.fullmatch("[0-9a-z_.-]{1,253}|[0-9a-f:.]+", str(host))


THIS_HOST = {"localhost": True, "127.9.9.9": True, "::1": True, "192.0.2.7": False, "example.org": False}


@pytest.mark.parametrize(("host", "is_local"), THIS_HOST.items())
def test_localhost_and_loopback_addresses_are_this_host(host: str, is_local: bool) -> None:
    assert is_this_host(host) is is_local
