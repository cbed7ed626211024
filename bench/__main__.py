"""Measure all servers in turn, print the report, and write it with ``--write``; exit code 1 where answers were lost."""

import argparse
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence

from bench import accounts, backends, people
from bench.kinds import Kind, all_kinds
from bench.load import Beside, Run, forget_closed_connections, measure, measure_beside_idle, planned
from bench.peers import SOURCE, NotHereError
from bench.report import Measurement, document, merged
from bench.servers import running
from bench.targets import is_ours, lost

CLIENTS = (50, 1, 1_000)
RESULTS = SOURCE / "RESULTS.md"
DESCRIPTORS = 20_000  # 10,500 idle clients, and those that the server thinks possible


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m bench", description="What fingerd costs, beside other servers.")
    result.add_argument("--rounds", type=int, default=5, help="how often every server has its turn (default: 5)")
    result.add_argument("--quick", action="store_true", help="one short round, to see that all of it works")
    result.add_argument("--write", action="store_true", help="write bench/RESULTS.md")
    result.add_argument("--shared-socket", action="store_true", help="measure two processes on one socket, too")
    result.add_argument("--only", metavar="NAMES", default="", help='some servers only: "limit,two of ours"')
    result.add_argument("--no-idle", action="store_true", help="without the idle clients")
    result.add_argument("--people", action="store_true", help="people as records, and nothing else")
    result.add_argument("--accounts", action="store_true", help="the host's accounts, and nothing else (needs root)")
    result.add_argument("--backends", action="store_true", help="backends that ask somebody else, and nothing else")
    return result


def main() -> int:
    options = parser().parse_args()
    if options.quick and options.write:
        parser().error("a quick round is not worth writing down")
    rounds, share = (1, 0.1) if options.quick else (options.rounds, 1.0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so end what was started
    allow_descriptors()
    if options.accounts:
        return accounts.main(rounds, options.quick, options.write)
    if options.backends:
        return backends.main(rounds, share, options.write)
    report, new_people, wrong = "", "", 0
    if not options.people:
        report, wrong = measure_servers(options, rounds, share)
    if options.people or not options.only:
        found = measure_people(rounds, share)
        new_people, wrong = people.document(found), wrong + found.lost
    print(*filter(None, (report, new_people)), sep="\n")
    if options.write:
        RESULTS.write_text(merged(report, new_people, RESULTS.read_text() if RESULTS.exists() else ""))
    return 1 if wrong else 0


def measure_servers(options: argparse.Namespace, rounds: int, share: float) -> tuple[str, int]:
    """Everything but people: the report, and how many answers were lost."""
    kinds, complaints = all_kinds(options.shared_socket, [name for name in options.only.split(",") if name])
    for complaint in complaints:
        say(complaint)
    kinds = [kind for kind in kinds if starts(kind, complaints)]
    runs = measure_all(kinds, rounds, share)
    besides = [] if options.no_idle else measure_idle(rounds, options.quick)
    missing = [complaint.partition(" is left out")[0] for complaint in complaints]
    return document(Measurement(rounds, kinds, missing, runs, besides)), lost(runs, besides)


def measure_people(rounds: int, share: float) -> people.People:
    """People as records."""
    say("folders of people are made, unless they are there already")
    runs = measure_all(people.kinds(), rounds, share, (people.CLIENTS,))
    listing = people.measure_list(max(int(people.LISTS * share), 1))
    say(f"a list of {people.LISTED:,}: {min(listing.seconds):.2f} s")
    return people.People(rounds, runs, listing, people.measure_times(int(people.HIDDEN_QUERIES * share)))


def starts(kind: Kind, complaints: list[str]) -> bool:
    """Whether it comes to answer; where a peer does not, say why. NotHereError where ours does not."""
    try:
        with running(kind):
            return True
    except NotHereError as error:
        if is_ours(kind.name):
            raise
        complaints.append(f"{kind.name} is left out: {error}")
        say(complaints[-1])
        return False


def measure_all(
    kinds: Sequence[Kind], rounds: int, share: float, crowds: Sequence[int] = CLIENTS
) -> dict[tuple[int, str], list[Run]]:
    """Every server's runs, by clients and name; the order turns, so that none always comes first."""
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for number in range(rounds):
        first = number % max(len(kinds), 1)
        for clients in crowds:
            for kind in (*kinds[first:], *kinds[:first]):
                forget_closed_connections(planned(kind, clients, share))
                run = measure(kind, clients, share)
                runs[clients, kind.name].append(run)
                say(
                    f"round {number + 1} of {rounds}, {clients} at a time, {kind.name}: {run.rate:,.0f} queries/s, "
                    f"p99 {run.p99:.2f} ms, {run.cpu:.1f} µs, {run.memory:.1f} MB, {run.lost} lost"
                )
    return dict(runs)


def measure_idle(rounds: int, quick: bool) -> list[Beside]:
    """fingerd beside more and more idle clients."""
    crowds, seconds = (
        (((0, 0), (1_000, 0), (1_000, 50)), 2)
        if quick
        else (
            ((0, 0), (1_000, 0), (10_000, 0), (10_000, 500)),
            10,
        )
    )
    besides: list[Beside] = []
    for idle, dripping in crowds:
        beside = measure_beside_idle(idle, dripping, rounds, seconds)
        besides.append(beside)
        say(f"{idle:,} idle, {dripping} dripping: {beside.memory:.1f} MB, p99 {beside.p99:.2f} ms, {beside.lost} lost")
    return besides


def allow_descriptors() -> None:
    """Let this process and all that it starts open as many descriptors as the idle clients need."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < DESCRIPTORS:
        say(f"only {most} descriptors are allowed here: idle clients may be lost")
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotHereError as error:
        sys.exit(f"bench: {error}")
