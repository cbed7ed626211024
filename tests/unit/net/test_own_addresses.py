"""Which addresses are this host's own; tests/daemon/test_forwarding.py has a host with many of them."""

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from fingerd.net import own_addresses
from fingerd.net.addresses import parse_address
from fingerd.net.own_addresses import is_own_address

OWN = ["127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "::", "fe80::1", "64:ff9b::127.0.0.1", "2002:7f00:1::1"]
FOREIGN = ["192.0.2.1", "198.51.100.7", "2001:db8::1", "64:ff9b::192.0.2.1", "::ffff:0:192.0.2.1", "2002:c000:201::1"]


@pytest.mark.parametrize("address", OWN)
def test_an_address_of_this_host(address: str) -> None:
    assert is_own_address(parse_address(address))


@pytest.mark.parametrize("address", FOREIGN)
def test_an_address_of_no_host(address: str) -> None:
    assert not is_own_address(parse_address(address))


def test_without_descriptors_no_address_counts_as_another_hosts() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno() + 1, limits[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                is_own_address(parse_address("192.0.2.1"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# net.ipv4.ip_nonlocal_bind and net.ipv6.ip_nonlocal_bind

ROUTES = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 9.9.9.0/24 2 0 2
        |-- 9.9.9.0
           /24 link UNICAST
           /32 link BROADCAST
        |-- 9.9.9.1
           /32 host LOCAL
        |-- 9.9.9.255
           /32 link BROADCAST
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 9.9.6.0
        /24 host LOCAL
     |-- 9.9.9.101
        /32 host LOCAL tos=0x10
"""
ADDRESSES = """\
00000000000000000000000000000001 01 80 10 80       lo
262000fe000000000000000000000101 02 40 00 80     eth0
"""
LISTED = {
    "9.9.9.1": True,
    "9.9.9.101": True,
    "9.9.9.255": True,
    "9.9.6.0": True,
    "9.9.6.255": True,
    "9.9.9.2": False,
    "9.9.7.0": False,
    "8.8.8.8": False,
    "64:ff9b::9.9.6.7": True,
    "64:ff9b::8.8.8.8": False,
    "2620:fe::101": True,
    "2620:fe::1": False,
    "2620:fe::": False,
}


class BoundAnywhere(socket.socket):
    """A socket of a host with ``ip_nonlocal_bind``."""

    def bind(self, address: object) -> None:
        """Succeed."""


@pytest.mark.parametrize(("address", "is_own"), LISTED.items())
def test_where_every_address_can_be_bound_the_lists_of_the_kernel_decide(
    address: str, is_own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fib_trie").write_text(ROUTES)
    (tmp_path / "if_inet6").write_text(ADDRESSES)
    monkeypatch.setattr(socket, "socket", BoundAnywhere)
    monkeypatch.setattr(own_addresses, "IPV4_ROUTES", str(tmp_path / "fib_trie"))
    monkeypatch.setattr(own_addresses, "IPV6_ADDRESSES", str(tmp_path / "if_inet6"))
    assert is_own_address(parse_address(address)) is is_own


def test_without_these_lists_no_address_counts_as_another_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", BoundAnywhere)
    monkeypatch.setattr(own_addresses, "IPV4_ROUTES", str(tmp_path / "fib_trie"))
    with pytest.raises(
        OSError, match=r"whether 192\.0\.2\.1 is an address of this host: .*/fib_trie: No such"
    ) as caught:
        is_own_address(parse_address("192.0.2.1"))
    assert caught.value.errno == errno.ENOENT
