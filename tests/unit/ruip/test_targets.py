"""Hosts that queries name, and that rules allow: what is one, what is meant by it, and which addresses may be asked."""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.errors import ConfigError
from fingerd.net.addresses import parse_host
from fingerd.ruip.targets import has_loop, is_allowed, may_connect, parse_host_pattern
from fingerd.settings import load_config, read_config

# What names a host

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
    "IPv4": ("192.0.2.1", "192.0.2.1"),
    "IPv4 in brackets": ("[192.0.2.1]", "192.0.2.1"),
    "IPv6": ("2001:DB8:0::1", "2001:db8::1"),
    "IPv6 in brackets": ("[2001:db8::1]", "2001:db8::1"),
    "IPv4 within IPv6": ("::ffff:192.0.2.1", "192.0.2.1"),
}

NO_HOSTS = {
    "a port": "example.org:79",
    "a port after an address": "192.0.2.1:79",
    "a port after brackets": "[2001:db8::1]:79",
    "a zone": "fe80::1%eth0",
    "a zone in brackets": "[fe80::1%eth0]",
    "half a bracket": "[2001:db8::1",
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
    "a control character that is none": "exa\u2028mple.org",
    "a shell": "$(id)",
    "a number": "2130706433",
    "a hexadecimal number": "0x7f000001",
    "few parts of an address": "127.1",
    "octal parts": "0177.0.0.1",
    "hexadecimal parts": "0x7f.1",
    "an address, and more": "1.2.3.4.5",
    "full-width digits": "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
    "a long label": "a" * 64 + ".org",
    "a long name": "a." * 127 + "a",
    "a very long name": "ü" * 10_000,
    "a label that is none in IDNA": "\u00ad.org",
    "an empty one": "",
}


@pytest.mark.parametrize(("text", "name"), HOSTS.values(), ids=HOSTS)
def test_a_host_is_a_name_or_an_address(text: str, name: str) -> None:
    assert str(parse_host(text)) == name
    assert parse_host(name) == parse_host(text)


@pytest.mark.parametrize("text", NO_HOSTS.values(), ids=NO_HOSTS)
def test_anything_else_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        parse_host(text)


@given(st.text())
def test_any_text_is_a_clean_host_or_none(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert re.fullmatch("[0-9a-z_.-]{1,253}|[0-9a-f:.]+", str(host))


ROUTES = {
    "one host": (("a",), False),
    "three": (("a", "b", "c"), False),
    "the same again": (("a", "a"), True),
    "back again": (("a", "b", "a"), True),
    "however it is written": (("Example.org.", "b", "example.ORG"), True),
    "an address, however it is written": (("2001:db8::1", "[2001:DB8:0::1]"), True),
    "something that only others may know": (("a:1", "b", "A:1"), True),
}


@pytest.mark.parametrize(("hosts", "round_"), ROUTES.values(), ids=ROUTES)
def test_a_route_goes_round_when_a_host_is_in_it_twice(hosts: Sequence[str], round_: bool) -> None:
    assert has_loop(hosts) is round_


# Which hosts a rule means

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
    "any name is no address": ("8.8.8.8", ["*"], False),
    "any name is no IPv6 address": ("2620::1", ["*"], False),
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
def test_a_rule_means_the_hosts_that_it_names(host: str, targets: list[str], allowed: bool) -> None:
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
def test_an_address_for_everybody_may_be_asked(address: str) -> None:
    assert may_connect(ip_address(address), [])


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_for_everybody_may_be_asked_only_where_the_rule_names_it(address: str) -> None:
    broad = [
        parse_host_pattern(target) for target in ("*", "0.0.0.0/0", "::/0", "example.org", "8.0.0.0/5", "2000::/3")
    ]
    assert not may_connect(ip_address(address), broad)
    host = parse_host(address)
    assert not isinstance(host, str)
    assert may_connect(host, [*broad, parse_host_pattern(address)])


def test_a_network_names_the_private_addresses_that_it_is_made_of() -> None:
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


def test_a_network_in_which_all_of_ipv4_stands_names_no_private_address() -> None:
    broad = [parse_host_pattern(target) for target in ("64:ff9b::/96", "64:ff9b::/64", "64::/16", "2002::/16", "::/1")]
    for address in ("64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "2002:a00:1::1", "10.0.0.1"):
        assert not may_connect(ip_address(address), broad)
    assert may_connect(ip_address("64:ff9b::808:808"), broad)


# What a rule may say

NO_TARGETS = {
    "true": ("true", "4:26: policy[1].forward: must be false, or the hosts to which queries may be forwarded"),
    "nothing in a list": ("[]", "4:26: policy[1].forward: is empty: name a host, or say false"),
    "nothing": ("", "4:25: policy[1].forward: is empty: give a value or remove the option"),
    "a mapping": ("{a: b}", "4:26: policy[1].forward: must be text"),
    "false among others": (
        "[a, false]",
        "4:30: policy[1].forward[1]: must be false, or the hosts to which queries may be forwarded",
    ),
    "a port": (
        "'a:79'",
        "4:26: policy[1].forward: 'a:79' is no name of a host, no *.name, no address and no network",
    ),
    "a wildcard in the middle": (
        "'a.*.org'",
        "4:26: policy[1].forward: 'a.*.org' is no name of a host, no *.name, no address and no network",
    ),
    "an address inside of a network": (
        "10.0.0.1/8",
        "4:26: policy[1].forward: 10.0.0.1/8 has host bits set (did you mean 10.0.0.0/8?)",
    ),
    "a network that is none": (
        "10.0.0.0/33",
        "4:26: policy[1].forward: '10.0.0.0/33' is not an address or a network",
    ),
    "a number": ("1", '4:26: policy[1].forward: YAML reads 1 as a number; to mean the text, quote it: "1"'),
}


def rules(tmp_path: Path, *said: str) -> str:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: empty}\npolicy:\n" + "".join(f"  - {rule}\n" for rule in said))
    return str(path)


@pytest.mark.parametrize(("said", "problem"), NO_TARGETS.values(), ids=NO_TARGETS)
def test_what_is_no_host_is_a_problem_at_its_place(said: str, problem: str, tmp_path: Path) -> None:
    path = rules(tmp_path, "{from: local}", f"{{from: any, forward: {said}}}".replace(": }", ":}"))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [line.removeprefix(f"{path}:") for line in caught.value.problems] == [problem]


def test_forward_is_false_or_hosts(tmp_path: Path) -> None:
    said = ("{from: any, forward: false}", "{from: any, forward: b}", "{from: any, forward: ['*.B', 10.0.0.0/8]}")
    policy = load_config(rules(tmp_path, *said)).policy
    assert [rule.forward for rule in policy] == [False, ("b",), ("*.b", parse_host_pattern("10.0.0.0/8"))]


OPEN = "lets anyone have this host ask any other, and so hide who asks (RFC 1288 3.2.1)"
RELAYS = {
    "any name": ("{from: any, forward: '*'}", True),
    "any IPv4 address": ("{from: any, forward: [a, 0.0.0.0/0]}", True),
    "any IPv6 address": ("{from: any, forward: '::/0'}", True),
    "for any IPv4 client": ("{from: [local, 0.0.0.0/0], forward: '*'}", True),
    "for the people of the house": ("{from: [local, 192.0.2.0/24], forward: '*'}", False),
    "to some": ("{from: any, forward: ['*.example.org', 8.0.0.0/8]}", False),
    "to nobody": ("{from: any, forward: false}", False),
    "for who is denied": ("{from: any, forward: '*', deny: true}", False),
}


@pytest.mark.parametrize(("rule", "is_open"), RELAYS.values(), ids=RELAYS)
def test_an_open_relay_is_warned_of(rule: str, is_open: bool, tmp_path: Path) -> None:
    path = rules(tmp_path, rule)
    warnings = [w.removeprefix(f"{path}:") for w in read_config(path, {})[1]]
    assert [w for w in warnings if "says nothing" not in w] == [f"3:5: policy[0].forward: {OPEN}"] * is_open


def test_a_jail_needs_what_names_are_looked_up_with(tmp_path: Path) -> None:
    jail = tmp_path / "jail"
    (jail / "etc").mkdir(parents=True)
    path = rules(tmp_path, "{from: local, forward: 10.0.0.0/8}", "{from: any, forward: [10.0.0.1, b]}")
    options = {"process.chroot": ("--chroot", str(jail))}
    with pytest.raises(ConfigError) as caught:
        read_config(path, options)
    where = f"{path}:4:5: policy[1].forward"
    assert caught.value.problems == (
        f"{where}: host names cannot be resolved in {jail}: it needs etc/resolv.conf or etc/hosts",
    )
    (jail / "etc" / "hosts").touch()
    assert read_config(path, options)[0].process.chroot == str(jail)
