"""The active configuration: which rule holds for a client, and when its backend is closed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fingerd.backends import Backend, Lookup
from fingerd.net.addresses import parse_network
from fingerd.people import Person
from fingerd.ruip.policy import DENY_ALL, Rule
from fingerd.ruip.ruip import ReplyOptions
from fingerd.server.active_config import NO_NUMBER, RULES_MAX, ActiveConfig, NumberedRule
from fingerd.server.limits import Limits
from fingerd.server.listeners import TcpAddress

NEAR, FAR = Rule(from_=(parse_network("192.0.2.0/24"),)), Rule(from_=(parse_network("198.51.100.0/24"),))


class Closable(Backend):
    """Counts how often it is closed."""

    closed = 0

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """No one."""
        return ()

    def close(self) -> None:
        """Count."""
        self.closed += 1


@dataclass
class Config:
    """Settings made by hand."""

    backend: Backend = field(default_factory=Closable)
    policy: tuple[Rule, ...] = (NEAR, FAR)
    listen: tuple[TcpAddress, ...] = ()
    limits: Limits = field(default_factory=Limits)
    reply: ReplyOptions = field(default_factory=ReplyOptions)


def test_a_rule_is_found_with_its_number_and_kept_at_hand() -> None:
    active = ActiveConfig(Config())
    assert active.find_rule("192.0.2.7") == NumberedRule(0, NEAR)
    assert active.find_rule("198.51.100.7") == NumberedRule(1, FAR)
    assert active.find_rule("203.0.113.7") == NumberedRule(NO_NUMBER, DENY_ALL)
    assert list(active.rules) == ["192.0.2.7", "198.51.100.7", "203.0.113.7"]


def test_the_rules_at_hand_are_bounded() -> None:
    active = ActiveConfig(Config())
    for number in range(RULES_MAX + 10):
        active.find_rule(f"192.0.{number >> 8}.{number & 255}")
    assert len(active.rules) == RULES_MAX
    assert "192.0.0.0" not in active.rules


def test_a_retired_backend_is_closed_once_its_last_query_is_done() -> None:
    backend = Closable()
    active = ActiveConfig(Config(backend))
    active.acquire()
    active.retire(ActiveConfig(Config()))
    assert backend.closed == 0
    active.release()
    active.close()
    assert backend.closed == 1


def test_a_backend_that_goes_on_under_a_replacement_stays_open() -> None:
    backend = Closable()
    active = ActiveConfig(Config(backend))
    active.retire(ActiveConfig(Config(backend)))
    assert backend.closed == 0
