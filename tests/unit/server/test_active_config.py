"""The active configuration: a reload replaces it, and its backend is closed when its last query is answered."""

import socket
from typing import Any

import pytest

from fingerd import FingerServer
from fingerd.net.addresses import parse_network
from fingerd.ruip.policy import DENY_ALL, NO_NUMBER, NumberedRule, Rule
from fingerd.server.active_config import RULES_MAX, ActiveConfig
from tests.helpers.daemons import TIMEOUT, ask, hear, running, wait_until
from tests.unit.server.support import Config, Gate


class Closable(Gate):
    """Notes how often it was closed; may fail at that."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.closed = 0
        self.fails = fails

    def close(self) -> None:
        """Count, and fail."""
        self.closed += 1
        if self.fails:
            raise OSError("connection lost while closing")


def test_a_backend_is_closed_once_when_its_last_query_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Closable(fails=True), Closable()
    with running(FingerServer(Config(first))) as server:
        address = server.socket.getsockname()
        with socket.create_connection(address, TIMEOUT) as client:
            client.sendall(b"slow\r\n")
            wait_until(lambda: first.waiting == 1)
            server.reload(Config(second))
            assert first.closed == 0
            server.reload(Config(second, query_bytes=100))  # the same backend with another limit
            assert second.closed == 0
            first.open.set()
            assert hear(client) == b"at last\r\n"
        wait_until(lambda: first.closed == 1)
        assert ask(address, b"quick\r\n") == b"at last\r\n"
        server.close_backends()
        assert (first.closed, second.closed) == (1, 1)
    wait_until(lambda: "connection lost while closing" in caplog.text)


def test_a_server_that_does_not_serve_yet_may_be_reloaded(settings: Any) -> None:
    server = FingerServer(Config(Closable()))
    server.reload(settings)
    with running(server):
        assert ask(server.socket.getsockname(), b"alice\r\n") == b"Happy and well\r\n"


NEAR, FAR = Rule(from_=(parse_network("192.0.2.0/24"),)), Rule(from_=(parse_network("198.51.100.0/24"),))


def with_rules(*rules: Rule) -> ActiveConfig:
    """A configuration with these rules."""
    config = Config(Gate())
    config.policy = rules
    return ActiveConfig(config)


def test_a_rule_is_found_with_its_number_and_kept_at_hand() -> None:
    active = with_rules(NEAR, FAR)
    assert active.find_rule("192.0.2.7") == NumberedRule(0, NEAR)
    assert active.find_rule("198.51.100.7") == NumberedRule(1, FAR)
    assert active.find_rule("203.0.113.7") == NumberedRule(NO_NUMBER, DENY_ALL)
    found = active.find_rule("192.0.2.7")
    assert active.find_rule("192.0.2.7") is found
    assert (active.find_rule.cache_info().currsize, active.find_rule.cache_info().misses) == (3, 3)


def test_the_rules_at_hand_are_bounded() -> None:
    active = with_rules(NEAR)
    for number in range(RULES_MAX + 10):
        assert active.find_rule(f"192.0.{number >> 8}.{number & 255}")
    assert active.find_rule.cache_info().currsize == RULES_MAX
    misses = active.find_rule.cache_info().misses
    assert active.find_rule("192.0.0.0")
    assert active.find_rule.cache_info().misses == misses + 1
