"""What was observed during an attack, and which of the bounds it breaks."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.soak.attacks.attack import MAX_LATENCY, WATCHDOG_SECONDS, Attack
from tests.soak.attacks.good_client import Tally

MIN_ATTACK = 0.9  # of the planned connections; with less the machine was too busy for a result
PROCESSES = 2  # that must be run for an answer, the daemon and the client: each may be late where the machine is busy
LATENCY = "p99"  # the bound that a busy machine breaks, too
MIN_GOOD = 40  # good queries, below which no percentile means anything

NAME_WIDTH = 17
HEADINGS = (
    f"  {'':6}  {'attack':{NAME_WIDTH}}  {'p50 ms':>8}  {'p99 ms':>8}  {'max ms':>8}  {'lost':>9}  {'RSS +MB':>8}  "
    f"{'sockets left':>12}  {'beat s':>6}  {'late ms':>7}  broken bounds"
)


class Observation(NamedTuple):
    """One attack on one daemon."""

    good: Tally
    growth: float  # MB of VmRSS
    sockets: Counter[str]  # that are left, by state
    slowest_beat: float  # seconds
    connections: int
    ends: Counter[str]  # of the attacker's connections
    errors: str  # that the daemon has logged


def percentile(seconds: Sequence[float], percent: float) -> float:
    """The time in which so many per cent of the queries were answered; infinite if there are none."""
    return sorted(seconds)[math.ceil(len(seconds) * percent / 100) - 1] if seconds else math.inf


def broken_bounds(attack: Attack, seen: Observation) -> Iterator[str]:
    """What is wrong, in a few words each; nothing if the attack failed."""
    good = seen.good
    if seen.connections < MIN_ATTACK * attack.connections:
        yield f"too weak: {seen.connections} connections of {attack.connections}"
    if len(good.seconds) + good.lost < MIN_GOOD:
        yield "too few good queries"
    if good.lost:
        yield f"lost ({good.problems[0]})"
    if attack.has_good_client and percentile(with_lost(good), 99) >= MAX_LATENCY + PROCESSES * lateness(good):
        yield LATENCY
    if seen.growth >= attack.growth:
        yield f"memory over {attack.growth:.0f} MB"
    if seen.sockets:
        yield "sockets"
    if attack.has_good_client and seen.slowest_beat >= WATCHDOG_SECONDS:
        yield "heartbeat"
    if "Traceback" in seen.errors:
        yield "traceback"


def with_lost(good: Tally) -> Sequence[float]:
    """The times of all good queries; a lost answer never came."""
    return [*good.seconds, *[math.inf] * good.lost]


def lateness(good: Tally) -> float:
    """The seconds by which the machine ran the good client late, 99 times of 100: others use its processors, too."""
    return percentile(good.late, 99) if good.late else 0.0


def row(attack: Attack, seen: Observation) -> str:
    """The row of the table."""
    good, broken = seen.good, ", ".join(broken_bounds(attack, seen))
    p50, p99, longest = (percentile(with_lost(good), percent) * 1000 for percent in (50, 99, 100))
    sockets = ", ".join(f"{count} {state}" for state, count in seen.sockets.items()) or "0"
    total = len(good.seconds) + good.lost
    return (
        f"  {'FAILED' if broken else 'ok':6}  {attack.name:{NAME_WIDTH}}  {p50:8.1f}  {p99:8.1f}  {longest:8.1f}  "
        f"{good.lost:4}/{total:4}  {seen.growth:8.1f}  {sockets:>12}  {seen.slowest_beat:6.1f}  "
        f"{lateness(good) * 1000:7.1f}  {broken}"
    )
