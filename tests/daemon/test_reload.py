"""Reloading: a valid file takes effect in one step, an invalid one is logged and ignored; no query is lost."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import FINGERD, Daemon, descriptors, hear, let_everybody_in, status, wait_until
from tests.helpers.plugins import MORTAL, install_backend
from tests.helpers.requirements import need

FIRST = 'listen: "127.0.0.1:0"\nbackend: {type: static, users: {alice: first}}\n'


def config_of(daemon: Daemon) -> Path:
    """The path of the daemon's configuration."""
    return Path(daemon.process.args[-1] if isinstance(daemon.process.args, list) else "")


def reload(daemon: Daemon, config: str, message: str = "configuration reloaded") -> str:
    """Replace the configuration, send SIGHUP, and return the log line with the message."""
    config_of(daemon).write_text(config)
    daemon.process.send_signal(signal.SIGHUP)
    return daemon.logged(message)


def test_backend_policy_limits_and_reply_are_reloaded(start: Start) -> None:
    daemon = start(FIRST)
    assert daemon.ask(b"alice\r\n") == b"first\r\n"
    reload(
        daemon,
        'listen: "127.0.0.1:0"\nbackend: {type: command, argv: [echo, second]}\nlimits: {query_bytes: 10}\n'
        "policy: [{from: any, list: true}]\nreply: {header: hello}\n",
    )
    assert daemon.ask(b"alice\r\n") == b"hello\r\nsecond\r\n"
    assert daemon.ask(b"a" * 11 + b"\r\n") == b"hello\r\nQuery too long\r\n"
    reload(daemon, FIRST.replace("first", "third"))
    assert daemon.ask(b"alice\r\n") == b"third\r\n"


def test_an_invalid_file_is_logged_and_the_old_configuration_kept(start: Start) -> None:
    daemon = start(FIRST)
    line = reload(daemon, FIRST + "limits: {thread: 3}\n", "not reloaded")
    assert line.endswith(
        f"ERROR fingerd.daemon.reload: not reloaded: {config_of(daemon)}:3:10: limits.thread: "
        "unknown option (did you mean threads?)"
    )
    assert daemon.ask(b"alice\r\n") == b"first\r\n"
    reload(daemon, FIRST + "log: {to: /etc/hostname/x}\n", "not reloaded")
    assert daemon.ask(b"alice\r\n") == b"first\r\n"


def test_a_section_that_needs_a_restart_is_a_warning_and_the_rest_is_reloaded(start: Start) -> None:
    daemon = start(FIRST)
    config = FIRST.replace("first", "second").replace("127.0.0.1:0", "127.0.0.2:0") + "process: {umask: '077'}\n"
    config_of(daemon).write_text(config)
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.logged("listen has changed").endswith(": a restart is needed")
    assert daemon.logged("process has changed").endswith(": a restart is needed")
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"second\r\n"


def test_the_warnings_of_a_file_are_logged(start: Start) -> None:
    daemon = start(FIRST)
    reload(daemon, FIRST + "policy: [{from: any}, {from: 192.0.2.0/24}]\n")
    assert [line for line in daemon.log if "WARNING fingerd.daemon.reload: " in line and "policy[1]" in line]


def test_queries_in_progress_are_answered_by_the_old_configuration(start: Start) -> None:
    slow = 'listen: "127.0.0.1:0"\nbackend: {type: command, argv: [sh, -c, "sleep 1; echo old"]}\n'
    daemon = start(slow)
    with daemon.connect() as client, daemon.connect() as reading:
        client.sendall(b"alice\r\n")
        reading.sendall(b"ali")
        time.sleep(0.3)  # the program runs now
        reload(daemon, FIRST)
        reading.sendall(b"ce\r\n")
        assert hear(reading) == b"first\r\n"
        assert hear(client) == b"old\r\n"


def test_new_deadlines_apply_to_open_connections(start: Start) -> None:
    daemon = start(FIRST + "limits: {read_seconds: 1h}\n")
    with daemon.connect() as client:
        assert daemon.ask(b"alice\r\n")
        reload(daemon, FIRST + "limits: {read_seconds: 0.2}\n")
        started = time.monotonic()
        assert hear(client) == b""
        assert time.monotonic() - started < 2


def log_to(daemon: Daemon, log: Path, config: str) -> None:
    """Reload the configuration, which makes the daemon log to this file instead of standard error."""
    config_of(daemon).write_text(config)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())


def test_a_new_limit_applies_to_what_was_received_before(start: Start) -> None:
    daemon = start(FIRST)
    with daemon.connect() as client:
        client.sendall(b"a" * 500)
        assert daemon.ask(b"alice\r\n")
        reload(daemon, FIRST + "limits: {query_bytes: 10}\n")
        client.sendall(b"a")
        assert hear(client) == b"Query too long\r\n"


def test_no_query_and_no_log_line_is_lost_while_the_log_is_rotated(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    daemon = start(FIRST)
    log_to(daemon, log, FIRST + f"log: {{to: {log}}}\n")
    wrong: list[bytes] = []
    asked = [0] * 4

    def work(number: int) -> None:
        while not done.is_set():
            answer = daemon.ask(b"alice\r\n")
            asked[number] += 1
            if answer != b"first\r\n":
                wrong.append(answer)

    done = threading.Event()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for number in range(5):
        log.rename(tmp_path / f"access.log.{number}")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    done.set()
    for thread in threads:
        thread.join()
    assert daemon.stop() == 0
    lines = "".join(part.read_text() for part in tmp_path.glob("access.log*")).splitlines()
    assert wrong == [], [line for line in lines if "outcome=answered" not in line]
    assert len([line for line in lines if "outcome=answered" in line]) == sum(asked)
    assert sum(asked) > 20


def test_descriptors_and_threads_do_not_grow_with_reloads(start: Start) -> None:
    daemon = start(FIRST)
    pid = daemon.process.pid
    reload(daemon, FIRST)
    before = descriptors(pid), len(os.listdir(f"/proc/{pid}/task"))
    for _ in range(10):
        reload(daemon, FIRST)
    assert (descriptors(pid), len(os.listdir(f"/proc/{pid}/task"))) == before


@pytest.mark.parametrize("more", ["", "limits: {connections: 1000000}\n"], ids=["as configured", "fewer connections"])
def test_a_replaced_configuration_is_freed_at_once(start: Start, tmp_path: Path, more: str) -> None:
    path = install_backend(tmp_path, "mortal", MORTAL)
    config = 'listen: "127.0.0.1:0"\nbackend: {type: mortal, answer: first}\n' + more
    daemon = start(config, inside=("env", f"PYTHONPATH={path}"))
    for answer, other in (("first", "second"), ("second", "third"), ("third", "fourth")):
        assert daemon.ask(b"alice\r\n").decode() == f"{answer}\r\n"
        config_of(daemon).write_text(config.replace("first", other))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged(f"{answer} is freed")


@pytest.mark.root
def test_a_chroot_without_the_file_needs_a_restart(start: Start, tmp_path: Path) -> None:
    (tmp_path / "chroot").mkdir()
    daemon = start(FIRST + f"process: {{chroot: {tmp_path}/chroot}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    assert "the configuration file is not visible in the chroot: a restart is needed" in daemon.logged("not reloaded")
    assert daemon.ask(b"alice\r\n") == b"first\r\n"


@pytest.mark.root
def test_a_file_within_the_chroot_is_reloaded(start: Start, tmp_path: Path) -> None:
    chroot = tmp_path / "chroot"
    config = FIRST + f"process: {{chroot: {chroot}}}\nlog: {{to: stderr}}\n"
    path = tmp_path / "fingerd-0.yaml"
    inside = chroot / str(path).lstrip("/")
    inside.parent.mkdir(parents=True)
    daemon = start(config)
    assert config_of(daemon) == path
    inside.write_text(config.replace("first", "second"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"second\r\n"


@pytest.mark.root
def test_the_log_file_is_reopened_as_the_configured_user(start: Start, tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    directory = tmp_path / "log"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    log = directory / "log"
    daemon = start(FIRST + "process: {user: nobody}\n")
    log_to(daemon, log, FIRST + f"process: {{user: nobody}}\nlog: {{to: {log}}}\n")
    log.rename(directory / "log.1")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    assert log.stat().st_uid == 65534


@pytest.mark.root
def test_in_a_chroot_the_log_is_not_reopened(start: Start, tmp_path: Path) -> None:
    chroot, log = tmp_path / "chroot", tmp_path / "log"
    config = FIRST + f"process: {{chroot: {chroot}}}\n"
    inside = chroot / str(tmp_path / "fingerd-0.yaml").lstrip("/")
    inside.parent.mkdir(parents=True)
    inside.write_text(config.replace("first", "second") + f"log: {{to: {log}, format: json}}\n")
    daemon = start(config)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"second\r\n"
    daemon.logged("outcome=answered")


def test_programs_of_a_replaced_configuration_end_with_the_daemon(start: Start, tmp_path: Path) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\nlimits: {drain_seconds: 0.2}\n'
        f'backend: {{type: command, argv: [sh, -c, "echo $$ > {tmp_path}/pid; sleep 600"]}}\n'
    )
    with daemon.connect() as client:
        client.sendall(b"alice\r\n")
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        reload(daemon, FIRST + "limits: {drain_seconds: 0.2}\n")
        assert daemon.stop() == 0
    pid = (tmp_path / "pid").read_text().strip()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or status(int(pid), "State")[0] == "Z")


def test_the_handler_is_installed_before_the_pid_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"listen: []\nprocess: {{pidfile: {tmp_path}/pid}}\n{FIRST.splitlines()[1]}\n")
    with subprocess.Popen([*FINGERD, "-n", "-c", str(path)], stderr=subprocess.PIPE, text=True) as process:
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
            assert process.poll() is None
        process.send_signal(signal.SIGHUP)
        assert process.stderr
        assert "configuration reloaded" in first_with(process.stderr, "reloaded")
        process.terminate()
        assert process.wait(10) == 0


def first_with(lines: Iterable[str], text: str) -> str:
    """The first line that contains the text."""
    return next(line for line in lines if text in line)


# --reload


def call(config: Path, pid: object, *options: str, inside: Iterable[str] = ()) -> tuple[int, str]:
    """The exit code and the output of ``fingerd --reload``."""
    done = subprocess.run(
        [*inside, *FINGERD, "-c", str(config), *options, "--reload", str(pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_command_signals_the_daemon_if_the_file_is_valid(start: Start) -> None:
    daemon = start(FIRST)
    config, pid = config_of(daemon), daemon.process.pid
    config.write_text(FIRST.replace("first", "second"))
    assert call(config, pid) == (0, "")
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"second\r\n"

    config.write_text(FIRST.replace("static", "statik") + "limits: {thread: 3}\n")
    assert call(config, pid) == (
        78,
        f"{config}:2:17: backend.type: there is no backend statik (did you mean static?)\n"
        f"{config}:3:10: limits.thread: unknown option (did you mean threads?)\n",
    )
    config.write_text(FIRST + "policy: [{from: any}, {from: 192.0.2.0/24}]\n")
    code, output = call(config, pid)
    assert (code, output.count("\n")) == (0, 1)
    assert output.startswith(f"warning: {config}:3:")
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"first\r\n"
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "not reloaded" in line]


@pytest.mark.parametrize("text", ["", "0", "-1", "-5", "+5", "1.5", "5x", " 5", "²", "2147483648", "9" * 5000, "self"])
def test_an_invalid_pid_is_a_usage_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(FIRST)
    code, output = call(path, text)
    assert (code, output.splitlines()[-1]) == (
        64,
        f"fingerd: argument --reload: {text!r} is not a pid",
    )


@pytest.mark.parametrize("other", [("--check",), ("--query", "alice"), ("--backends",)])
def test_reload_excludes_other_actions(other: tuple[str, ...], tmp_path: Path) -> None:
    code, output = call(tmp_path / "fingerd.yaml", 1, *other)
    assert (code, output.splitlines()[-1]) == (64, f"fingerd: argument --reload: not allowed with argument {other[0]}")


def test_a_process_without_a_handler_is_not_signalled(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(FIRST)
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        pid = sleeper.pid
        no_handler = (
            f"fingerd: process {pid} has no handler for SIGHUP, so it is not a running fingerd: no signal sent\n"
        )
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        assert call(path, pid) == (69, no_handler)
        assert sleeper.poll() is None
        sleeper.terminate()
        wait_until(lambda: status(pid, "State")[0] == "Z")
        assert call(path, pid) == (69, no_handler)
    assert sleeper.returncode == -signal.SIGTERM
    assert call(path, pid) == (69, f"fingerd: process {pid} does not exist\n")


@pytest.mark.root
def test_without_proc_the_signal_is_sent(start: Start) -> None:
    need("namespaces")
    daemon = start(FIRST)
    hidden = ("unshare", "--mount", "--", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "-")
    assert call(config_of(daemon), daemon.process.pid, inside=hidden) == (0, "")
    daemon.logged("configuration reloaded")
    with subprocess.Popen(["true"]) as ended:
        pass
    assert call(config_of(daemon), ended.pid, inside=hidden) == (69, f"fingerd: process {ended.pid} does not exist\n")


@pytest.mark.root
def test_reload_run_by_root_drops_privileges_first(start: Start, tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    daemon = start(FIRST + "process: {user: nobody}\n")
    config, pid = config_of(daemon), daemon.process.pid
    config.chmod(0o644)
    assert status(pid, "Uid") == ["65534"] * 4
    assert call(config, pid) == (0, "")
    daemon.logged("configuration reloaded")
    config.chmod(0o600)
    reason = "cannot be read: Permission denied (as user nobody: a reload would fail)"
    assert call(config, pid) == (78, f"{config}: {reason}\n")
    config.chmod(0o644)
    assert call(config, pid, "--uid", "daemon") == (77, f"fingerd: process {pid} cannot be signalled by uid 1\n")
    assert call(config, pid) == (0, "")
    daemon.logged("configuration reloaded")
    assert not [line for line in daemon.log if "not reloaded" in line]
