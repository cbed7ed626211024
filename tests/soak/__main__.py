"""Put the load on two daemons, print what was seen of them; exit code 1 where anything is not as it has to be."""

import argparse
import contextlib
import multiprocessing
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.soak import calm
from tests.soak.book import CREW, INSTANT
from tests.soak.checks import Check, Run, checks
from tests.soak.configurations import write_program
from tests.soak.daemon import Daemon, NotWellError
from tests.soak.load import Load
from tests.soak.reloading import Reloading
from tests.soak.visit import Target
from tests.soak.watch import Watch, watch
from tests.soak.web import web_server

LEAST_SECONDS = 40.0  # in less, not everything has happened that has to be seen
WIDTH = 44  # of a check's name in the table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Mixed load on real daemons, good and hostile: nothing may be lost."
    )
    parser.add_argument("--seconds", type=float, default=300, help="how long the load lasts (default: 300)")
    seconds = parser.parse_args().seconds
    if seconds < LEAST_SECONDS:
        parser.error(f"less than {LEAST_SECONDS:.0f} seconds show nothing")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # and so end what was started
    folder = Path(tempfile.mkdtemp(prefix="fingerd-soak-"))
    try:
        runs = soak(folder, seconds)
    except NotWellError as error:
        print(f"soak: {error}\nThe logs are in {folder}", file=sys.stderr)
        return 1
    except BaseException:  # somebody has enough of it, or it is wrong itself
        shutil.rmtree(folder)
        raise
    failed = sum([report(run) for run in runs])
    if failed:
        print(f"\n{failed} checks FAILED; the logs are in {folder}")
        return 1
    shutil.rmtree(folder)
    print(f"\nAll is well after {seconds:.0f} seconds.")
    return 0


def soak(folder: Path, seconds: float) -> Sequence[Run]:
    """Everything that happens, in its order."""
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        write_program(folder)
        web_port = stack.enter_context(web_server())
        daemons: list[Daemon] = []
        for name in (INSTANT, CREW):
            daemons.append(Daemon(name, folder, web_port, context))
            stack.callback(daemons[-1].kill)
        for daemon in daemons:
            calm.warm_up(daemon)
        before = [calm.at_rest(daemon) for daemon in daemons]

        until = time.monotonic() + seconds
        loads: list[Load] = []
        for daemon in daemons:
            loads.append(Load(Target(daemon.name, daemon.address, daemon.known, daemon.newest), until, context))
            stack.callback(loads[-1].kill)
        watches = [Watch(daemon) for daemon in daemons]
        reloadings = [Reloading(daemon) for daemon in daemons]
        for reloading in reloadings:
            reloading.start()
        watch(watches, loads, reloadings, seconds)
        exits = [load.join() for load in loads]
        for reloading in reloadings:
            reloading.finish()

        after = [calm.at_rest(daemon) for daemon in daemons]
        ends = [calm.end(daemon) for daemon in daemons]
        for daemon in daemons:
            daemon.log.close()
        tallies = [load.tally for load in loads]
        times = [seconds] * len(daemons)
        return list(map(Run, times, tallies, exits, watches, reloadings, before, after, ends))


def report(run: Run) -> int:
    """Print the table of one daemon; how many checks failed."""
    failed: list[Check] = []
    print(f"\n{run.watch.daemon.name}:")
    for check in checks(run):
        print(f"  {'ok    ' if check.ok else 'FAILED'}  {check.name:{WIDTH}}  {check.seen}")
        failed += [] if check.ok else [check]
    for complaint in run.tally.complaints:
        print(f"    {complaint}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
