"""What has to hold when the load is over: a table of checks, each with what was seen."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.soak.book import CREW
from tests.soak.calm import NETWORK, Rest
from tests.soak.clients import EXACT, KINDS, TURNED_OUT
from tests.soak.configurations import RATE
from tests.soak.load import planned
from tests.soak.logfiles import FAILED, FULL
from tests.soak.reloading import Reloading
from tests.soak.visit import Tally
from tests.soak.watch import Watch

MEMORY_GROWTH = 0.05
FIRST_SECONDS = 60.0  # after which memory has to stay as it is; a third of a shorter run
PERIOD = 15.0  # seconds that a look at memory takes: everything comes once in these
LEAST_LOAD = 0.5  # of the good queries that are planned; with less the machine was too busy to tell anything
SLOWEST_RELOAD = 3.0
OUTCOMES = frozenset(
    {"answered", "unknown", "refused", "malformed", "too-long", "limited"}
    | {"busy", "error", "denied", "dropped", "timeout", "hung-up"}
)


class Check(NamedTuple):
    """One row of the table."""

    name: str
    seen: str
    ok: bool


class Run(NamedTuple):
    """Everything that is known of one daemon's run."""

    seconds: float
    tally: Tally
    load_exit: int | None
    watch: Watch
    reloading: Reloading
    before: Rest
    after: Rest
    end: tuple[str, bool]


def checks(run: Run) -> Iterator[Check]:
    """All checks of one daemon, whose log has been read to its end."""
    yield from _of_clients(run)
    yield from _of_kinds(run)
    yield from _of_log(run)
    yield from _of_process(run)


def _of_clients(run: Run) -> Iterator[Check]:
    name, tally = run.watch.daemon.name, run.tally
    right, least = tally.right["good"], LEAST_LOAD * planned("good", name, run.seconds)
    yield Check("the load came to its end", f"exit code {run.load_exit}", run.load_exit == 0)
    yield Check("the load was what it should be", f"{right:,} good queries, at least {least:,.0f}", right >= least)
    wrong = "".join(f" {kind} {count}" for kind, count in tally.wrong.items())
    seen = f"{tally.right.total():,} right, {tally.wrong.total()} wrong{wrong}, a good one took {tally.longest:.2f} s"
    yield Check("every client got its right answer or end", seen, not tally.wrong)


def _of_kinds(run: Run) -> Iterator[Check]:
    """A log line for each connection, and the right one."""
    log, tally = run.watch.daemon.log, run.tally
    expected = 0
    for kind in KINDS:
        made = tally.made[kind.name]
        expected += made
        if not made and run.watch.daemon.name not in kind.pace:
            continue
        outcomes = log.outcomes.get(f"127.{kind.network}", Counter())
        seen = ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common())
        lines = f"{made:,} connections, {outcomes.total():,} lines: {seen}"
        as_answered = outcomes == tally.outcomes.get(kind.name, Counter())
        right = as_answered if kind.outcomes == EXACT else outcomes.keys() <= kind.outcomes
        if kind.outcomes == TURNED_OUT:
            right = right and tally.early[kind.name] <= outcomes["dropped"]
        yield Check(f"log of the {kind.name} ones", lines, bool(made) and outcomes.total() == made and right)
    own = run.watch.daemon.connections
    seen = f"{expected + own:,} connections, {log.lines:,} lines in {log.rotated + 1} files"
    mine = log.outcomes.get(f"127.{NETWORK}", Counter()).total()
    yield Check("log of all", seen, expected + own == log.lines and mine == own)


def _of_log(run: Run) -> Iterator[Check]:
    daemon, tally = run.watch.daemon, run.tally
    log, outcomes = daemon.log, daemon.log.all_outcomes()
    exact = [kind for kind in KINDS if kind.outcomes == EXACT]
    heard = sum(tally.heard[kind.name] for kind in exact)
    logged = sum(log.bytes[f"127.{kind.network}"] for kind in exact)
    yield Check("bytes in the log", f"{heard:,} heard, {logged:,} logged", heard == logged)
    missing = ", ".join(sorted(_possible(daemon.name) - outcomes.keys()))
    yield Check("every outcome was seen", f"missing: {missing or 'none'}", not missing)
    yield Check("full, and room was made", f"told {log.messages[FULL]} times", log.messages[FULL] > 0)
    failures, told = log.messages[FAILED], outcomes["error"]
    late = failures - told  # their clients had been told "busy" already
    yield Check("a line for each failure", f"{failures} for {told}", 0 <= late <= outcomes["busy"])
    strange = log.strange[0] if log.strange else "none"
    yield Check("no traceback, bug or other strange line", f"{len(log.strange)}: {strange}", not log.strange)
    complaints = daemon.complaints()
    yield Check("nothing on standard error", complaints[-200:] or "nothing", not complaints)


def _possible(name: str) -> frozenset[str]:
    """The outcomes that the load provokes from this daemon."""
    return OUTCOMES if name == CREW else OUTCOMES - {"busy", "error"}


def _of_process(run: Run) -> Iterator[Check]:
    watch, reloading, before, after = run.watch, run.reloading, run.before.sample, run.after.sample
    seen = f"{reloading.done} reloads, {reloading.refused} refused, the slowest {watch.daemon.slowest_reload:.2f} s"
    reloads_ok = not reloading.failure and watch.daemon.slowest_reload <= SLOWEST_RELOAD
    yield Check("reloads", f"{seen} {reloading.failure}".strip(), reloads_ok and reloading.done > 0 < reloading.refused)
    most = max(sample.descriptors for sample in watch.samples)
    seen = f"{before.descriptors} before, at most {most}, {after.descriptors} after"
    more = ", ".join(run.after.files - run.before.files)
    yield Check("descriptors", f"{seen}{more and ': more of '}{more}", before.descriptors == after.descriptors)
    most = max(sample.threads for sample in watch.samples)
    seen = f"{before.threads} before, at most {most}, {after.threads} after"
    yield Check("threads", seen, before.threads == after.threads == most)
    first, period = min(FIRST_SECONDS, run.seconds / 3), min(PERIOD, run.seconds / 4)
    then, now = watch.memory(first, period), watch.memory(run.seconds - period, period)
    seen = f"{then / 1000:.1f} MB after {first:.0f} s, {now / 1000:.1f} MB at the end: {(now / then - 1):+.1%}"
    yield Check("memory", seen, now <= then * (1 + MEMORY_GROWTH))
    yield Check("processor", f"{watch.cpu_share(len(watch.samples)):.0f} % of a core", True)
    if run.tally.made["greedy"]:
        yield _of_rate(run)
    yield Check("SIGTERM", *run.end)


def _of_rate(run: Run) -> Check:
    """The bucket holds a minute's queries at first, and gets as many in a minute."""
    outcomes = run.tally.outcomes.get("greedy", Counter())
    most = RATE + RATE * run.seconds / 60
    seen = f"{outcomes['answered']} answered, {most:.0f} allowed, {outcomes['limited']} limited"
    return Check("rate", seen, most - 10 <= outcomes["answered"] <= most + 1)
