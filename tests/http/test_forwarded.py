"""Whom X-Forwarded-For names, read from the right."""

import pytest

from fingerd.http.forwarded import Proxies
from fingerd.http.request import HttpError
from fingerd.net.addresses import UNIX, parse_network

HERE, FAR = "127.0.0.1", "10.0.0.9"
PROXIES = ("127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48", "unix")

NAMED = {
    "192.0.2.7": "192.0.2.7",
    "192.0.2.7:4711": "192.0.2.7",
    " 192.0.2.7 ": "192.0.2.7",
    "192.0.2.7,10.0.0.1": "192.0.2.7",
    "192.0.2.7, 10.0.0.1, 10.0.0.2": "192.0.2.7",
    "127.0.0.1, 203.0.113.9, 192.0.2.7, 10.0.0.1": "192.0.2.7",
    "unknown, 192.0.2.7, 2001:db8:1::5": "192.0.2.7",
    "<script>, 192.0.2.7": "192.0.2.7",
    "192.0.2.7, ::ffff:10.0.0.1": "192.0.2.7",
    "::ffff:192.0.2.7": "192.0.2.7",
    "[::ffff:192.0.2.7]:80": "192.0.2.7",
    "2001:DB8:0:0::7": "2001:db8::7",
    "[2001:db8::7]": "2001:db8::7",
    "[2001:db8::7]:4711": "2001:db8::7",
    "2001:db8::7%eth0": "2001:db8::7",
    "64:ff9b::192.0.2.7": "64:ff9b::c000:207",
}
NOBODY = (
    "",
    " ",
    ",",
    "192.0.2.7,",
    "192.0.2.7, ,10.0.0.1",
    "unknown",
    "192.0.2.7, unknown",
    "_hidden",
    "unix:",
    "unix",
    "192.0.2.7, unix:",
    "localhost",
    "example.org",
    '"192.0.2.7"',
    '"[2001:db8::7]:4711"',
    "for=192.0.2.7",
    "192.0.2.7 192.0.2.8",
    "192.0.2.7;192.0.2.8",
    "192.0.2.256",
    "192.0.2.07",
    "192.0.2",
    "3221225991",
    "0xc0000207",
    "192.0.2.7/32",
    "192.0.2.7:",
    "192.0.2.7:x",
    "192.0.2.7:123456",
    "2001:db8::7:",
    "[2001:db8::7",
    "2001:db8::7]",
    "[192.0.2.7",
    "\u0661\u0669\u0662.0.2.7",
    "192.0.2.7\x01",
    "10.0.0.1",
    "10.0.0.1, 10.0.0.2, 2001:db8:1::1",
    "127.0.0.1",
    "127.0.0.1, 10.0.0.1",
)


def proxies(*names: str) -> Proxies:
    """Those of PROXIES, or these."""
    return Proxies("unix" if name == UNIX else parse_network(name) for name in names or PROXIES)


def client_of(field: str, proxy: str) -> str:
    """The client; HttpError if the proxy is answered with 400."""
    return proxies().client_of((field,), proxy)


@pytest.mark.parametrize("proxy", [HERE, FAR, "unix"])
@pytest.mark.parametrize(("field", "client"), NAMED.items())
def test_the_first_address_from_the_right_that_is_no_proxy(field: str, client: str, proxy: str) -> None:
    assert client_of(field, proxy) == client


@pytest.mark.parametrize("proxy", [HERE, FAR, "unix"])
@pytest.mark.parametrize("field", NOBODY)
def test_a_field_that_names_nobody(field: str, proxy: str) -> None:
    with pytest.raises(HttpError) as caught:
        client_of(field, proxy)
    assert (caught.value.status, caught.value.outcome) == (400, "proxy-error")


def test_several_fields_are_one_list_in_their_order() -> None:
    assert proxies().client_of(("203.0.113.9, 192.0.2.1", "192.0.2.7", "10.0.0.1"), HERE) == "192.0.2.7"
    with pytest.raises(HttpError):
        proxies().client_of((), HERE)


@pytest.mark.parametrize("loopback", ["127.0.0.2", "::1", "::ffff:127.9.9.9", "[::1]:80"])
def test_a_loopback_address_counts_from_a_proxy_of_this_host_alone(loopback: str) -> None:
    for proxy in (HERE, "unix"):
        assert client_of(loopback, proxy)
    assert client_of(f"{loopback}, 127.0.0.1", "unix")
    for field, proxy in (
        (loopback, FAR),
        (f"{loopback}, 10.0.0.1", HERE),
        (f"{loopback}, 127.0.0.1, 10.0.0.1", "unix"),
        (f"{loopback}, 127.0.0.1", FAR),
    ):
        with pytest.raises(HttpError):
            client_of(field, proxy)


def test_who_is_a_proxy() -> None:
    found = proxies()
    for client in ("127.0.0.1", "10.255.0.1", "2001:db8:1::", "unix", "64:ff9b::10.0.0.1"):
        assert client in found
    for client in ("127.0.0.2", "192.0.2.7", "2001:db8:2::"):
        assert client not in found
    assert "unix" not in proxies("127.0.0.1")
