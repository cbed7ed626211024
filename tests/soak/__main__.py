"""Puts load on two daemons, then attacks others, and prints tables of checks; exit code 1 if a check fails."""

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

from tests.soak import phases
from tests.soak.attacks.runner import names, run_attacks
from tests.soak.checks import Check, Run, checks
from tests.soak.client import Target
from tests.soak.configurations import write_program
from tests.soak.daemon import Daemon, SoakError
from tests.soak.load import Load
from tests.soak.monitor import Monitor, monitor
from tests.soak.queries import POOL, STATIC
from tests.soak.reloading import Reloading
from tests.soak.web import web_server

MIN_SECONDS = 40.0  # a shorter run does not provoke every outcome
NAME_WIDTH = 44  # of a check in the table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Mixed load on real daemons, good and hostile, then attacks: nothing may be lost.",
    )
    parser.add_argument("--seconds", type=float, default=300, help="how long the load lasts (default: 300)")
    parser.add_argument(
        "--attacks",
        nargs="*",
        choices=names(),
        metavar="NAME",
        help=f"only these attacks, or all: {', '.join(names())}",
    )
    arguments = parser.parse_args()
    seconds = arguments.seconds
    if seconds < MIN_SECONDS:
        parser.error(f"--seconds must be at least {MIN_SECONDS:.0f}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that all processes are stopped
    directory = Path(tempfile.mkdtemp(prefix="fingerd-soak-"))
    directory.chmod(0o711)  # an attacker of another user connects to a unix socket in it
    failed = 0
    try:
        if arguments.attacks is None:
            failed += sum([report(run) for run in soak(directory, seconds)])
        failed += run_attacks(arguments.attacks or (), directory)
    except SoakError as error:
        print(f"soak: {error}\nThe logs are in {directory}", file=sys.stderr)
        return 1
    except BaseException:  # interrupted, or a bug in the soak test
        shutil.rmtree(directory)
        raise
    if failed:
        print(f"\n{failed} checks FAILED; the logs are in {directory}")
        return 1
    shutil.rmtree(directory)
    print("\nAll checks passed.")
    return 0


def soak(directory: Path, seconds: float) -> Sequence[Run]:
    """Run all phases in order."""
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        write_program(directory)
        web_port = stack.enter_context(web_server())
        daemons: list[Daemon] = []
        for name in (STATIC, POOL):
            daemons.append(Daemon(name, directory, web_port, context))
            stack.callback(daemons[-1].kill)
        for daemon in daemons:
            phases.warm_up(daemon)
        before = [phases.wait_until_idle(daemon) for daemon in daemons]

        end = time.monotonic() + seconds
        loads: list[Load] = []
        for daemon in daemons:
            target = Target(daemon.name, daemon.address, daemon.oldest, daemon.newest)
            loads.append(Load(target, end, context))
            stack.callback(loads[-1].kill)
        monitors = [Monitor(daemon) for daemon in daemons]
        reloadings = [Reloading(daemon) for daemon in daemons]
        _note_load(daemons, begins=True)
        for reloading in reloadings:
            reloading.start()
        monitor(monitors, loads, reloadings, seconds)
        exits = [load.join() for load in loads]
        for reloading in reloadings:
            reloading.finish()
        _note_load(daemons, begins=False)

        after = [phases.wait_until_idle(daemon) for daemon in daemons]
        shutdowns = [phases.shut_down(daemon) for daemon in daemons]
        for daemon in daemons:
            daemon.log.close()
        tallies = [load.tally for load in loads]
        times = [seconds] * len(daemons)
        return list(map(Run, times, tallies, exits, monitors, reloadings, before, after, shutdowns))


def _note_load(daemons: Sequence[Daemon], *, begins: bool) -> None:
    """Let the lines that the logs have from now on count as those of the load, or not."""
    for daemon in daemons:
        daemon.log.read()
        daemon.log.is_under_load = begins


def report(run: Run) -> int:
    """Print the table of one daemon; returns the number of failed checks."""
    failed: list[Check] = []
    print(f"\n{run.monitor.daemon.name}:")
    for check in checks(run):
        print(f"  {'ok    ' if check.ok else 'FAILED'}  {check.name:{NAME_WIDTH}}  {check.detail}")
        failed += [] if check.ok else [check]
    for problem in run.tally.problems:
        print(f"    {problem}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
