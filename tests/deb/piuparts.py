"""Runs piuparts over the package: it is installed, upgraded to, removed and purged in a bare system."""

import subprocess
import sys

from tests.deb.machine import DIST, SUITE, lacks, made_once


def main() -> int:
    """The exit status: piuparts' own."""
    if missing := lacks("mmdebstrap", "piuparts"):
        print(f"piuparts {missing}", file=sys.stderr)
        return 1
    # systemd is there before, so that what it leaves behind when it goes is not taken for ours.
    base = made_once("piuparts.tar.gz", ("systemd", "systemd-sysv"))
    packages = map(str, DIST.glob("fingerd_*_all.deb"))
    # Nothing is worth being slow for the sake of a disk that is thrown away; the mirrors are those of this machine.
    options = ("--no-eatmydata", "--keep-sources-list", f"--distribution={SUITE}", "--log-level=info")
    done = subprocess.run(
        ["piuparts", f"--basetgz={base}", *options, *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    print(*(lines if done.returncode else [line for line in lines if "PASS" in line]), sep="\n")
    return done.returncode


sys.exit(main())
