"""Containers: as process 1, in a user namespace, with few descriptors, and with a service manager of another kind."""

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.daemon.conftest import NOBODY, STATIC
from tests.helpers.daemons import FINGERD, TIMEOUT, Daemon, let_everybody_in, status, wait_until
from tests.helpers.requirements import need

LISTEN = 'listen: "127.0.0.1:0"\n'
ORPHANS = {
    "of the program's process group": "sleep 600 & echo hi",
    "that left it": "setsid sleep 0.1 >/dev/null 2>&1 & echo hi",
    "of an orphan": "setsid sh -c 'sleep 0.1 & true' >/dev/null 2>&1 & echo hi",
}


def command(script: str) -> str:
    return f"{LISTEN}backend: {{type: command, argv: [sh, -c, {json.dumps(script)}]}}\n"


def children(pid: int) -> list[int]:
    """The processes whose parent is any thread of this one."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


def zombies(pid: int) -> list[int]:
    """The children that have ended and were not waited for. One may be gone before its state is read."""
    found = []
    for child in children(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [child] * (status(child, "State")[0] == "Z")
    return found


class First:
    """A daemon that is process 1 of a container."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        (self.pid,) = children(daemon.process.pid)

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self.daemon.process.wait(TIMEOUT)


@pytest.fixture
def first(start: Start) -> Iterator[Callable[[str], First]]:
    """Starts daemons as process 1, and stops them."""
    need("root", "namespaces")
    started: list[First] = []

    def first(config: str) -> First:
        started.append(First(start(config, inside=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))))
        return started[-1]

    yield first
    for daemon in started:
        if daemon.daemon.process.poll() is None:
            daemon.stop()


@pytest.mark.root
@pytest.mark.parametrize("script", ORPHANS.values(), ids=ORPHANS)
def test_process_1_reaps_the_orphans_of_programs(script: str, first: Callable[[str], First]) -> None:
    daemon = first(command(script))
    for _ in range(10):
        assert daemon.daemon.ask(b"x\r\n") == b"hi\r\n"
    wait_until(lambda: not zombies(daemon.pid))
    assert daemon.stop() == 0


@pytest.mark.root
def test_process_1_reaps_no_program_that_is_waited_for(first: Callable[[str], First]) -> None:
    script = "sleep 600 & case $FINGER_USER in good) echo hi;; none) ;; *) echo half; exit 3;; esac"
    answers = {b"good": b"hi\r\n", b"none": b"No such user\r\n", b"bad": b"Internal error in server\r\n"}
    daemon = first(command(script) + "limits: {threads: 8}\n")
    names = [*answers] * 40
    with ThreadPoolExecutor(8) as pool:
        given = [*pool.map(lambda name: daemon.daemon.ask(name + b"\r\n"), names)]
    assert given == [answers[name] for name in names]
    wait_until(lambda: not zombies(daemon.pid))
    assert daemon.stop() == 0
    daemon.daemon.stop()
    failures = Counter(line.partition("backend failed: ")[2] for line in daemon.daemon.log if "backend failed" in line)
    assert failures == {"command sh: exit status 3": 40}


@pytest.mark.root
@pytest.mark.parametrize("to", ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2"])
def test_the_log_may_be_a_standard_stream_of_root_s(to: str, tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    config = tmp_path / "fingerd.yaml"
    config.write_text(f"{LISTEN}{STATIC}log: {{to: {to}}}\nprocess: {{user: nobody}}\n")
    with (tmp_path / "out").open("wb") as file:  # of root's, as the pipe or the terminal that a container gets
        is_output = to.endswith(("out", "1"))
        stdout, stderr = (file, subprocess.PIPE) if is_output else (subprocess.PIPE, file)
        process = subprocess.Popen([*FINGERD, "-n", "-c", str(config)], stdout=stdout, stderr=stderr)
    (tmp_path / "out").chmod(0o600)
    written = (tmp_path / "out").read_text
    wait_until(lambda: "listening on" in written())
    assert status(process.pid, "Uid") == [str(NOBODY)] * 4
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in written())
    process.terminate()
    silent = b"".join(filter(None, process.communicate(timeout=TIMEOUT)))
    assert (process.returncode, silent) == (0, b"")
    assert "stopped" in written()
    assert all(line[:2] == "20" for line in written().splitlines())


@pytest.mark.parametrize("to", ["/dev/stdout", "/dev/stderr"])
def test_a_detached_daemon_may_log_to_a_standard_stream(to: str, tmp_path: Path) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(f"{LISTEN}{STATIC}log: {{to: {to}}}\n")
    with (tmp_path / "out").open("wb") as file:
        command = [*FINGERD, "-c", str(config), "--pidfile", str(tmp_path / "pid")]
        subprocess.run(command, stdout=file, stderr=file, check=True, timeout=TIMEOUT)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: "stopped" in (tmp_path / "out").read_text())


@pytest.mark.parametrize("to", ["/dev/stdout", "/proc/self/fd/1"])
def test_a_reload_does_not_log_to_a_stream_that_was_closed_at_the_start(to: str, start: Start, tmp_path: Path) -> None:
    daemon = start(f"{LISTEN}{STATIC}")
    config = tmp_path / "fingerd-0.yaml"
    config.write_text(f"{LISTEN}{STATIC}log: {{to: {to}}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("not reloaded: log.to: standard output was closed at the start: a restart is needed")
    config.write_text(f"{LISTEN}{STATIC}")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")


NAMESPACES = {
    "an ordinary user": ("--user", "--map-user=1000", "--map-group=1000"),
    "another number": ("--user", "--map-user=54321", "--map-group=54321"),
    "root": ("--user", "--map-root-user"),
}


@pytest.mark.parametrize("options", NAMESPACES.values(), ids=NAMESPACES)
def test_a_user_namespace_with_one_uid(options: tuple[str, ...], start: Start) -> None:
    inside = ("unshare", *options)
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces")
    daemon = start(f"{LISTEN}{STATIC}", inside=inside)
    assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"


SLOW = command("true")
FORWARDING = f"{LISTEN}{STATIC}policy: [{{from: any, forward: [192.0.2.1]}}]\n"
DESCRIPTORS = {
    "no workers": (f"{LISTEN}{STATIC}", 256, 192),
    "no workers, whatever their number": (f"{LISTEN}{STATIC}limits: {{threads: 100}}\n", 256, 192),
    "four workers": (SLOW + "limits: {threads: 4}\n", 256, 160),
    "workers to forward": (FORWARDING + "limits: {threads: 4}\n", 256, 160),
    "none left": (SLOW, 256, 1),
}


@pytest.mark.parametrize(("config", "limit", "connections"), DESCRIPTORS.values(), ids=DESCRIPTORS)
def test_only_workers_have_descriptors_reserved_for_them(
    config: str, limit: int, connections: int, start: Start
) -> None:
    daemon = start(config, inside=("prlimit", f"--nofile={limit}:{limit}"))
    text = "\n".join(daemon.log)
    assert f"limits.connections is reduced from 10000 to {connections}: the limit of open descriptors" in text


@pytest.mark.parametrize(
    "address", ["vsock:2:1234", "vsock-stream:2:1234", "udp:192.0.2.1:9", "relative", " ", "\x1b["]
)
def test_a_service_manager_of_an_unknown_kind_is_a_warning(address: str, start: Start) -> None:
    daemon = start(f"{LISTEN}{STATIC}", inside=("env", f"NOTIFY_SOCKET={address}", "WATCHDOG_USEC=1000000"))
    shown = address.replace("\x1b", "\\x1b")
    warning = f"NOTIFY_SOCKET {shown} is neither a path nor an abstract socket: no notifications are sent"
    assert [line.endswith(f"WARNING fingerd: {warning}") for line in daemon.log if "NOTIFY_SOCKET" in line] == [True]


@pytest.mark.parametrize("value", ["²", "٣", "-1", "x", "9" * 30, ""])
def test_numbers_of_a_service_manager_that_are_none_are_ignored(value: str, start: Start) -> None:
    numbers = (f"LISTEN_FDS={value}", f"WATCHDOG_USEC={value}", f"WATCHDOG_PID={value}")
    daemon = start(f"{LISTEN}{STATIC}", inside=("env", *numbers, "sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"))
    assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"
