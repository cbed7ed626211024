"""SIGHUP, while queries are in flight: the good file takes over in one step, the bad one is told and ignored."""

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
from tests.helpers.requirements import need

FIRST = 'listen: "127.0.0.1:0"\nbackend: {type: static, users: {alice: first}}\n'


def config_of(daemon: Daemon) -> Path:
    """The file that the daemon reads."""
    return Path(daemon.process.args[-1] if isinstance(daemon.process.args, list) else "")


def reload(daemon: Daemon, config: str, word: str = "configuration reloaded") -> str:
    """Put another configuration into the file, and have it read."""
    config_of(daemon).write_text(config)
    daemon.process.send_signal(signal.SIGHUP)
    return daemon.logged(word)


def test_backend_policy_limits_and_wording_change(start: Start) -> None:
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


def test_a_bad_file_is_logged_and_the_old_one_goes_on(start: Start) -> None:
    daemon = start(FIRST)
    line = reload(daemon, FIRST + "limits: {thread: 3}\n", "not reloaded")
    assert line.endswith(
        f"ERROR fingerd.daemon.reload: not reloaded: {config_of(daemon)}:3:10: limits.thread: "
        "unknown option (did you mean threads?)"
    )
    assert daemon.ask(b"alice\r\n") == b"first\r\n"
    reload(daemon, FIRST + "log: {to: /etc/hostname/x}\n", "not reloaded")
    assert daemon.ask(b"alice\r\n") == b"first\r\n"


def test_what_needs_a_restart_is_told_and_the_rest_taken(start: Start) -> None:
    daemon = start(FIRST)
    config = FIRST.replace("first", "second").replace("127.0.0.1:0", "127.0.0.2:0") + "process: {umask: '077'}\n"
    config_of(daemon).write_text(config)
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.logged("listen has changed").endswith("that needs a restart")
    assert daemon.logged("process has changed").endswith("that needs a restart")
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"second\r\n"


def test_those_who_asked_before_are_answered_as_before(start: Start) -> None:
    slow = 'listen: "127.0.0.1:0"\nbackend: {type: command, argv: [sh, -c, "sleep 1; echo old"]}\n'
    daemon = start(slow)
    with daemon.connect() as client, daemon.connect() as parked:
        client.sendall(b"alice\r\n")
        parked.sendall(b"ali")
        time.sleep(0.3)  # the program runs now
        reload(daemon, FIRST)
        parked.sendall(b"ce\r\n")
        assert hear(parked) == b"first\r\n"
        assert hear(client) == b"old\r\n"


def test_those_who_are_here_get_the_new_deadlines(start: Start) -> None:
    daemon = start(FIRST + "limits: {read_seconds: 1h}\n")
    with daemon.connect() as client:
        assert daemon.ask(b"alice\r\n")
        reload(daemon, FIRST + "limits: {read_seconds: 0.2}\n")
        begun = time.monotonic()
        assert hear(client) == b""
        assert time.monotonic() - begun < 2


def log_to(daemon: Daemon, log: Path, config: str) -> None:
    """Let the daemon, which has told on standard error where it listens, go on in a file."""
    config_of(daemon).write_text(config)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())


def test_who_has_said_more_than_the_new_limit_is_told_so(start: Start) -> None:
    daemon = start(FIRST)
    with daemon.connect() as client:
        client.sendall(b"a" * 500)
        assert daemon.ask(b"alice\r\n")
        reload(daemon, FIRST + "limits: {query_bytes: 10}\n")
        client.sendall(b"a")
        assert hear(client) == b"Query too long\r\n"


def test_no_query_and_no_line_is_lost_while_it_reloads_and_the_log_moves(start: Start, tmp_path: Path) -> None:
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


@pytest.mark.root
def test_in_a_jail_that_hides_the_file_it_says_that_a_restart_is_needed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "jail").mkdir()
    daemon = start(FIRST + f"process: {{chroot: {tmp_path}/jail}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    assert "cannot be seen from the chroot: that needs a restart" in daemon.logged("not reloaded")
    assert daemon.ask(b"alice\r\n") == b"first\r\n"


@pytest.mark.root
def test_in_a_jail_that_shows_the_file_it_is_read(start: Start, tmp_path: Path) -> None:
    jail = tmp_path / "jail"
    config = FIRST + f"process: {{chroot: {jail}}}\nlog: {{to: stderr}}\n"
    path = tmp_path / "fingerd-0.yaml"
    inside = jail / str(path).lstrip("/")
    inside.parent.mkdir(parents=True)
    daemon = start(config)
    assert config_of(daemon) == path
    inside.write_text(config.replace("first", "second"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"second\r\n"


@pytest.mark.root
def test_a_log_file_is_opened_again_by_the_user_whom_the_daemon_became(start: Start, tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    folder = tmp_path / "log"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    log = folder / "log"
    daemon = start(FIRST + "process: {user: nobody}\n")
    log_to(daemon, log, FIRST + f"process: {{user: nobody}}\nlog: {{to: {log}}}\n")
    log.rename(folder / "log.1")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    assert log.stat().st_uid == 65534


@pytest.mark.root
def test_in_a_jail_the_log_goes_on_where_it_is(start: Start, tmp_path: Path) -> None:
    jail, log = tmp_path / "jail", tmp_path / "log"
    config = FIRST + f"process: {{chroot: {jail}}}\n"
    inside = jail / str(tmp_path / "fingerd-0.yaml").lstrip("/")
    inside.parent.mkdir(parents=True)
    inside.write_text(config.replace("first", "second") + f"log: {{to: {log}, format: json}}\n")
    daemon = start(config)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"second\r\n"
    daemon.logged("outcome=answered")


def test_programs_of_a_configuration_of_before_end_with_the_daemon(start: Start, tmp_path: Path) -> None:
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


def test_a_signal_finds_its_handler_as_soon_as_the_pid_is_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"listen: []\nprocess: {{pidfile: {tmp_path}/pid}}\n{FIRST.splitlines()[1]}\n")
    with subprocess.Popen([*FINGERD, "-n", "-c", str(path)], stderr=subprocess.PIPE, text=True) as process:
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
            assert process.poll() is None
        process.send_signal(signal.SIGHUP)
        assert process.stderr
        assert "configuration reloaded" in iter_until(process.stderr, "reloaded")
        process.terminate()
        assert process.wait(10) == 0


def iter_until(lines: Iterable[str], text: str) -> str:
    """The first line that holds the text."""
    return next(line for line in lines if text in line)


# --reload


def call(config: Path, pid: object, *options: str, inside: Iterable[str] = ()) -> tuple[int, str]:
    """The exit code of ``fingerd --reload``, and what it says."""
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
    code, said = call(config, pid)
    assert (code, said.count("\n")) == (0, 1)
    assert said.startswith(f"warning: {config}:3:")
    daemon.logged("configuration reloaded")
    assert daemon.ask(b"alice\r\n") == b"first\r\n"
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "not reloaded" in line]


@pytest.mark.parametrize("text", ["", "0", "-1", "-5", "+5", "1.5", "5x", " 5", "²", "2147483648", "9" * 5000, "self"])
def test_what_is_no_pid_is_wrong_usage(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(FIRST)
    code, said = call(path, text)
    assert (code, said.splitlines()[-1]) == (
        64,
        f"fingerd: argument --reload: {text!r} is not a pid",
    )


@pytest.mark.parametrize("other", [("--check",), ("--query", "alice"), ("--backends",)])
def test_the_command_does_one_thing(other: tuple[str, ...], tmp_path: Path) -> None:
    code, said = call(tmp_path / "fingerd.yaml", 1, *other)
    assert (code, said.splitlines()[-1]) == (64, f"fingerd: argument --reload: not allowed with argument {other[0]}")


def test_a_process_that_is_not_there_or_would_be_ended_is_not_signalled(tmp_path: Path) -> None:
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
def test_where_proc_shows_nothing_the_signal_is_sent(start: Start) -> None:
    need("namespaces")
    daemon = start(FIRST)
    hidden = ("unshare", "--mount", "--", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "-")
    assert call(config_of(daemon), daemon.process.pid, inside=hidden) == (0, "")
    daemon.logged("configuration reloaded")
    with subprocess.Popen(["true"]) as ended:
        pass
    assert call(config_of(daemon), ended.pid, inside=hidden) == (69, f"fingerd: process {ended.pid} does not exist\n")


@pytest.mark.root
def test_root_signals_as_the_user_that_the_daemon_has_become(start: Start, tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    daemon = start(FIRST + "process: {user: nobody}\n")
    config, pid = config_of(daemon), daemon.process.pid
    config.chmod(0o644)
    assert status(pid, "Uid") == ["65534"] * 4
    assert call(config, pid) == (0, "")
    daemon.logged("configuration reloaded")
    config.chmod(0o600)
    reason = "cannot be read: Permission denied (for nobody, so a reload would be refused)"
    assert call(config, pid) == (78, f"{config}: {reason}\n")
    config.chmod(0o644)
    assert call(config, pid, "--uid", "daemon") == (77, f"fingerd: process {pid} cannot be signalled by uid 1\n")
    assert call(config, pid) == (0, "")
    daemon.logged("configuration reloaded")
    assert not [line for line in daemon.log if "not reloaded" in line]
