"""Runs piuparts on the package: installs, upgrades, removes and purges it in a minimal system."""

import subprocess
import sys

from tests.deb.roots import DIST, cached_root, missing_requirements

SUITE = "bookworm"


def main() -> int:
    """Returns the exit status of piuparts."""
    if missing := missing_requirements("mmdebstrap", "piuparts"):
        print(f"piuparts {missing}", file=sys.stderr)
        return 1
    # systemd is installed beforehand, so that its own leftovers are not attributed to the package.
    base = cached_root(SUITE, "piuparts.tar.gz", ("systemd", "systemd-sysv"))
    packages = map(str, DIST.glob("fingerd_*_all.deb"))
    # The disk is temporary, so nothing needs fsync; the mirrors are those of this machine.
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
