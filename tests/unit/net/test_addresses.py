"""Which addresses are of the whole Internet, and which of a host or a network alone."""

import pytest

from fingerd.net.addresses import is_public, parse_address

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:2800:220:1::1", "::ffff:1.1.1.1", "64:ff9b::101:101"]
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
