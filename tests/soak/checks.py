"""The checks after the load, each with the details that were observed."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.soak.client import Tally
from tests.soak.client_kinds import CLOSED, EXACT, KINDS
from tests.soak.configurations import RATE
from tests.soak.load import planned_clients
from tests.soak.logfiles import FAILED, FULL
from tests.soak.monitor import Monitor
from tests.soak.phases import NETWORK, IdleState
from tests.soak.queries import POOL
from tests.soak.reloading import Reloading

MEMORY_GROWTH = 0.05
SETTLE_SECONDS = 60.0  # after which memory must not grow; a third of a shorter run
PERIOD = 45.0  # seconds over which memory is measured: every kind of client comes three times, the bursts included
MAX_SLOW_TURNS, MAX_TURN_MS = 3, 50  # another process has the processor now and then; a daemon that is slow, always
MIN_LOAD = 0.5  # of the planned good queries; with less the machine was too busy for a result
MAX_RELOAD_SECONDS = 3.0
OUTCOMES = frozenset(
    {"answered", "unknown", "refused", "malformed", "too-long", "limited"}
    | {"busy", "error", "denied", "dropped", "timeout", "hung-up"}
)


class Check(NamedTuple):
    """One row of the table."""

    name: str
    detail: str
    ok: bool


class Run(NamedTuple):
    """All observations of one daemon."""

    seconds: float
    tally: Tally
    load_exit: int | None
    monitor: Monitor
    reloading: Reloading
    before: IdleState
    after: IdleState
    shutdown: tuple[str, bool]


def checks(run: Run) -> Iterator[Check]:
    """All checks of one daemon. Its log must have been read to the end."""
    yield from _of_clients(run)
    yield from _of_kinds(run)
    yield from _of_log(run)
    yield from _of_process(run)


def _of_clients(run: Run) -> Iterator[Check]:
    name, tally = run.monitor.daemon.name, run.tally
    right, minimum = tally.right["good"], MIN_LOAD * planned_clients("good", name, run.seconds)
    yield Check("the load ended", f"exit code {run.load_exit}", run.load_exit == 0)
    yield Check("the load was high enough", f"{right:,} good queries, at least {minimum:,.0f}", right >= minimum)
    wrong = "".join(f" {kind} {count}" for kind, count in tally.wrong.items())
    detail = (
        f"{tally.right.total():,} right, {tally.wrong.total()} wrong{wrong}, the slowest good one {tally.longest:.2f} s"
    )
    yield Check("every client was treated as expected", detail, not tally.wrong)


def _of_kinds(run: Run) -> Iterator[Check]:
    """The right log line for each connection."""
    log, tally = run.monitor.daemon.log, run.tally
    expected = 0
    for kind in KINDS:
        connections = tally.connections[kind.name]
        expected += connections
        if not connections and run.monitor.daemon.name not in kind.rate:
            continue
        outcomes = log.outcomes.get(f"127.{kind.network}", Counter())
        counts = ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common())
        lines = f"{connections:,} connections, {outcomes.total():,} lines: {counts}"
        are_exact = outcomes == tally.outcomes.get(kind.name, Counter())
        right = are_exact if kind.outcomes == EXACT else outcomes.keys() <= kind.outcomes
        if kind.outcomes == CLOSED:
            right = right and tally.early[kind.name] <= outcomes["dropped"]
        yield Check(
            f"log of {kind.name} clients", lines, bool(connections) and outcomes.total() == connections and right
        )
    own = run.monitor.daemon.connections
    detail = f"{expected + own:,} connections, {log.lines:,} lines in {log.rotated + 1} files"
    own_lines = log.outcomes.get(f"127.{NETWORK}", Counter()).total()
    yield Check("log of all clients", detail, expected + own == log.lines and own_lines == own)


def _of_log(run: Run) -> Iterator[Check]:
    daemon, tally = run.monitor.daemon, run.tally
    log, outcomes = daemon.log, daemon.log.all_outcomes()
    exact = [kind for kind in KINDS if kind.outcomes == EXACT]
    received = sum(tally.received[kind.name] for kind in exact)
    logged = sum(log.bytes[f"127.{kind.network}"] for kind in exact)
    yield Check("bytes in the log", f"{received:,} received, {logged:,} logged", received == logged)
    missing = ", ".join(sorted(_possible(daemon.name) - outcomes.keys()))
    yield Check("every outcome occurred", f"missing: {missing or 'none'}", not missing)
    yield Check("the connection limit was reached", f"logged {log.messages[FULL]} times", log.messages[FULL] > 0)
    failures, errors = log.messages[FAILED], outcomes["error"]
    late = failures - errors  # their clients had already got "busy"
    yield Check("a line for each failure", f"{failures} for {errors}", 0 <= late <= outcomes["busy"])
    first = log.unexpected[0] if log.unexpected else "none"
    yield Check("no traceback or other unexpected line", f"{len(log.unexpected)}: {first}", not log.unexpected)
    detail = f"{len(log.slow_turns)}, the longest {max(log.slow_turns, default=0)} ms"
    are_few = len(log.slow_turns) <= MAX_SLOW_TURNS and max(log.slow_turns, default=0) < MAX_TURN_MS
    yield Check("slow turns of the event loop", detail, are_few)
    yield Check("slow turns without load", f"{log.slow_when_idle}", True)
    stderr = daemon.stderr()
    yield Check("nothing on standard error", stderr[-200:] or "nothing", not stderr)


def _possible(name: str) -> frozenset[str]:
    """The outcomes that the load provokes."""
    return OUTCOMES if name == POOL else OUTCOMES - {"busy", "error"}


def _of_process(run: Run) -> Iterator[Check]:
    monitor, reloading, before, after = run.monitor, run.reloading, run.before.sample, run.after.sample
    detail = f"{reloading.done} reloads, {reloading.refused} refused, the slowest {monitor.daemon.slowest_reload:.2f} s"
    reloads_ok = not reloading.failure and monitor.daemon.slowest_reload <= MAX_RELOAD_SECONDS
    all_kinds = reloading.done > 0 < reloading.refused
    yield Check("reloads", f"{detail} {reloading.failure}".strip(), reloads_ok and all_kinds)
    maximum = max(sample.descriptors for sample in monitor.samples)
    detail = f"{before.descriptors} before, at most {maximum}, {after.descriptors} after"
    more = ", ".join(run.after.files - run.before.files)
    yield Check("descriptors", f"{detail}{more and ': more of '}{more}", before.descriptors == after.descriptors)
    maximum = max(sample.threads for sample in monitor.samples)
    detail = f"{before.threads} before, at most {maximum}, {after.threads} after"
    yield Check("threads", detail, before.threads == after.threads == maximum)
    first, period = min(SETTLE_SECONDS, run.seconds / 3), min(PERIOD, run.seconds / 4)
    then, now = monitor.memory(first, period), monitor.memory(run.seconds - period, period)
    detail = (
        f"{then / 1000:.1f} MB at most after {first:.0f} s, {now / 1000:.1f} MB at the end: {(now / then - 1):+.1%}"
    )
    yield Check("memory", detail, now <= then * (1 + MEMORY_GROWTH))
    yield Check("CPU", f"{monitor.cpu_share(len(monitor.samples)):.0f} % of a core", True)
    if run.tally.connections["greedy"]:
        yield _of_rate(run)
    yield Check("SIGTERM", *run.shutdown)


def _of_rate(run: Run) -> Check:
    """The token bucket holds the queries of one minute, and is refilled with as many a minute."""
    outcomes = run.tally.outcomes.get("greedy", Counter())
    maximum = RATE + RATE * run.seconds / 60
    detail = f"{outcomes['answered']} answered, {maximum:.0f} allowed, {outcomes['limited']} limited"
    return Check("rate", detail, maximum - 10 <= outcomes["answered"] <= maximum + 1)
