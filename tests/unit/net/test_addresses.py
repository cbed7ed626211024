"""Addresses and host names: parsing, public addresses, and what clients are counted by."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.net.addresses import (
    anonymized,
    is_public,
    is_this_host,
    limit_key,
    parse_address,
    parse_host,
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


# Clients

LIMIT_KEYS = {
    "IPv4": ("192.0.2.7", "192.0.2.7"),
    "mapped": ("::ffff:192.0.2.7", "192.0.2.7"),
    "IPv6": ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    "zone": ("fe80::7%eth0", "fe80::/64"),
    "unix": ("unix", "unix"),
    "behind NAT64": ("64:ff9b::192.0.2.7", "192.0.2.7"),
    "behind SIIT": ("::ffff:0:192.0.2.7", "192.0.2.7"),
    "behind another NAT64 prefix": ("64:ff9b:1::192.0.2.7", "64:ff9b:1::/64"),
    "6to4": ("2002:c000:207::1", "2002:c000:207::/64"),
    "loopback behind NAT64 is not loopback": ("64:ff9b::127.0.0.1", "64:ff9b::/64"),
    "this network behind NAT64": ("64:ff9b::0.0.0.0", "64:ff9b::/64"),
    "loopback behind SIIT": ("::ffff:0:127.0.0.1", "::/64"),
}

ANONYMIZED = {
    "IPv4": ("192.0.2.7", "192.0.2.0/24"),
    "mapped": ("::ffff:192.0.2.7", "192.0.2.0/24"),
    "IPv6": ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
    "behind NAT64": ("64:ff9b::192.0.2.7", "64:ff9b::c000:200/120"),
    "behind SIIT": ("::ffff:0:192.0.2.7", "::ffff:0:c000:200/120"),
    "unix": ("unix", "unix"),
}


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
