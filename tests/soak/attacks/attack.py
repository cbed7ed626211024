"""What an attack is: a configuration, an attacker, and the bounds that must hold during it."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from tests.soak.attacks.crowd import Crowd

MAX_GROWTH = 100.0  # MB of VmRSS during an attack
MAX_LATENCY = 0.050  # seconds that 99 of 100 good queries may take
WATCHDOG_SECONDS = 4.0  # as systemd's WatchdogSec=: it would end a daemon that says nothing for so long
SETTLE_SECONDS = 5.0  # after ``write_seconds``, until which the daemon's sockets must be gone


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the table. ``attacker`` ends when the attack does; its sockets stay open until the row is judged."""

    name: str
    configuration: Callable[[Path], dict[str, object]]
    attacker: Callable[[Crowd], Coroutine[None, None, None]]
    connections: int  # that the attacker plans
    growth: float = MAX_GROWTH
    pause: float = 0.0  # seconds between connect and query of every second good client
    has_good_client: bool = True  # beside the attacker; else the attacker's clients are the good ones
    by_http: bool = False  # whether the good client asks by HTTP, too
    uid: int | None = None  # of the attacker
    stuck_log: bool = False  # whether nobody reads the daemon's standard error
