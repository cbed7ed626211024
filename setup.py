"""What setup.cfg cannot say: the files beside the code, and where below the environment pip puts them.

The manual pages are there in a release only: `make dist` makes them from man/*.scd.
"""

from collections import defaultdict
from pathlib import Path

from setuptools import setup

FILES = {
    "man/*.1": "share/man/man1",
    "man/*.5": "share/man/man5",
    "man/*.8": "share/man/man8",
    "completion/*.bash": "share/bash-completion/completions",
    "completion/_*": "share/zsh/site-functions",
    "etc/fingerd.yaml": "share/doc/fingerd/examples",
}


def data_files() -> list[tuple[str, list[str]]]:
    """Each folder of the environment with the files that go there."""
    found = defaultdict(list)
    for pattern, folder in FILES.items():
        found[folder] += [str(path) for path in sorted(Path().glob(pattern))]
    for path in sorted(Path("examples").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found[f"share/doc/fingerd/{path.parent}"].append(str(path))
    return list(found.items())


setup(data_files=data_files())
