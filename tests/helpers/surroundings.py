"""Runs a command where something that every process takes for granted is missing: an output, a directory, a reader."""

import contextlib
import os
import subprocess
from pathlib import Path

from tests.helpers.daemons import ROOT, TIMEOUT


def in_surroundings(script: str, folder: Path, *command: str) -> tuple[int, str]:
    """The exit code that ``command`` has as ``"$@"`` of a bash script, and what it writes to standard error.

    ``$PIPE`` is a descriptor of a pipe that nobody reads.
    """
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.closing(os.fdopen(writer, "wb")):
        done = subprocess.run(
            ["bash", "-c", f"{script}; echo $?", "-", *command],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            pass_fds=(writer,),
            env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "PIPE": str(writer)},
            timeout=TIMEOUT * 2,
        )
    return int(done.stdout), done.stderr
