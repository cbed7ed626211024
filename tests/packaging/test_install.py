"""A release as `make dist` makes it: what it holds, and that it installs and answers on every Python that is here."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fingerd import __version__
from fingerd.backends import backend_names, distribution_of
from tests.helpers.daemons import ROOT, TIMEOUT, ask, wait_until
from tests.helpers.http import get
from tests.helpers.pythons import pythons
from tests.helpers.requirements import need

NOT_PACKAGED = shutil.ignore_patterns(
    *(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "*.egg-info", "people.db", "pages")
)

# Nothing of what this run of the tests does to the Pythons that it starts.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PYTHON", "VIRTUAL_ENV"))
}


PYTHONS = pythons()
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path, folder: Path) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Release:
    """The files of a release, and the tree that they were made of."""

    tree: Path
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """What `make dist` makes, in a copy of the tree, with the build and twine of this Python."""
    need("scdoc")
    tree = tmp_path_factory.mktemp("release") / "tree"
    shutil.copytree(ROOT, tree, ignore=NOT_PACKAGED)
    made = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("MAKE")}
    command = ["make", "dist", "--assume-old=.venv/release", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, capture_output=True, text=True, env=made, cwd=tree, check=False)
    if "from versions: none" in done.stdout:
        pytest.skip("needs the network: pip finds no package index")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2  # of twine
    (sdist,), (wheel,) = (tree / "dist").glob("*.tar.gz"), (tree / "dist").glob("*.whl")
    return Release(tree, sdist, wheel)


def files_of(tree: Path, *folders: str) -> set[str]:
    """The files of these folders of a tree, or of all."""
    paths = (path for folder in folders or (".",) for path in (tree / folder).rglob("*") if path.is_file())
    made = ("build", "dist", "fingerd.egg-info")
    return {str(path.relative_to(tree)) for path in paths if path.relative_to(tree).parts[0] not in made}


PAGES = {
    "man/fingerd-plan.1": "man1/fingerd-plan.1",
    "man/fingerd.8": "man8/fingerd.8",
    "man/fingerd.yaml.5": "man5/fingerd.yaml.5",
    "man/pyfinger.1": "man1/pyfinger.1",
}


def test_the_sdist_has_all_that_the_tree_has_and_the_manual_pages(release: Release) -> None:
    with tarfile.open(release.sdist) as archive:
        members = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert sorted(files_of(release.tree) - members) == []
    assert not PAGES.keys() - members
    extra = {name for name in members - files_of(release.tree) if not name.startswith("fingerd.egg-info/")}
    assert extra == {*PAGES, "PKG-INFO"}


def test_the_wheel_has_the_program_and_what_belongs_below_share(release: Release) -> None:
    prefix = f"fingerd-{__version__}.data/data/share/"
    with zipfile.ZipFile(release.wheel) as archive:
        names = archive.namelist()
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    shared = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    program = {name for name in names if "dist-info/" not in name and ".data/" not in name}
    assert program == files_of(release.tree, "fingerd")
    assert any(name.endswith(".html") for name in program)  # the templates of pages
    examples = {f"doc/fingerd/{name}" for name in files_of(release.tree, "examples")}
    completions = {
        *(f"bash-completion/completions/{name}.bash" for name in ("fingerd", "fingerd-plan", "pyfinger")),
        *(f"zsh/site-functions/_{name}" for name in ("fingerd", "fingerd-plan", "pyfinger")),
    }
    pages = {f"man/{name}" for name in PAGES.values()}
    assert shared == examples | completions | pages | {"doc/fingerd/examples/fingerd.yaml"}
    assert modes[f"{prefix}doc/fingerd/examples/people-db"] == 0o755


def test_the_files_have_the_version_in_their_names(release: Release) -> None:
    assert release.sdist.name == f"fingerd-{__version__}.tar.gz"
    assert release.wheel.name == f"fingerd-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module", params=sorted(PYTHONS))
def programs(request: pytest.FixtureRequest, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment of one Python, in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("python")
    run(PYTHONS[request.param], "-m", "venv", "environment", folder=folder)
    programs = folder / "environment" / "bin"
    assert f"3.{request.param}." in run(programs / "python", "--version", folder=folder)
    run(programs / "python", *PIP, "install", "--no-compile", f"{release.wheel}[http,sql]", folder=folder)
    return programs


def test_the_wheel_installs_and_answers(programs: Path, tmp_path: Path) -> None:
    for name in ("fingerd", "fingerd-plan", "pyfinger"):
        assert run(programs / name, "--version", folder=tmp_path) == f"{name} {__version__}\n"
        assert run(programs / name, "--help", folder=tmp_path).startswith(f"usage: {name} ")
    listed = run(programs / "fingerd", "--backends", folder=tmp_path)
    for name in filter(lambda name: distribution_of(name) == "fingerd", backend_names()):
        assert f"{name} (fingerd)\n" in listed
    share = programs.parent / "share"
    for page in PAGES.values():
        assert f'"fingerd {__version__}"' in (share / "man" / page).read_text()
    run(programs / "fingerd", "-c", share / "doc/fingerd/examples/fingerd.yaml", "--check", folder=tmp_path)
    answers(programs, tmp_path)


def test_no_python_warns_of_anything(programs: Path, tmp_path: Path) -> None:
    answers(programs, tmp_path, "-W", "error")


def test_the_sdist_installs_and_answers(release: Release, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "environment", folder=tmp_path)
    programs = tmp_path / "environment" / "bin"
    run(programs / "python", *PIP, "install", "--no-compile", f"{release.sdist}[http,sql]", folder=tmp_path)
    assert (programs.parent / "share/man/man8/fingerd.8").exists()
    answers(programs, tmp_path)


CONFIG = """\
listen: "127.0.0.1:0"
http: {{listen: "127.0.0.1:0"}}
backend:
  type: chain
  backends:
    - {{type: static, users: {{bob: Happy and well}}}}
    - {{type: sql, url: "sqlite:///{folder}/people.db", query: "SELECT :user AS login, 'Ann' AS name"}}
"""


def answers(programs: Path, folder: Path, *options: str) -> None:
    """Start, ask by Finger and HTTP, reload, ask again and stop, with these options of Python; no error is printed."""
    python: tuple[str | Path, ...] = (programs / "python", *options)
    config, log = folder / "fingerd.yaml", folder / "log"
    config.write_text(CONFIG.format(folder=folder))
    (folder / "people.db").touch()
    errors = folder / "errors"
    with started(errors, *python, programs / "fingerd", "-n", "-c", config, "-l", log) as process:
        wait_until(lambda: process.poll() is not None or (log.exists() and "listening on" in log.read_text()))
        found = re.search(r"listening on 127\.0\.0\.1:(\d+), 127\.0\.0\.1:(\d+)\n", log.read_text())
        assert found, errors.read_text()
        finger, http = (("127.0.0.1", int(port)) for port in found.groups())
        for _ in range(2):
            assert ask(finger, b"bob\r\n") == b"Happy and well\r\n"
            assert b"In real life: Ann\r\n" in ask(finger, b"ann\r\n")
            page = get(http, "/~bob")
            assert (page.status, "Happy and well" in page.text) == (200, True)
            asked = run(*python, programs / "pyfinger", f"bob@localhost:{found[1]}", folder=folder)
            assert asked == "Happy and well\n"
            run(*python, programs / "fingerd", "-c", config, "--reload", str(process.pid), folder=folder)
            wait_until(lambda: "configuration reloaded" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    assert errors.read_text() == ""
    assert not re.search("ERROR|Warning|Traceback|Exception ignored", log.read_text()), log.read_text()


@contextmanager
def started(errors: Path, *command: str | Path) -> "Iterator[subprocess.Popen[bytes]]":
    """The process of a command, whose standard error goes to a file; it is killed at the end."""
    with (
        errors.open("wb") as file,
        subprocess.Popen(command, env=ENVIRONMENT, cwd=errors.parent, stderr=file) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
