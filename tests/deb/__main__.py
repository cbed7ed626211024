"""Runs the checks in a machine of each suite, at the same time, and prints their output line by line as it comes."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from tests.deb.roots import ROOT

HERE = Path(__file__).parent


def main(suites: list[str]) -> int:
    """Returns the worst exit status."""
    command = [sys.executable, "-m", "pytest", "-c", str(HERE / "pytest.ini"), str(HERE)]
    running = {
        suite: subprocess.Popen(
            [*command, f"--suite={suite}"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for suite in suites
    }
    printers = [threading.Thread(target=copy, args=(suite, each.stdout)) for suite, each in running.items()]
    for printer in printers:
        printer.start()
    for printer in printers:
        printer.join()
    return max(each.wait() for each in running.values())


def copy(suite: str, output: IO[str]) -> None:
    """Print each line with the suite's name before it."""
    for line in output:
        print(f"{suite:9} {line}", end="", flush=True)


sys.exit(main(sys.argv[1:]))
