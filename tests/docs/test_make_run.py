"""``make run`` says that fingerd answers once it does, by Finger and by HTTP, and not if it cannot."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import ROOT, TIMEOUT, Machine

ANSWERS = "fingerd answers on port 1079"
URL = "http://localhost:8079/"


@pytest.fixture
def make_run(host: Machine, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The target with this program instead of the one that it would install."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    (tmp_path / "run").touch()
    for name, module in (("fingerd", "fingerd"), ("pyfinger", "fingerd.client")):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        program.chmod(0o755)
    command = [*host.inside, "make", "--no-print-directory", "-C", str(ROOT), f"VENV={tmp_path}", "run"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(TIMEOUT)
    if process.stdout:
        process.stdout.close()


@pytest.mark.root
def test_make_run_says_that_it_answers_when_it_does(host: Machine, make_run: "subprocess.Popen[str]") -> None:
    assert make_run.stdout
    said = ""
    while not said.endswith(f"{URL}\n"):
        line = make_run.stdout.readline()
        assert line, said
        said += line
    assert said.index(ANSWERS) < said.index(URL)
    (command,) = re.findall(r"^    (\S*pyfinger .*)$", said, re.MULTILINE)
    assert host.run("sh", "-c", f"cd {shlex.quote(str(ROOT))} && {command}").stdout == "Happy and well\n"
    (url,) = re.findall(r"^    (http:\S+)$", said, re.MULTILINE)
    fetch = f"import urllib.request; print(urllib.request.urlopen('{url}').read().decode())"
    page = host.run(sys.executable, "-c", fetch).stdout
    assert all(name in page for name in ("moshez", "Brindle Oakenshaw", "/~zoe"))
    os.killpg(make_run.pid, signal.SIGINT)
    make_run.wait(TIMEOUT)


@pytest.mark.root
def test_readme_has_both_ways_to_ask(make_run: "subprocess.Popen[str]") -> None:
    readme = (ROOT / "README.md").read_text()
    assert make_run.stdout
    while ANSWERS not in (line := make_run.stdout.readline()):
        assert line
    printed = [make_run.stdout.readline() for _ in range(6)]
    for line in filter(lambda line: line.startswith("    "), printed):
        shown = re.sub(r"\S*/bin/", ".venv/bin/", line.lstrip())
        assert f"\n{shown}" in readme
    assert sum(line.startswith("    ") for line in printed) == 2


@pytest.fixture(params=[1079, 8079])
def busy(host: Machine, request: pytest.FixtureRequest) -> Iterator[None]:
    """One of the two ports of the machine is taken."""
    address = ("127.0.0.1", request.param)
    code = f"import socket; s = socket.create_server({address}); print('bound', flush=True); s.accept()"
    with subprocess.Popen([*host.inside, "python3", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "bound\n"
        yield
        process.kill()


@pytest.mark.root
@pytest.mark.usefixtures("busy")
def test_make_run_says_nothing_of_the_kind_if_the_port_is_busy(make_run: "subprocess.Popen[str]") -> None:
    said = make_run.communicate(timeout=TIMEOUT)[0]
    assert "Address already in use" in said
    assert ANSWERS not in said
    assert URL not in said
    assert make_run.returncode
