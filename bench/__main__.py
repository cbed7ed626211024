"""Measures fingerd beside other servers, or beside another checkout of itself; exit code 1 if answers were lost.

The report is printed; ``--write`` also writes it to the page below ``bench/``.
"""

import argparse
import resource
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench import accounts, backends, compare, http_pages, people, proxied, reloading
from bench.contenders import Contender, all_contenders
from bench.load import IdleRun, Run, forget_closed_connections, measure, measure_with_idle, planned_queries
from bench.peers import SOURCE, UnavailableError
from bench.report import Measurement, document, log_progress, log_run, merge_reports
from bench.servers import running
from bench.targets import is_ours, lost

CLIENTS = (50, 1, 1_000)
RESULTS = SOURCE / "RESULTS.md"
DESCRIPTORS = 20_000  # 10,500 idle clients, and the 12,000 connections that the server allows


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m bench", description="Measures fingerd beside other servers.")
    result.add_argument("--rounds", type=int, default=5, help="number of rounds (default: 5)")
    result.add_argument("--quick", action="store_true", help="one short round, to check that everything works")
    result.add_argument("--write", action="store_true", help="write the page below bench/")
    result.add_argument("--shared-socket", action="store_true", help="also measure two processes on one socket")
    result.add_argument("--only", metavar="NAMES", default="", help='some servers only: "limit,two of ours"')
    result.add_argument("--no-idle", action="store_true", help="without idle clients")
    result.add_argument("--people", action="store_true", help="measure records only")
    result.add_argument("--accounts", action="store_true", help="measure the host's accounts only (needs root)")
    result.add_argument("--backends", action="store_true", help="measure backends with external sources only")
    result.add_argument("--http", action="store_true", help="measure pages by HTTP only")
    result.add_argument("--proxy", action="store_true", help="measure PROXY headers only")
    result.add_argument("--reload", action="store_true", help="measure a large configuration only")
    result.add_argument("--against", type=Path, metavar="DIR", help="compare with the checkout of fingerd in DIR only")
    return result


def main() -> int:
    options = parser().parse_args()
    if options.write and (options.quick or options.against):
        parser().error("--write cannot be combined with --quick or --against")
    rounds, scale = (1, 0.1) if options.quick else (options.rounds, 1.0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers are stopped
    raise_descriptor_limit()
    if options.against:
        return compare.main(options.against, rounds, scale)
    if options.accounts:
        return accounts.main(rounds, scale, options.write)
    if options.backends:
        return backends.main(rounds, scale, options.write)
    if options.http:
        return http_pages.main(rounds, scale, options.write)
    if options.proxy:
        return proxied.main(rounds, scale, options.write)
    if options.reload:
        return reloading.main(rounds, options.write)
    report, new_people, wrong = "", "", 0
    if not options.people:
        report, wrong = measure_servers(options, rounds, scale)
    if options.people or not options.only:
        measured = measure_people(rounds, scale)
        new_people, wrong = people.document(measured), wrong + measured.lost
    print(*filter(None, (report, new_people)), sep="\n")
    if options.write:
        RESULTS.write_text(merge_reports(report, new_people, RESULTS.read_text() if RESULTS.exists() else ""))
    return 1 if wrong else 0


def measure_servers(options: argparse.Namespace, rounds: int, scale: float) -> tuple[str, int]:
    """Measure the servers; returns the report and the number of lost answers."""
    contenders, messages = all_contenders(options.shared_socket, [name for name in options.only.split(",") if name])
    for message in messages:
        log_progress(message)
    contenders = [contender for contender in contenders if can_start(contender, messages)]
    runs = measure_all(contenders, rounds, scale)
    idle_runs = [] if options.no_idle else measure_idle(rounds, options.quick)
    missing = [message.partition(" is left out")[0] for message in messages]
    return document(Measurement(rounds, contenders, missing, runs, idle_runs)), lost(runs, idle_runs)


def measure_people(rounds: int, scale: float) -> people.People:
    """Measure records."""
    log_progress("making directories of people, unless they exist")
    runs = measure_all(people.contenders(), rounds, scale, (people.CLIENTS,))
    listing = people.measure_list(max(int(people.LISTS * scale), 1))
    log_progress(f"a list of {people.LISTED:,}: {min(listing.seconds):.2f} s")
    return people.People(rounds, runs, listing, people.measure_times(int(people.HIDDEN_QUERIES * scale)))


def can_start(contender: Contender, messages: list[str]) -> bool:
    """Whether the server answers; if a peer does not, appends a message. Raises UnavailableError if ours does not."""
    try:
        with running(contender):
            return True
    except UnavailableError as error:
        if is_ours(contender.name):
            raise
        messages.append(f"{contender.name} is left out: {error}")
        log_progress(messages[-1])
        return False


def measure_all(
    contenders: Sequence[Contender], rounds: int, scale: float, client_counts: Sequence[int] = CLIENTS
) -> dict[tuple[int, str], list[Run]]:
    """The runs of every server, by clients and name. Each round begins with another server."""
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for number in range(rounds):
        first = number % max(len(contenders), 1)
        for clients in client_counts:
            for contender in (*contenders[first:], *contenders[:first]):
                forget_closed_connections(planned_queries(contender, clients, scale))
                run = measure(contender, clients, scale)
                runs[clients, contender.name].append(run)
                log_run(f"round {number + 1} of {rounds}, {clients} at a time, {contender.name}", run)
    return dict(runs)


def measure_idle(rounds: int, quick: bool) -> list[IdleRun]:
    """fingerd with growing numbers of idle clients."""
    counts = ((0, 0), (1_000, 0), (1_000, 50)) if quick else ((0, 0), (1_000, 0), (10_000, 0), (10_000, 500))
    idle_runs: list[IdleRun] = []
    for idle, dripping in counts:
        run = measure_with_idle(idle, dripping, rounds, 2 if quick else 10)
        idle_runs.append(run)
        log_progress(f"{idle:,} idle, {dripping} dripping: {run.memory:.1f} MB, p99 {run.p99:.2f} ms, {run.lost} lost")
    return idle_runs


def raise_descriptor_limit() -> None:
    """Raise the descriptor limit of this process and its children for the idle clients."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    if maximum != resource.RLIM_INFINITY and maximum < DESCRIPTORS:
        log_progress(f"the descriptor limit is {maximum}: idle clients may be lost")
    limit = DESCRIPTORS if maximum == resource.RLIM_INFINITY else min(DESCRIPTORS, maximum)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, maximum))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnavailableError as error:
        sys.exit(f"bench: {error}")
