"""The policy of a running daemon: its warnings, and the same answers as ``--query``."""

import subprocess
from pathlib import Path

import pytest

from fingerd.daemon.cli import main
from tests.conftest import Start
from tests.helpers.daemons import FINGERD
from tests.unit.ruip.test_policy import NAMELESS, RUTGERS, UNREACHABLE, guessing


def test_check_prints_warnings_with_their_places_and_exits_with_0(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: empty}\npolicy:\n  - {from: any, match: name}\n  - from: local\n    show: plan\n")
    done = subprocess.run([*FINGERD, "--check", "-c", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{path}: valid, with warnings\n")
    assert done.stderr.splitlines() == [
        f"warning: {path}:3:5: policy[0].match: {guessing('name')}",
        f"warning: {path}:4:5: policy[1].from: {UNREACHABLE}",
        f"warning: {path}:4:5: policy[1].show: {NAMELESS}",
    ]


def test_a_daemon_logs_warnings_and_serves(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: empty}\npolicy: [{from: any, match: name}]\n')
    assert [line for line in daemon.log if line.endswith(guessing("name"))]
    assert daemon.ask(b"mark\r\n") == b"No such user\r\n"


SILENTLY_DENIED = "127.0.0.6"
CONFIG = f"""
listen: "127.0.0.1:0"
backend: {RUTGERS}
policy:
  - {{from: 127.0.0.2, show: minimal}}
  - {{from: 127.0.0.3, show: everything, list: true, match: name, users_per_query: 2}}
  - {{from: 127.0.0.4, show: office, list: true, match: unique}}
  - {{from: 127.0.0.5, deny: true}}
  - {{from: {SILENTLY_DENIED}, deny: silently}}
  - {{from: 127.0.0.1, show: [name, plan]}}
"""
LINES = [
    "",
    "/W",
    "mark",
    "/W mark",
    "Mark",
    "mark mel",
    "ann",
    "nobody",
    "mel@example.org",
    "mel@",
    "../mark",
    "a" * 2000,
]


def test_query_prints_the_exact_bytes_that_a_client_at_that_address_gets(
    start: Start, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    daemon = start(CONFIG)
    path = tmp_path / "fingerd.yaml"
    path.write_text(CONFIG)
    answers = set()
    for number in range(1, 8):
        for line in LINES:
            source = f"127.0.0.{number}"
            assert main(["-c", str(path), "--query", line, "--from", source]) == 0
            printed = capfdbinary.readouterr().out
            try:
                received = daemon.ask(f"{line}\r\n".encode(), source)
            except ConnectionError:
                assert source == SILENTLY_DENIED  # the connection may be closed before the line arrives
                received = b""
            assert printed == received, (source, line)
            answers.add(printed)
    assert len(answers) > 15
    assert daemon.ask(b"mark\r\n", "127.0.0.7") == b"Finger service denied\r\n"
