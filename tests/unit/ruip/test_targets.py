"""Forwarding targets: which hosts a rule allows, and to which addresses the server may connect."""

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from fingerd.errors import ConfigError
from fingerd.net.addresses import parse_host
from fingerd.ruip.targets import has_loop, is_allowed, is_unbounded, may_connect, parse_host_pattern
from fingerd.settings import read_config

ROUTES = {
    "one host": (("a",), False),
    "three": (("a", "b", "c"), False),
    "the same again": (("a", "a"), True),
    "back again": (("a", "b", "a"), True),
    "in other spellings": (("Example.org.", "b", "example.ORG"), True),
    "an address in other spellings": (("2001:db8::1", "[2001:DB8:0::1]"), True),
    "text that only the next host can read": (("a:1", "b", "A:1"), True),
    "two such texts": (("a:1", "b:1"), False),
}


@pytest.mark.parametrize(("hosts", "is_loop"), ROUTES.values(), ids=ROUTES)
def test_a_route_with_a_host_twice_is_a_loop(hosts: Sequence[str], is_loop: bool) -> None:
    assert has_loop(hosts) is is_loop


# Hosts that a rule allows

ALLOWED = {
    "a name": ("example.org", ["example.org"], True),
    "a name in another case": ("EXAMPLE.org", ["Example.Org."], True),
    "another name": ("example.com", ["example.org"], False),
    "a name below": ("a.example.org", ["example.org"], False),
    "a wildcard": ("a.example.org", ["*.example.org"], True),
    "a wildcard, further below": ("b.a.example.org", ["*.example.org"], True),
    "a wildcard is not the name itself": ("example.org", ["*.example.org"], False),
    "a wildcard needs a dot": ("badexample.org", ["*.example.org"], False),
    "a name that goes on": ("example.org.evil.net", ["*.example.org", "example.org"], False),
    "an international name": ("bücher.example", ["*.example", "xn--bcher-kva.example"], True),
    "an international wildcard": ("a.bücher.example", ["*.bücher.example"], True),
    "any name": ("example.org", ["*"], True),
    "any name matches no address": ("8.8.8.8", ["*"], False),
    "any name matches no IPv6 address": ("2620::1", ["*"], False),
    "an address": ("8.8.8.8", ["8.8.8.8"], True),
    "another address": ("8.8.8.9", ["8.8.8.8"], False),
    "a network": ("8.8.8.8", ["8.8.8.0/24"], True),
    "an IPv6 network": ("[2620:fe::9]", ["2620:fe::/32"], True),
    "an IPv6 network, without brackets": ("2620:fe::9", ["2620:fe::/32"], True),
    "outside of a network": ("8.8.9.8", ["8.8.8.0/24"], False),
    "a name is in no network": ("localhost", ["127.0.0.0/8", "::/0", "0.0.0.0/0"], False),
    "one of several": ("b", ["a", "10.0.0.0/8", "b"], True),
}


@pytest.mark.parametrize(("host", "targets", "allowed"), ALLOWED.values(), ids=ALLOWED)
def test_a_rule_allows_the_hosts_that_it_names(host: str, targets: list[str], allowed: bool) -> None:
    assert is_allowed(parse_host(host), [parse_host_pattern(target) for target in targets]) is allowed


PUBLIC = ["8.8.8.8", "9.9.9.9", "172.32.0.1", "100.128.0.1", "2620:fe::9", "2002:808:808::1", "64:ff9b::808:808"]
PRIVATE = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::8.8.8.8", "::ffff:10.0.0.1", "100::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1"),
    *("2001::1", "2001:10::1", "2001:db8::1", "3fff::1", "4000::1", "64:ff9b:1::808:808"),
    *("2002:a00:1::1", "2002:7f00:1::1", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert may_connect(ip_address(address), [])


@pytest.mark.parametrize("address", PRIVATE)
def test_another_address_is_allowed_only_if_the_rule_names_it(address: str) -> None:
    broad = [
        parse_host_pattern(target) for target in ("*", "0.0.0.0/0", "::/0", "example.org", "8.0.0.0/5", "2000::/3")
    ]
    assert not may_connect(ip_address(address), broad)
    host = parse_host(address)
    assert not isinstance(host, str)
    assert may_connect(host, [*broad, parse_host_pattern(address)])


def test_a_network_of_private_addresses_allows_them() -> None:
    for address, network in {
        "10.1.2.3": "10.0.0.0/8",
        "192.168.1.1": "192.168.1.0/24",
        "fd12::1": "fd00::/8",
        "fe80::1": "fe80::/10",
        "2001:db8::1": "2001:db8::/48",
        "64:ff9b::10.0.0.1": "64:ff9b::a00:0/104",
    }.items():
        assert may_connect(ip_address(address), [parse_host_pattern(network)])
        assert not may_connect(ip_address("127.0.0.1"), [parse_host_pattern(network)])


def test_a_network_that_embeds_all_of_ipv4_allows_no_private_address() -> None:
    broad = [
        parse_host_pattern(target)
        for target in ("64:ff9b::/96", "64:ff9b::/95", "64:ff9b::/64", "64::/16", "2002::/16", "::/1")
    ]
    for address in ("64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "2002:a00:1::1", "10.0.0.1"):
        assert not may_connect(ip_address(address), broad)
    assert may_connect(ip_address("64:ff9b::808:808"), broad)
    assert not may_connect(ip_address("64:ff9b::192.168.1.1"), [parse_host_pattern("64:ff9b::192.0.0.0/104")])


# Patterns

INVALID_PATTERNS = {
    "a port": ("a:79", "'a:79' is not a host name, *.name, address or network"),
    "a wildcard in the middle": ("a.*.org", "'a.*.org' is not a host name, *.name, address or network"),
    "a wildcard without a dot": ("*org", "'*org' is not a host name, *.name, address or network"),
    "two wildcards": ("*.*.org", "'*.*.org' is not a host name, *.name, address or network"),
    "an address inside of a network": (
        "10.0.0.1/8",
        "10.0.0.1/8 has host bits set (did you mean 10.0.0.0/8?)",
    ),
    "an invalid network": ("10.0.0.0/33", "'10.0.0.0/33' is not an address or a network"),
}


def test_a_pattern_is_a_name_a_wildcard_an_address_or_a_network() -> None:
    patterns = map(parse_host_pattern, ("*", "*.Example.ORG.", "B.", "10.0.0.0/8", "::ffff:192.0.2.7"))
    assert list(patterns) == ["*", "*.example.org", "b", ip_network("10.0.0.0/8"), ip_network("192.0.2.7/32")]


@pytest.mark.parametrize(("text", "message"), INVALID_PATTERNS.values(), ids=INVALID_PATTERNS)
def test_an_invalid_pattern_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_host_pattern(text)


UNBOUNDED = {"*": True, "0.0.0.0/0": True, "::/0": True, "0.0.0.0/1": False, "::/1": False, "*.org": False, "a": False}


@pytest.mark.parametrize(("text", "unbounded"), UNBOUNDED.items())
def test_a_pattern_of_all_names_or_addresses_is_unbounded(text: str, unbounded: bool) -> None:
    assert is_unbounded(parse_host_pattern(text)) is unbounded


# The option forward


def config_with(tmp_path: Path, *rules: str) -> str:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: empty}\npolicy:\n" + "".join(f"  - {rule}\n" for rule in rules))
    return str(path)


def test_a_chroot_needs_the_files_of_the_resolver(tmp_path: Path) -> None:
    chroot = tmp_path / "chroot"
    (chroot / "etc").mkdir(parents=True)
    path = config_with(tmp_path, "{from: local, forward: 10.0.0.0/8}", "{from: any, forward: [10.0.0.1, b]}")
    options = {"process.chroot": ("--chroot", str(chroot))}
    with pytest.raises(ConfigError) as caught:
        read_config(path, options)
    place = f"{path}:4:5: policy[1].forward"
    assert caught.value.problems == (
        f"{place}: host names cannot be resolved in {chroot}: it needs etc/resolv.conf or etc/hosts",
    )
    (chroot / "etc" / "hosts").touch()
    assert read_config(path, options)[0].process.chroot == str(chroot)
