"""A directory of people, its configuration, and ``fingerd-plan`` as a process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.daemons import TIMEOUT

PLAN = (sys.executable, "-m", "fingerd.plans")
TEMPORARY = ".fingerd-plan-*"

Done = subprocess.CompletedProcess[bytes]
Run = Callable[..., Done]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A directory with zoe, who has a directory of her own, and quill, who is one file."""
    people = tmp_path / "people"
    (people / "zoe").mkdir(parents=True)
    (people / "zoe" / "plan").write_text("old\n")
    (people / "quill.txt").write_text("a quill\n")
    (tmp_path / "fingerd.yaml").write_text(f'listen: "127.0.0.1:0"\nbackend: {{type: files, folder: {people}}}\n')
    return people


@pytest.fixture
def config(people: Path) -> Path:
    """The configuration with these people."""
    return people.parent / "fingerd.yaml"


@pytest.fixture
def run(config: Path) -> Run:
    """Runs fingerd-plan with this configuration: arguments, and the bytes of standard input."""

    def run(*arguments: str, given: bytes = b"", inside: tuple[str, ...] = (), **environment: str) -> Done:
        return subprocess.run(
            [*inside, *PLAN, "-c", str(config), *arguments],
            input=given,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            env=os.environ | environment,
        )

    return run


def left_behind(people: Path) -> list[Path]:
    """Temporary files among the people."""
    return sorted(people.rglob(TEMPORARY))
