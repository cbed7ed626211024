"""A backend of another package may raise anything, also what is no Exception: it ends neither daemon nor thread."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingerd.bugs import BackendBugError
from fingerd.server.active_config import ActiveConfig
from fingerd.settings import load_config
from tests.conftest import Start
from tests.daemon.test_reload import config_of, reload
from tests.helpers.daemons import FINGERD, TIMEOUT, wait_until
from tests.helpers.plugins import RUDE, RUDE_ERRORS, install_backend

INTERNAL_ERROR = b"Internal error in server\r\n"
LISTEN = 'listen: "127.0.0.1:0"\npolicy: [{from: any, list: true}]\n'
STATIC = LISTEN + "backend: {type: static, users: {alice: Happy}}\n"

WRAPPED = {
    "alone": "{}",
    "in a chain": "{{type: chain, backends: [{}, {{type: empty}}], on_error: skip}}",
    "in a merging chain": "{{type: chain, backends: [{{type: empty}}, {}], merge: true}}",
    "in aliases": "{{type: aliases, names: {{root: alice}}, backend: {}}}",
    "in a cache": "{{type: cache, backend: {}}}",
}
# Where a configuration that is being read, or taken, calls code of the backend.
WHEN_READ = ("init", "reads", "warnings", "missing")
WHEN_TAKEN = ("blocking", "repeatable_seconds", "depends_on_client")
# A command may be ended by Ctrl+C, which raises KeyboardInterrupt as well.
IN_A_COMMAND = [error for error in RUDE_ERRORS if error != "interrupt"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """PYTHONPATH with the backend ``rude``."""
    return install_backend(tmp_path, "rude", RUDE)


def with_backend(options: str) -> str:
    return f"{LISTEN}backend: {{type: rude, {options}}}\n"


@pytest.mark.parametrize("waits", ["true", "false"])
@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_what_a_backend_raises_ends_one_query_only(start: Start, path: str, wrapped: str, waits: str) -> None:
    backend = wrapped.format(f"{{type: rude, waits: {waits}}}")
    daemon = start(f"{LISTEN}backend: {backend}\n", inside=("env", f"PYTHONPATH={path}"))
    for query in (b"find\r\n", b"\r\n", b"/W\r\n"):
        for number in range(len(RUDE_ERRORS)):
            assert daemon.ask(query, source=f"127.0.0.{2 + number}") == INTERNAL_ERROR
            daemon.logged("outcome=error")
    assert daemon.ask(b"alice\r\n") == b"here\r\n"
    assert daemon.stop() == 0
    bugs = [line for line in daemon.log if "internal error while answering" in line]
    assert len(bugs) == 3 * len(RUDE_ERRORS)
    assert not [line for line in daemon.log if "internal error" in line and line not in bugs]


@pytest.mark.parametrize("waits", ["true", "false"])
@pytest.mark.parametrize("error", RUDE_ERRORS)
def test_a_property_that_raises_while_a_name_is_searched_for(start: Start, path: str, error: str, waits: str) -> None:
    config = with_backend(f"where: searches_names, error: {error}, waits: {waits}")
    daemon = start(config.replace("list: true", "match: name"), inside=("env", f"PYTHONPATH={path}"))
    for _ in range(2):
        assert daemon.ask(b"alice\r\n") == INTERNAL_ERROR
    assert daemon.stop() == 0


@pytest.mark.parametrize("error", IN_A_COMMAND)
def test_what_is_raised_while_a_configuration_is_read_names_the_backend(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "fingerd.yaml"
    for where in WHEN_READ:
        for wrapped in WRAPPED.values():
            backend = wrapped.format(f"{{type: rude, where: {where}, error: {error}}}")
            config.write_text(f"{LISTEN}backend: {backend}\n")
            with pytest.raises(BackendBugError, match=r"^internal error in the backend rude\.Rude$"):
                load_config(str(config))
    for where in WHEN_TAKEN:
        config.write_text(with_backend(f"where: {where}, error: {error}"))
        with pytest.raises(BackendBugError, match=r"^internal error in the backend rude\.Rude$"):
            ActiveConfig(load_config(str(config)))


@pytest.mark.parametrize("where", [*WHEN_READ, *WHEN_TAKEN])
@pytest.mark.parametrize("error", ["exit", "odd", "bug"])
def test_a_daemon_with_such_a_backend_does_not_start(tmp_path: Path, path: str, where: str, error: str) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(with_backend(f"where: {where}, error: {error}"))
    action = ["--check"] if where in WHEN_READ else ["-n"]
    done = subprocess.run(
        [*FINGERD, "-c", str(config), *action],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == os.EX_SOFTWARE
    assert done.stderr.startswith("internal error in the backend rude.Rude, please report\nTraceback")


def test_a_detached_daemon_reports_it_to_the_shell(tmp_path: Path, path: str) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(with_backend("where: blocking"))
    done = subprocess.run(
        [*FINGERD, "-c", str(config), "-l", str(tmp_path / "log")],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == os.EX_SOFTWARE
    assert "internal error in the backend rude.Rude" in done.stderr


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd has: a socket that receives the states."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT)
        yield manager


def states(manager: socket.socket) -> str:
    """The next state."""
    return manager.recv(4096).decode().partition("\n")[0]


def test_no_reload_leaves_reloading_without_ready_and_later_ones_are_served(
    start: Start, path: str, tmp_path: Path, manager: socket.socket
) -> None:
    daemon = start(STATIC, inside=("env", f"PYTHONPATH={path}", f"NOTIFY_SOCKET={tmp_path}/notify"))
    assert states(manager) == "READY=1"
    for where in (*WHEN_READ, *WHEN_TAKEN):
        for error in RUDE_ERRORS:
            line = reload(daemon, with_backend(f"where: {where}, error: {error}"), "not reloaded")
            assert line.endswith("not reloaded: internal error in the backend rude.Rude")
            assert [states(manager), states(manager)] == ["RELOADING=1", "READY=1"]
            assert daemon.ask(b"alice\r\n") == b"Happy\r\n"
    reload(daemon, with_backend("where: nowhere"))
    assert [states(manager), states(manager)] == ["RELOADING=1", "READY=1"]
    assert daemon.ask(b"alice\r\n") == b"here\r\n"
    assert daemon.stop() == 0


def test_a_reload_that_fails_reopens_the_old_log(start: Start, path: str, tmp_path: Path) -> None:
    log, other = tmp_path / "log", tmp_path / "other"
    daemon = start(STATIC, inside=("env", f"PYTHONPATH={path}"))
    config_of(daemon).write_text(STATIC + f"log: {{to: {log}}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    log.rename(tmp_path / "log.1")
    config_of(daemon).write_text(with_backend("where: depends_on_client") + f"log: {{to: {other}}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(log.exists)
    assert daemon.ask(b"alice\r\n") == b"Happy\r\n"
    wait_until(lambda: "client=" in log.read_text())
    assert "client=" not in other.read_text()


@pytest.mark.parametrize("error", RUDE_ERRORS)
def test_what_close_raises_ends_nothing_and_all_members_are_closed(
    start: Start, path: str, tmp_path: Path, error: str
) -> None:
    closed = tmp_path / "closed"
    member = f"{{type: rude, where: close, error: {error}, closed: {closed}}}"
    config = f"{LISTEN}backend: {{type: chain, backends: [{member}, {{type: cache, backend: {member}}}]}}\n"
    daemon = start(config, inside=("env", f"PYTHONPATH={path}"))
    reload(daemon, config)
    wait_until(lambda: closed.exists() and closed.read_text() == "closed\n" * 2)
    assert daemon.ask(b"alice\r\n") == b"here\r\n"
    assert daemon.stop() == 0
    assert closed.read_text() == "closed\n" * 4
    assert len([line for line in daemon.log if "internal error while closing the backend Rude" in line]) == 4


@pytest.mark.parametrize("query", ["find", "", "/W"])
def test_query_says_which_backend_has_a_bug(tmp_path: Path, path: str, query: str) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(with_backend(""))
    for number, error in enumerate(RUDE_ERRORS):
        if error not in IN_A_COMMAND:
            continue
        done = subprocess.run(
            [*FINGERD, "-c", str(config), "--query", query, "--from", f"192.0.2.{2 + number}"],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (os.EX_SOFTWARE, "")
        assert done.stderr.startswith("fingerd: internal error in the backend rude.Rude, please report\n")


def test_backends_lists_the_others_where_the_code_of_one_ends_the_interpreter(tmp_path: Path) -> None:
    install_backend(tmp_path, "leaving", "import sys\nsys.exit()\n")
    path = install_backend(
        tmp_path,
        "defaulting",
        "import dataclasses, sys\nfrom fingerd.backends.empty import Empty\n@dataclasses.dataclass(frozen=True)\n"
        "class Defaulting(Empty):\n    ''\n    option: str = dataclasses.field(default_factory=sys.exit)\n",
    )
    done = subprocess.run(
        [*FINGERD, "--backends"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "defaulting (fingerd-defaulting 1)\n    not usable: SystemExit" in done.stdout
    assert done.stdout.endswith("leaving (fingerd-leaving 1)\n    not usable: leaving:Leaving: SystemExit()\n")


EMBEDDING = """
import os, signal, socket, sys, threading
from fingerd import FingerServer, load_config

server = FingerServer(load_config(sys.argv[1]))
if sys.argv[2] == "waiting":
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
else:  # Python calls the signal's handler before kill() returns
    server.loop.call_soon_threadsafe(os.kill, os.getpid(), signal.SIGINT)
try:
    with server:
        server.serve_forever()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("when", ["waiting", "in a callback"])
def test_ctrl_c_still_ends_a_program_that_embeds_the_server(tmp_path: Path, when: str) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(STATIC)
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDING, str(config), when],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert done.stdout == "interrupted\n"
