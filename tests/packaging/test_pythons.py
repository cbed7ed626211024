"""The Pythons that the tests run with: those that setup.cfg names, and no fewer than CI wants."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.daemons import ROOT
from tests.helpers.pythons import OLDEST, pythons


def test_the_classifiers_begin_with_the_oldest_python_that_is_allowed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = re.findall(r"^Programming Language :: Python :: 3\.(\d+)$", config["metadata"]["classifiers"], re.MULTILINE)
    assert [int(minor) for minor in named] == list(range(OLDEST, OLDEST + len(named)))
    assert config["options"]["python_requires"] == f">= 3.{OLDEST}"
    assert len(named) == 4


def test_too_few_pythons_are_a_failure_that_says_what_is_looked_for(tmp_path: Path) -> None:
    wanted = len(pythons()) + 1
    command = [sys.executable, "-m", "tests.pythons", "--environments", str(tmp_path), "--minimum", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert f"only {wanted - 1} of the {wanted} Pythons that are wanted: pyenv's versions, and python3.11" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_continuous_integration_wants_two() -> None:
    assert "\nmake test-pythons MINIMUM=2 OTHERS=1\n" in (ROOT / ".ci" / "run").read_text()
