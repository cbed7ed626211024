"""A FIFO, socket, device or directory where a file should be: start and reload report it, and never wait."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.log.writer import Log, open_sink
from tests.conftest import Start
from tests.daemon.conftest import NOBODY, STATIC, run
from tests.helpers.daemons import FINGERD, TIMEOUT, Machine, let_everybody_in, wait_until

LISTEN = 'listen: "127.0.0.1:0"\n'

Make = Callable[[Path], None]


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_suffix(".fifo"))
    path.symlink_to(path.with_suffix(".fifo"))


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD: dict[str, Make] = {
    "fifo": os.mkfifo,
    "socket": make_socket,
    "directory": os.mkdir,
    "link to a fifo": make_link_to_fifo,
    "link to a device": make_link_to_device,
}
odd_files = pytest.mark.parametrize("make", ODD.values(), ids=ODD)

# The log


@odd_files
@pytest.mark.parametrize("options", [(), ("-n",)], ids=["detached", "foreground"])
def test_a_log_that_is_not_a_regular_file_is_reported_with_78(
    make: Make, options: tuple[str, ...], directory: Path
) -> None:
    config, log = directory / "fingerd.yaml", directory / "log"
    config.write_text(f"{LISTEN}{STATIC}")
    make(log)
    done = run("-c", str(config), *options, "-l", str(log))
    reason = f"fingerd: cannot write the log {log}: it is not a regular file\n"
    if make is os.mkdir:
        reason = f"--logfile: log.to: {log} is a directory, not a file\n"
    assert (done.returncode, done.stderr) == (78, reason)


def test_a_fifo_is_no_log_even_if_somebody_reads_it(tmp_path: Path) -> None:
    config, log = tmp_path / "fingerd.yaml", tmp_path / "log"
    config.write_text(f"{LISTEN}{STATIC}")
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    done = run("-n", "-c", str(config), "-l", str(log))
    os.close(reader)
    assert (done.returncode, done.stderr) == (78, f"fingerd: cannot write the log {log}: it is not a regular file\n")


def test_a_terminal_and_dev_null_may_be_the_log() -> None:
    main, terminal = os.openpty()
    sink = open_sink(Log(to=os.ttyname(terminal)), False, None)
    assert os.get_blocking(sink.descriptors()[0])
    for opened in (sink, open_sink(Log(to="/dev/null"), False, (NOBODY, NOBODY))):
        opened.close()
    os.close(main)
    os.close(terminal)


@pytest.mark.parametrize("path", ["stdout", "/dev/fd/3", "/proc/self/fd/4"])
def test_another_inherited_descriptor_is_no_log(path: str, config: Path) -> None:
    done = run("-n", "-c", str(config), "-l", path)
    what = "must be syslog, stderr or the path of a file (did you mean stderr?)"
    assert (done.returncode, done.stderr) == (78, f"--logfile: log.to: {what}\n")


def test_dev_stderr_is_standard_error(start: Start) -> None:
    start(f"{LISTEN}{STATIC}log: {{to: /dev/stderr}}\n")


@pytest.mark.root
@odd_files
def test_a_reload_with_an_odd_log_keeps_the_open_one_and_the_next_reload_works(
    make: Make, start: Start, tmp_path: Path
) -> None:
    let_everybody_in(tmp_path)
    logs = tmp_path / "logs"
    logs.mkdir()
    os.chown(logs, NOBODY, NOBODY)
    log, rotated, odd = logs / "log", logs / "log.1", logs / "odd"
    daemon = start(f"{LISTEN}{STATIC}process: {{user: nobody}}\n")
    daemon.config.write_text(f"{LISTEN}{STATIC}process: {{user: nobody}}\nlog: {{to: {log}}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())
    log.rename(rotated)
    make(log)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "keeping the open log file" in rotated.read_text())
    assert "not reloaded: " in rotated.read_text()
    daemon.ask(b"moshez\r\n")
    wait_until(lambda: "outcome=answered" in rotated.read_text())
    log.rename(odd)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "configuration reloaded" in log.read_text())


# Files that are read


def finger_conf(path: Path) -> str:
    return f"{LISTEN}backend: {{type: aliases, backend: {{type: empty}}, file: {path}}}\n"


def scenario(path: Path) -> str:
    return f"{LISTEN}backend: {{type: scenario, file: {path}}}\n"


def secret(path: Path) -> str:
    return f"{LISTEN}backend: {{type: web, prefix: 'http://localhost/', auth_file: {path}}}\n"


def certificates(path: Path) -> str:
    return f"{LISTEN}backend: {{type: web, prefix: 'https://localhost/', verify: {path}}}\n"


READ = {"finger.conf": finger_conf, "scenario": scenario, "secret": secret, "certificates": certificates}


@odd_files
@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_a_file_that_is_not_regular_is_reported_by_check_and_reload(
    text: Callable[[Path], str], make: Make, start: Start, tmp_path: Path
) -> None:
    path, config = tmp_path / "file", tmp_path / "odd.yaml"
    make(path)
    config.write_text(text(path))
    reason = "Is a directory" if make is os.mkdir and text is not certificates else "Not a regular file"
    done = run("--check", "-c", str(config))
    assert done.returncode == 78
    assert f"{path}: {reason}" in done.stderr
    daemon = start(f"{LISTEN}{STATIC}")
    daemon.config.write_text(text(path))
    daemon.process.send_signal(signal.SIGHUP)
    assert f"{path}: {reason}" in daemon.logged("not reloaded:")
    daemon.config.write_text(f"{LISTEN}{STATIC}")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")


@odd_files
def test_a_configuration_that_is_not_regular_is_reported_by_check_and_reload(
    make: Make, start: Start, tmp_path: Path
) -> None:
    daemon = start(f"{LISTEN}{STATIC}")
    config = daemon.config
    text = config.read_text()
    config.unlink()
    make(config)
    reason = "Is a directory" if make is os.mkdir else "Not a regular file"
    done = run("--check", "-c", str(config))
    assert (done.returncode, done.stderr) == (78, f"{config}: cannot be read: {reason}\n")
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.logged("not reloaded:").endswith(f"{config}: cannot be read: {reason}")
    config.rename(tmp_path / "odd")
    config.write_text(text)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")


@pytest.mark.parametrize("script", ["cat {} | {{ sleep 0.3; fingerd /dev/stdin; }}", "fingerd <(sleep 0.3; cat {})"])
def test_a_configuration_may_come_through_a_pipe(script: str, config: Path) -> None:
    shell = f'fingerd() {{ {" ".join(FINGERD)} --check -c "$@"; }}; {script.format(config)}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("no problem found\n")


# Sockets of others


@contextlib.contextmanager
def full_queue(path: Path) -> Iterator[None]:
    """A listening stream socket that accepts nobody, and whose queue is full."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        while True:
            client = opened.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        yield


def test_a_unix_socket_with_a_full_queue_is_in_use(tmp_path: Path) -> None:
    path, config = tmp_path / "socket", tmp_path / "fingerd.yaml"
    config.write_text(f"listen: unix:{path}\n{STATIC}")
    with full_queue(path):
        done = run("-n", "-c", str(config))
        assert path.is_socket()
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        69,
        f"fingerd: cannot listen on unix:{path}: Address already in use",
    )


@pytest.mark.root
def test_a_syslog_with_a_full_queue_is_absent(host: Machine, directory: Path) -> None:
    config = directory / "fingerd.yaml"
    config.write_text(f"{LISTEN}{STATIC}process: {{pidfile: {directory}/pid, user: nobody}}\n")
    with full_queue(directory / "dev" / "log"):
        (directory / "dev" / "log").chmod(0o666)
        done = host.run(*FINGERD, "-c", str(config))
        assert (done.returncode, "syslog is not available" in done.stderr) == (0, True)
        os.kill(int((directory / "pid").read_text()), signal.SIGHUP)  # a reload connects again
        os.kill(int((directory / "pid").read_text()), signal.SIGTERM)
    pid = int((directory / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())


def test_a_syslog_on_a_stream_socket_is_used(host: Machine, directory: Path) -> None:
    config = directory / "fingerd.yaml"
    config.write_text(f"{LISTEN}{STATIC}process: {{pidfile: {directory}/pid}}\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "dev" / "log"))
        listener.listen()
        listener.settimeout(TIMEOUT)
        done = host.run(*FINGERD, "-c", str(config))
        client, _ = listener.accept()
        with client:
            client.settimeout(TIMEOUT)
            received = b""
            while b"listening on" not in received:
                received += client.recv(4096)
            os.kill(int((directory / "pid").read_text()), signal.SIGTERM)
    assert (done.returncode, "syslog is not available" in done.stderr) == (0, False)


def test_a_service_manager_that_does_not_read_stops_nothing(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.sendto(b"X=1", str(tmp_path / "notify"))
        variables = (f"NOTIFY_SOCKET={tmp_path}/notify", "WATCHDOG_USEC=100000")
        daemon = start(f"{LISTEN}{STATIC}", inside=("env", *variables))
        for _ in range(20):
            assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged("configuration reloaded")
