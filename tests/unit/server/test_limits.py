"""Counting clients: their connections, and how often they ask."""

from pathlib import Path

import pytest

from fingerd.errors import ConfigError
from fingerd.server.limits import BUCKETS_MAX, ClientCounter, Limits, Peer, identify, identify_user
from fingerd.settings import load_config


def test_a_client_gets_as_many_connections_as_it_may_have() -> None:
    clients = ClientCounter()
    assert [clients.connect("192.0.2.7", "", 2) for _ in range(4)] == [True, True, False, False]


def test_a_client_that_disconnects_may_connect_again() -> None:
    clients = ClientCounter()
    clients.connect("192.0.2.7", "", 1)
    clients.disconnect("192.0.2.7", "")
    assert clients.connect("192.0.2.7", "", 1)


def test_a_connection_that_was_refused_is_not_counted() -> None:
    clients = ClientCounter()
    assert [clients.connect("192.0.2.7", "", 2) for _ in range(3)] == [True, True, False]
    clients.disconnect("192.0.2.7", "")
    assert clients.connect("192.0.2.7", "", 2)
    assert not clients.connect("192.0.2.7", "", 2)


def test_clients_do_not_count_for_each_other() -> None:
    clients = ClientCounter()
    assert clients.connect("192.0.2.7", "", 1)
    assert clients.connect("192.0.2.8", "", 1)
    assert not clients.connect("192.0.2.7", "", 1)


def test_a_lower_limit_holds_for_the_next_connection() -> None:
    clients = ClientCounter()
    assert clients.connect("192.0.2.7", "", 3)
    assert clients.connect("192.0.2.7", "", 3)
    assert not clients.connect("192.0.2.7", "", 1)


def test_a_site_gets_four_times_as_many_connections_as_one_of_its_clients() -> None:
    clients = ClientCounter()
    networks = [f"2001:db8:1:{number:x}::/64" for number in range(8)]
    site = "2001:db8:1::/48"
    assert sum(clients.connect(network, site, 3) for network in networks for _ in range(3)) == 4 * 3
    assert not clients.connect(networks[-1], site, 3)
    assert clients.connect("2001:db8:2::/64", "2001:db8:2::/48", 3)  # another site's
    clients.disconnect(networks[0], site)
    assert clients.connect(networks[-1], site, 3)
    assert not clients.connect(networks[0], site, 3)


def test_a_connection_that_its_site_may_not_have_does_not_count_for_its_client() -> None:
    clients = ClientCounter()
    site = "2001:db8:1::/48"
    for number in range(4):
        assert clients.connect(f"2001:db8:1:{number:x}::/64", site, 1)
    refused = "2001:db8:1:ffff::/64"
    assert not any(clients.connect(refused, site, 1) for _ in range(3))
    clients.disconnect("2001:db8:1:0::/64", site)
    assert clients.connect(refused, site, 1)


def test_nothing_is_left_of_clients_that_are_gone() -> None:
    clients = ClientCounter()
    for _ in range(2):
        clients.connect("2001:db8:1:2::/64", "2001:db8:1::/48", 5)
    for _ in range(2):
        clients.disconnect("2001:db8:1:2::/64", "2001:db8:1::/48")
    assert not clients._connected


def test_a_client_that_is_not_counted_cannot_disconnect() -> None:
    clients = ClientCounter()
    clients.connect("192.0.2.7", "", 1)
    clients.disconnect("192.0.2.7", "")
    with pytest.raises(KeyError):
        clients.disconnect("192.0.2.7", "")


def test_no_rate_is_no_limit() -> None:
    clients = ClientCounter()
    assert all(clients.take_token("192.0.2.7", 0, 0.0) for _ in range(1000))


def test_a_bucket_holds_the_queries_of_one_minute() -> None:
    clients = ClientCounter()
    assert [clients.take_token("192.0.2.7", 3, 100.0) for _ in range(5)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("seconds", "queries"),
    [(0.0, 0), (0.9, 0), (1.0, 1), (5.5, 5), (60.0, 60), (86_400.0, 60)],
    ids=["at once", "too soon", "one", "five", "a minute", "a day is no more than a minute"],
)
def test_an_empty_bucket_fills_again_by_the_minute(seconds: float, queries: int) -> None:
    clients = ClientCounter()
    assert all(clients.take_token("192.0.2.7", 60, 100.0) for _ in range(60))
    later = 100.0 + seconds
    assert sum(clients.take_token("192.0.2.7", 60, later) for _ in range(100)) == queries


def test_refused_queries_do_not_keep_a_bucket_from_filling() -> None:
    clients = ClientCounter()
    allowed = [clients.take_token("192.0.2.7", 1, second) for second in range(0, 121, 15)]
    assert allowed == [True, *[False] * 3, True, *[False] * 3, True]


def test_buckets_are_apart() -> None:
    clients = ClientCounter()
    assert clients.take_token("192.0.2.7", 1, 0.0)
    assert not clients.take_token("192.0.2.7", 1, 0.0)
    assert clients.take_token("192.0.2.8", 1, 0.0)


def test_a_lower_rate_holds_at_once() -> None:
    clients = ClientCounter()
    assert clients.take_token("192.0.2.7", 100, 0.0)
    assert [clients.take_token("192.0.2.7", 2, 0.0) for _ in range(3)] == [True, True, False]


def test_the_least_recent_client_is_forgotten_first() -> None:
    clients = ClientCounter()
    assert clients.take_token("first", 1, 0.0)
    assert clients.take_token("second", 1, 0.0)
    for number in range(BUCKETS_MAX - 2):
        assert clients.take_token(f"client {number}", 1, 0.0)
    assert not clients.take_token("first", 1, 0.0)  # asked again, so now the second is the oldest
    assert clients.take_token("one more", 1, 0.0)
    assert not clients.take_token("first", 1, 0.0)
    assert clients.take_token("second", 1, 0.0)  # forgotten, and so like new


def test_the_limits_are_generous_but_finite() -> None:
    limits = Limits()
    assert (limits.per_client, limits.connections, limits.rate) == (50, 10_000, 0)


@pytest.mark.parametrize("host", ["192.0.2.7", "::ffff:192.0.2.7", "::FFFF:c000:207"])
def test_a_peer_has_one_spelling(host: str) -> None:
    assert identify(host) == Peer("192.0.2.7", "192.0.2.7")


def test_a_peer_is_counted_by_its_limit_key() -> None:
    assert identify("2001:DB8:1:2::7") == Peer("2001:db8:1:2::7", "2001:db8:1:2::/64", "2001:db8:1::/48")
    assert identify_user(1000) == Peer("unix", "uid 1000")


def test_the_default_limits() -> None:
    assert Limits() == Limits(1024, 262_144, 10, 30, 20, 10_000, 50, 0, 64 << 20, 32, 10)


# Of each option: values that are too low, the lowest and the highest, and too high.
BOUNDS = {
    "query_bytes": (["0"], "1", "1048576", ["1048577"]),
    "reply_bytes": (["63"], "64", "64", []),
    "read_seconds": (["0", "0.09"], "0.1", "0.1", []),
    "write_seconds": (["0", "0.09"], "0.1", "0.1", []),
    "answer_seconds": (["0", "0.09"], "0.1", "0.1", []),
    "connections": (["0"], "1", "1", []),
    "per_client": (["0"], "1", "1", []),
    "rate": (["-1"], "0", "0", []),
    "unsent_bytes": (["0", "4095"], "4096", "1073741824", []),
    "threads": (["0"], "1", "10000", ["10001"]),
    "drain_seconds": (["-0.1"], "0", "0", []),
}


@pytest.mark.parametrize(("option", "bounds"), BOUNDS.items(), ids=BOUNDS)
def test_a_limit_outside_of_its_bounds_is_refused(
    option: str, bounds: tuple[list[str], str, str, list[str]], tmp_path: Path
) -> None:
    path = tmp_path / "fingerd.yaml"
    too_low, lowest, highest, too_high = bounds
    for value in (lowest, highest):
        path.write_text(f"backend: {{type: empty}}\nlimits: {{{option}: {value}}}\n")
        assert getattr(load_config(str(path)).limits, option) == float(value)
    for value in (*too_low, *too_high):
        path.write_text(f"backend: {{type: empty}}\nlimits: {{{option}: {value}}}\n")
        with pytest.raises(ConfigError, match=f"limits.{option}: must be"):
            load_config(str(path))
