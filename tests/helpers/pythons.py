"""Finds the Pythons of this machine that can run fingerd: one for each minor version."""

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

OLDEST, NEWEST = 11, 30  # the minor versions of Python 3 that are looked for


def makes_environments(python: str) -> bool:
    """Whether this Python starts, and has what `python -m venv` needs."""
    try:
        return not subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode
    except OSError:  # it is somebody else's
        return False


def pythons() -> Mapping[int, str]:
    """The path of a Python for each minor version that is here: the one that runs this, pyenv's, on the PATH."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = {sys.version_info.minor: sys.executable}
    for minor in range(OLDEST, NEWEST):
        candidates = (*glob.glob(f"{pyenv}/versions/3.{minor}.*/bin/python"), shutil.which(f"python3.{minor}"))
        usable = (candidate for candidate in candidates if candidate and makes_environments(candidate))
        if minor not in found and (python := next(usable, None)):
            found[minor] = python
    return found
