"""The libraries of the extra ``http``: where one is missing, the configuration says what to install."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.daemons import ROOT

CONFIG = "backend: {type: empty}\n"
HTTP = 'http: {listen: "127.0.0.1:0"}\n'
HINT = "(pip install h11 Jinja2, or apt install python3-h11 python3-jinja2)"


def check(config: Path, text: str, missing: str) -> "subprocess.CompletedProcess[str]":
    """``--check`` of a configuration where a library is missing."""
    config.write_text(text)
    code = f"import sys; sys.modules['{missing}'] = None; from fingerd.daemon.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "--check", "-c", str(config)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("missing", ["h11", "jinja2", "markupsafe"])
def test_a_missing_library_is_reported_with_its_packages(missing: str, tmp_path: Path) -> None:
    config = tmp_path / "fingerd.yaml"
    checked = check(config, CONFIG + HTTP, missing)
    assert checked.returncode == 78
    assert checked.stderr == f"{config}:2:7: http: needs something that is not installed: {missing} {HINT}\n"
    assert check(config, CONFIG, missing).returncode == 0


def test_the_hint_names_what_the_extra_brings() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    names = re.findall(r"^[\w-]+", config["options.extras_require"]["http"], re.MULTILINE)
    assert f"pip install {' '.join(names)}," in HINT
