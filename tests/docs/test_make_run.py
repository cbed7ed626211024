"""``make run`` says that fingerd answers once it does, and not if it cannot."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, Machine

ANSWERS = "fingerd answers on port 1079"


@pytest.fixture
def make_run(host: Machine, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The target with this program instead of the one that it would install."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    (tmp_path / "run").touch()
    program = tmp_path / "bin" / "fingerd"
    program.write_text(f'#!/bin/sh\nexec {" ".join(FINGERD)} "$@"\n')
    program.chmod(0o755)
    command = [*host.inside, "make", "-C", str(ROOT), f"VENV={tmp_path}", "run"]
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
    lines: list[str] = []
    while not lines or ANSWERS not in lines[-1]:
        lines.append(make_run.stdout.readline())
        assert lines[-1], lines
    asked = host.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/1079; echo moshez >&3; cat <&3")
    assert asked.stdout == "Happy and well\n"
    os.killpg(make_run.pid, signal.SIGINT)
    make_run.wait(TIMEOUT)


@pytest.fixture
def busy(host: Machine) -> Iterator[None]:
    """Port 1079 of the machine is taken."""
    code = "import socket; s = socket.create_server(('127.0.0.1', 1079)); print('bound', flush=True); s.accept()"
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
    assert make_run.returncode
