"""Who may learn what: the rules, and what addresses mean to them, to the counters and to the log."""

import pytest

from fingerd.addresses import counted_as, is_from, parse_address, parse_source, shortened
from fingerd.policy import ANYONE, NO_RULE, Policy, Rule, read_source
from fingerd.scalars import Scalar

HOME = Rule(from_=(parse_source("192.0.2.0/24"), parse_source("2001:db8::/32")), list=True)
NEIGHBOUR = Rule(from_=(parse_source("192.0.2.7"),), deny="silently")
HERE = Rule(from_=("local",), list=True)
STRANGERS = Rule(from_=("any",), deny=True)

FROM = {
    "any holds IPv4": ("192.0.2.7", "any", True),
    "any holds IPv6": ("2001:db8::7", "any", True),
    "any holds unix": ("unix", "any", True),
    "local holds unix": ("unix", "local", True),
    "local holds loopback": ("127.0.0.1", "local", True),
    "local holds all of loopback": ("127.8.9.10", "local", True),
    "local holds IPv6 loopback": ("::1", "local", True),
    "local holds mapped loopback": ("::ffff:127.0.0.1", "local", True),
    "local holds nobody else": ("192.0.2.7", "local", False),
    "local holds no private network": ("10.0.0.1", "local", False),
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

NO_SOURCE = {
    "a word": ("localnet", "'localnet' is no address, no network, not any and not local"),
    "another case": ("Any", "'Any' is no address, no network, not any and not local"),
    "nothing": ("", "'' is no address, no network, not any and not local"),
    "a name": ("example.org", "'example.org' is no address, no network, not any and not local"),
    "no address": ("300.0.0.1", "'300.0.0.1' is no address, no network, not any and not local"),
    "a leading zero": ("010.0.0.1", "'010.0.0.1' is no address, no network, not any and not local"),
    "too many bits": ("192.0.2.0/33", "'192.0.2.0/33' is no address, no network, not any and not local"),
    "an address inside": (
        "192.0.2.7/24",
        "192.0.2.7/24 is an address inside of a network (did you mean 192.0.2.0/24?)",
    ),
    "an IPv6 address inside": (
        "2001:db8::1/32",
        "2001:db8::1/32 is an address inside of a network (did you mean 2001:db8::/32?)",
    ),
}

COUNTED = {
    "IPv4": ("192.0.2.7", "192.0.2.7"),
    "mapped": ("::ffff:192.0.2.7", "192.0.2.7"),
    "IPv6": ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    "zone": ("fe80::7%eth0", "fe80::/64"),
    "unix": ("unix", "unix"),
}

SHORTENED = {
    "IPv4": ("192.0.2.7", "192.0.2.0/24"),
    "mapped": ("::ffff:192.0.2.7", "192.0.2.0/24"),
    "IPv6": ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
    "unix": ("unix", "unix"),
}


@pytest.mark.parametrize(("client", "source", "held"), FROM.values(), ids=FROM.keys())
def test_a_source_holds_the_clients_that_it_means(client: str, source: str, held: bool) -> None:
    assert is_from(client, parse_source(source)) is held


@pytest.mark.parametrize(("text", "complaint"), NO_SOURCE.values(), ids=NO_SOURCE.keys())
def test_what_is_no_source_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="is") as caught:
        parse_source(text)
    assert str(caught.value) == complaint


def test_a_source_that_yaml_reads_otherwise_must_be_quoted() -> None:
    with pytest.raises(ValueError, match="quote it"):
        read_source(Scalar("22:30", "a number", False, 1350))
    assert read_source(Scalar("any", "text", False, None)) == "any"


@pytest.mark.parametrize(("client", "name"), COUNTED.values(), ids=COUNTED.keys())
def test_clients_of_one_network_are_counted_as_one(client: str, name: str) -> None:
    assert counted_as(client) == name


@pytest.mark.parametrize(("client", "network"), SHORTENED.values(), ids=SHORTENED.keys())
def test_a_shortened_client_is_its_network(client: str, network: str) -> None:
    assert shortened(client) == network


def test_an_address_has_one_spelling() -> None:
    assert str(parse_address("2001:0DB8:0:0::1%eth0")) == "2001:db8::1"
    assert str(parse_address("::ffff:192.0.2.7")) == "192.0.2.7"
    with pytest.raises(ValueError, match="example"):
        parse_address("example.org")


def test_the_first_rule_that_holds_a_client_decides() -> None:
    assert Policy((NEIGHBOUR, HOME, STRANGERS)).rule_for("192.0.2.7") is NEIGHBOUR
    assert Policy((HOME, NEIGHBOUR, STRANGERS)).rule_for("192.0.2.7") is HOME
    assert Policy((STRANGERS, NEIGHBOUR, HOME)).rule_for("192.0.2.7") is STRANGERS


@pytest.mark.parametrize(
    ("client", "rule"),
    [
        ("192.0.2.9", HOME),
        ("::ffff:192.0.2.9", HOME),
        ("2001:db8::1", HOME),
        ("unix", HERE),
        ("::1", HERE),
        ("198.51.100.1", STRANGERS),
    ],
)
def test_any_source_of_a_rule_may_hold_the_client(client: str, rule: Rule) -> None:
    policy = Policy((HOME, HERE, STRANGERS))
    assert policy.rule_for(client) is rule
    assert policy.rule_for(client) is rule  # the second time from memory


def test_a_client_whom_no_rule_holds_is_denied_everything() -> None:
    assert Policy((HOME,)).rule_for("198.51.100.1") is NO_RULE
    assert Policy(()).rule_for("unix") is NO_RULE
    assert NO_RULE.deny is True


def test_anyone_may_ask_for_users_but_not_for_the_list_unless_told_otherwise() -> None:
    rule = Policy((ANYONE,)).rule_for("198.51.100.1")
    assert (rule.deny, rule.list, rule.forward) == (False, False, False)
