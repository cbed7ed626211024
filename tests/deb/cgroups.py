"""Cgroups for a machine, in which its systemd creates those of its services."""

import contextlib
import errno
import os
import signal
import time
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
# Runs a command in cgroups: their directories, --, and the command.
ENTER = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


def own_cgroups() -> list[Path]:
    """The directories of this process's cgroups in the hierarchies that systemd uses: its own, and version 2."""
    paths = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    unified = MOUNTED / "unified"
    hierarchies = {"name=systemd": MOUNTED / "systemd", "": unified if unified.is_dir() else MOUNTED}
    return [directory / paths[name].lstrip("/") for name, directory in hierarchies.items() if name in paths]


def inside(cgroups: list[Path], command: list[str]) -> list[str]:
    """The command line that runs a command in cgroups."""
    return ["sh", "-ec", ENTER, "sh", *map(str, cgroups), "--", *command]


def end_cgroup(directory: Path, seconds: float = 20) -> None:
    """Kill all that runs in a cgroup, and remove it and those in it. Raises OSError if some cannot be removed."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended
            for path in directory.rglob("cgroup.procs"):
                for pid in path.read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
        try:
            for name, _, _ in os.walk(directory, topdown=False):
                os.rmdir(name)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOENT) or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
