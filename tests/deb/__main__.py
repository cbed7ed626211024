"""Runs the checks in a machine of each suite, at the same time, and prints their output line by line as it comes."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from tests.deb.roots import NEXT, ROOT

HERE = Path(__file__).parent
UPGRADE = HERE / "check_upgrade.py"


def main(suites: list[str]) -> int:
    """Returns the worst exit status."""
    runs = {suite: [f"--suite={suite}", str(HERE), f"--ignore={UPGRADE}"] for suite in suites}
    # The longest check, in a machine of its own, beside the others.
    runs |= {"upgrade": [f"--suite={suite}", str(UPGRADE)] for suite in suites if suite in NEXT}
    command = [sys.executable, "-m", "pytest", "-c", str(HERE / "pytest.ini")]
    running = {
        name: subprocess.Popen(
            [*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for name, arguments in runs.items()
    }
    printers = [threading.Thread(target=copy, args=(name, each.stdout)) for name, each in running.items()]
    for printer in printers:
        printer.start()
    for printer in printers:
        printer.join()
    return max(each.wait() for each in running.values())


def copy(name: str, output: IO[str]) -> None:
    """Print each line with the name of its run before it."""
    for line in output:
        print(f"{name:9} {line}", end="", flush=True)


sys.exit(main(sys.argv[1:]))
