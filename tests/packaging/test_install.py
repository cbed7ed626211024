"""The package as it is installed: built once, put into a fresh environment of every Python that is here, and run."""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from fingerd import __version__
from fingerd.backends import backend_names, distribution_of
from tests.helpers.daemons import ROOT, TIMEOUT, ask, wait_until
from tests.helpers.http import get

OLDEST, NEWEST = 11, 30  # the minor versions of Python 3 that are looked for
NOT_PACKAGED = shutil.ignore_patterns(".*", "__pycache__", "build", "debian", "dist", "*.egg-info")

# Nothing of what this run of the tests does to the Pythons that it starts.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PYTHON", "VIRTUAL_ENV"))
}


def makes_environments(python: str) -> bool:
    try:
        return not subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode
    except OSError:  # it is somebody else's
        return False


def pythons() -> Mapping[int, str]:
    """One Python that can make environments for each minor version: the one that runs this, pyenv's, on the PATH."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = {sys.version_info.minor: sys.executable}
    for minor in range(OLDEST, NEWEST):
        candidates = (*glob.glob(f"{pyenv}/versions/3.{minor}.*/bin/python"), shutil.which(f"python3.{minor}"))
        usable = (candidate for candidate in candidates if candidate and makes_environments(candidate))
        if minor not in found and (python := next(usable, None)):
            found[minor] = python
    return found


PYTHONS = pythons()
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path, folder: Path) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from a copy, since setuptools leaves things where it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "tree", ignore=NOT_PACKAGED)
    try:
        run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder, folder / "tree", folder=folder)
    except AssertionError as error:
        if "from versions: none" in str(error):
            pytest.skip("needs the network: pip finds no package index")
        raise
    (wheel,) = folder.glob("*.whl")
    return wheel


TEMPLATES = {f"fingerd/http/templates/{path.name}" for path in (ROOT / "fingerd" / "http" / "templates").iterdir()}


def test_wheel_and_sdist_have_the_templates(wheel: Path, tmp_path: Path) -> None:
    assert len(TEMPLATES) > 5
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) >= TEMPLATES
    shutil.copytree(ROOT, tmp_path / "tree", ignore=NOT_PACKAGED)
    run(sys.executable, "-m", "venv", "environment", folder=tmp_path)
    python = tmp_path / "environment" / "bin" / "python"
    run(python, *PIP, "install", "setuptools >= 66", folder=tmp_path)
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(tmp_path)!r}))"
    name = run(python, "-c", code, folder=tmp_path / "tree").splitlines()[-1]
    with tarfile.open(tmp_path / name) as sdist:
        assert {path.partition("/")[2] for path in sdist.getnames()} >= TEMPLATES


@pytest.mark.parametrize("minor", sorted(PYTHONS))
def test_it_installs_and_answers(minor: int, wheel: Path, tmp_path: Path) -> None:
    run(PYTHONS[minor], "-m", "venv", "environment", folder=tmp_path)
    programs = tmp_path / "environment" / "bin"
    assert f"3.{minor}." in run(programs / "python", "--version", folder=tmp_path)
    run(programs / "python", *PIP, "install", "--no-compile", f"{wheel}[http]", folder=tmp_path)
    fingerd = programs / "fingerd"
    assert run(fingerd, "--version", folder=tmp_path) == f"fingerd {__version__}\n"
    assert run(fingerd, "--help", folder=tmp_path).startswith("usage: fingerd ")
    listed = run(fingerd, "--backends", folder=tmp_path)
    for name in filter(lambda name: distribution_of(name) == "fingerd", backend_names()):
        assert f"{name} (fingerd)\n" in listed
    pyfinger = programs / "pyfinger"
    assert run(pyfinger, "--version", folder=tmp_path) == f"pyfinger {__version__}\n"
    assert run(pyfinger, "--help", folder=tmp_path).startswith("usage: pyfinger ")
    plan = programs / "fingerd-plan"
    assert run(plan, "--version", folder=tmp_path) == f"fingerd-plan {__version__}\n"
    assert run(plan, "--help", folder=tmp_path).startswith("usage: fingerd-plan ")
    answers_one_query(fingerd, pyfinger, tmp_path)


def answers_one_query(fingerd: Path, pyfinger: Path, folder: Path) -> None:
    config, log = folder / "fingerd.yaml", folder / "log"
    config.write_text(
        'listen: "127.0.0.1:0"\nhttp: {listen: "127.0.0.1:0"}\nbackend: {type: static, users: {bob: Happy and well}}\n'
    )
    command: list[str | Path] = [fingerd, "-n", "-c", config, "-l", log]
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or (log.exists() and "listening on" in log.read_text()))
            found = re.search(r"listening on 127\.0\.0\.1:(\d+), 127\.0\.0\.1:(\d+)\n", log.read_text())
            assert found
            assert ask(("127.0.0.1", int(found[1])), b"bob\r\n") == b"Happy and well\r\n"
            page = get(("127.0.0.1", int(found[2])), "/~bob")
            assert (page.status, "Happy and well" in page.text) == (200, True)
            assert run(pyfinger, f"bob@localhost:{found[1]}", folder=folder) == "Happy and well\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
