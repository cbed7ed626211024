"""systemd and inetd: sockets that they pass, and notifications to systemd."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import FINGERD, TIMEOUT, ask, hear
from tests.helpers.http import get

STATIC = "backend: {type: static, users: {alice: Happy and well}}\n"


class Supervisor:
    """A service manager: it receives from NOTIFY_SOCKET, and passes sockets."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.config = directory / "fingerd.yaml"
        self.config.write_text(f"listen: systemd\n{STATIC}")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(TIMEOUT)

    def start(
        self, *listeners: socket.socket, environment: dict[str, str] | None = None, options: tuple[str, ...] = ()
    ) -> "subprocess.Popen[bytes]":
        """Start the daemon with these sockets as descriptors from 3 on."""
        shell = "".join(f"exec {3 + number}<&{listener.fileno()}; " for number, listener in enumerate(listeners))
        shell += f"LISTEN_PID=$$ exec {' '.join(FINGERD)} -n -c {self.config} {' '.join(options)}"
        variables = os.environ | {"NOTIFY_SOCKET": str(self.path)} | (environment or {})
        if listeners:
            variables["LISTEN_FDS"] = str(len(listeners))
        return subprocess.Popen(
            ["bash", "-c", shell], pass_fds=[listener.fileno() for listener in listeners], env=variables
        )

    def received(self) -> str:
        """The next notification."""
        return self.socket.recv(4096).decode()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.socket.close()


@contextlib.contextmanager
def listening(*addresses: str) -> Iterator[list[socket.socket]]:
    """Listening sockets on free ports."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_server((address, 0))) for address in addresses]


def test_passed_sockets_are_served_and_all_states_are_reported(supervisor: Supervisor) -> None:
    with listening("127.0.0.1", "127.0.0.1") as listeners, supervisor.start(*listeners) as process:
        assert supervisor.received() == "READY=1"
        for listener in listeners:
            assert ask(listener.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
        process.send_signal(signal.SIGHUP)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", supervisor.received())
        assert supervisor.received() == "READY=1"
        supervisor.config.write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        assert supervisor.received().startswith("RELOADING=1")
        assert supervisor.received() == "READY=1"  # with the old configuration
        assert ask(listeners[0].getsockname(), b"alice\r\n") == b"Happy and well\r\n"
        process.terminate()
        assert supervisor.received() == "STOPPING=1"
        assert process.wait(TIMEOUT) == 0


def test_passed_sockets_replace_the_configured_ones_and_stay_open(supervisor: Supervisor) -> None:
    supervisor.config.write_text(f'listen: ":79"\n{STATIC}')
    with listening("127.0.0.1") as (listener,):
        for _ in range(2):  # a restart: clients wait in the backlog meanwhile
            with socket.create_connection(listener.getsockname(), TIMEOUT) as early:
                early.sendall(b"alice\r\n")
                with supervisor.start(listener) as process:
                    assert hear(early) == b"Happy and well\r\n"
                    assert supervisor.received() == "READY=1"
                    process.terminate()
                    assert process.wait(TIMEOUT) == 0
                    assert supervisor.received() == "STOPPING=1"


def test_two_processes_share_one_socket(supervisor: Supervisor) -> None:
    with contextlib.ExitStack() as stack:
        (listener,) = stack.enter_context(listening("127.0.0.1"))
        first, second = (stack.enter_context(supervisor.start(listener)) for _ in range(2))
        assert [supervisor.received(), supervisor.received()] == ["READY=1"] * 2
        for _ in range(20):
            assert ask(listener.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
        first.terminate()
        assert first.wait(TIMEOUT) == 0
        assert ask(listener.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
        second.terminate()
        assert second.wait(TIMEOUT) == 0


def test_a_client_accepted_before_sigterm_is_still_answered(supervisor: Supervisor) -> None:
    with listening("127.0.0.1") as (listener,), supervisor.start(listener) as process:
        assert supervisor.received() == "READY=1"
        with socket.create_connection(listener.getsockname(), TIMEOUT) as late:
            ask(listener.getsockname(), b"alice\r\n")  # once this one is answered, the other is accepted too
            process.terminate()
            assert supervisor.received() == "STOPPING=1"
            late.sendall(b"alice\r\n")
            assert hear(late) == b"Happy and well\r\n"
        assert process.wait(TIMEOUT) == 0


OFTEN = """
import sys
from fingerd.daemon import systemd
from fingerd.daemon.cli import main
systemd.STATUS_SECONDS = 0.2
sys.exit(main())
"""
STATUS = re.compile(r"STATUS=(\d+) connections, (\d+\.\d) queries/s, (\d+) of (\d+) workers")
METRICS = "metrics: {{listen: 'unix:{folder}/metrics'}}\n"


@pytest.mark.parametrize("section", ["", METRICS], ids=["without metrics", "with them"])
def test_the_status_tells_of_connections_queries_and_workers(
    supervisor: Supervisor, tmp_path: Path, section: str
) -> None:
    section = section.format(folder=tmp_path)
    os.mkfifo(tmp_path / "gate")
    command = f"backend: {{type: command, argv: [cat, {tmp_path}/gate], timeout: 20}}\n"
    supervisor.config.write_text(f"listen: unix:{tmp_path}/socket\nlimits: {{threads: 8}}\n{command}{section}")
    arguments = [sys.executable, "-c", OFTEN, "-n", "-c", str(supervisor.config)]
    with subprocess.Popen(arguments, env=os.environ | {"NOTIFY_SOCKET": str(supervisor.path)}) as process:
        assert supervisor.received() == "READY=1"
        try:
            assert status_that(supervisor, lambda *figures: figures == (0, 0.0, 0, 8))
            with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as waiting:
                for client in (silent, waiting):
                    client.connect(f"{tmp_path}/socket")
                waiting.sendall(b"bob\r\n")
                assert status_that(supervisor, lambda *figures: figures == (2, 0.0, 1, 8))
                if section:  # which is no query, and no client
                    assert get(f"{tmp_path}/metrics", "/metrics").status == 200
                (tmp_path / "gate").write_text("open\n")
                assert hear(waiting) == b"open\r\n"
                waiting.close()
                assert status_that(supervisor, lambda _, rate, *__: 0 < rate <= 5.0)  # one in 0.2 seconds, or more
                assert status_that(supervisor, lambda *figures: figures == (1, 0.0, 0, 8))
        finally:
            process.terminate()
        assert process.wait(TIMEOUT) == 0


def status_that(supervisor: Supervisor, condition: Callable[[int, float, int, int], bool]) -> bool:
    """Wait for a STATUS= whose figures are as the condition says."""
    for _ in range(200):
        found = STATUS.fullmatch(supervisor.received())
        assert found
        connections, rate, busy, threads = found.groups()
        if condition(int(connections), float(rate), int(busy), int(threads)):
            return True
    return False


FORBIDDEN = """
import os, sys
def forbidden(*_): raise PermissionError(1, "forbidden by a sandbox")
os.setuid = os.setgid = os.chown = forbidden
from fingerd.daemon.cli import main
sys.exit(main())
"""


def test_a_sandbox_that_forbids_setuid_is_no_problem_if_nothing_changes(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.config.write_text(f"listen: unix:{tmp_path}/socket\n{STATIC}")
    command = [sys.executable, "-c", FORBIDDEN, "-n", "-c", str(supervisor.config)]
    with subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": str(supervisor.path)}) as process:
        assert supervisor.received() == "READY=1"
        assert ask(f"{tmp_path}/socket", b"alice\r\n") == b"Happy and well\r\n"
        process.terminate()
        assert process.wait(TIMEOUT) == 0


def test_a_passed_unix_socket_is_not_removed(supervisor: Supervisor, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        with supervisor.start(listener) as process:
            assert supervisor.received() == "READY=1"
            assert ask(str(tmp_path / "socket"), b"alice\r\n") == b"Happy and well\r\n"
            process.terminate()
            assert process.wait(TIMEOUT) == 0
    assert (tmp_path / "socket").exists()


def test_without_passed_sockets_listen_systemd_is_78(supervisor: Supervisor) -> None:
    done = subprocess.run([*FINGERD, "-n", "-c", str(supervisor.config)], capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.splitlines()[-1] == "fingerd: listen is systemd, but no socket was passed to this process"


def test_sockets_for_another_pid_are_ignored(supervisor: Supervisor) -> None:
    with listening("127.0.0.1") as (listener,):
        code = "import os, sys; os.environ['LISTEN_PID'] = '1'; from fingerd.daemon.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, "-n", "-c", str(supervisor.config)],
            pass_fds=[listener.fileno()],
            env=os.environ | {"LISTEN_FDS": "1"},
            capture_output=True,
            check=False,
        )
    assert done.returncode == 78


def test_a_socket_that_does_not_listen_is_78(supervisor: Supervisor) -> None:
    with socket.socket() as idle, supervisor.start(idle) as process:
        assert process.wait(TIMEOUT) == 78


def test_a_notify_socket_that_cannot_be_connected_is_78(supervisor: Supervisor) -> None:
    with listening("127.0.0.1") as (listener,):
        with supervisor.start(listener, environment={"NOTIFY_SOCKET": "/nowhere/notify"}) as process:
            assert process.wait(TIMEOUT) == 78


def test_the_watchdog_is_notified_even_when_idle(supervisor: Supervisor) -> None:
    with listening("127.0.0.1") as (listener,):
        with supervisor.start(listener, environment={"WATCHDOG_USEC": "400000"}) as process:
            assert "READY=1" in [supervisor.received() for _ in range(2)]
            started = time.monotonic()
            assert [supervisor.received() for _ in range(5)] == ["WATCHDOG=1"] * 5
            assert time.monotonic() - started < 2
            process.terminate()
            assert process.wait(TIMEOUT) == 0


ODD_VARIABLES = {
    "no number": {"WATCHDOG_USEC": "soon"},
    "a negative number": {"WATCHDOG_USEC": "-400000"},
    "a fraction": {"WATCHDOG_USEC": "4e5"},
    "zero": {"WATCHDOG_USEC": "0"},
    "another digit": {"WATCHDOG_USEC": "4\u00b2"},
    "longer than epoll waits": {"WATCHDOG_USEC": "9" * 14},
    "longer than any clock counts": {"WATCHDOG_USEC": "9" * 30},
    "three weeks": {"WATCHDOG_USEC": "1800000000000"},
    "for another process": {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"},
    "for no process": {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "here"},
    "names of descriptors": {"LISTEN_FDNAMES": "a:b:c:" + "d" * 1000},
}


@pytest.mark.parametrize("environment", ODD_VARIABLES.values(), ids=ODD_VARIABLES)
def test_odd_variables_of_a_supervisor_are_ignored(supervisor: Supervisor, environment: dict[str, str]) -> None:
    with listening("127.0.0.1") as (listener,):
        with supervisor.start(listener, environment=environment) as process:
            while supervisor.received() != "READY=1":
                pass
            assert ask(listener.getsockname(), b"alice\r\n") == b"Happy and well\r\n"
            process.terminate()
            assert process.wait(TIMEOUT) == 0
            states = []
            with contextlib.suppress(BlockingIOError):
                supervisor.socket.setblocking(False)
                while True:
                    states.append(supervisor.received())
            assert "STOPPING=1" in states


def test_the_notify_socket_may_be_abstract(tmp_path: Path) -> None:
    config = tmp_path / "fingerd.yaml"
    config.write_text(f"listen: []\n{STATIC}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        name = f"fingerd-test-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.settimeout(TIMEOUT)
        with subprocess.Popen(
            [*FINGERD, "-n", "-c", str(config)], env=os.environ | {"NOTIFY_SOCKET": f"@{name}"}
        ) as process:
            assert abstract.recv(100) == b"READY=1"
            process.terminate()


@pytest.mark.root
def test_notifications_are_sent_from_a_chroot(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "chroot").mkdir()
    with listening("127.0.0.1") as (listener,):
        with supervisor.start(listener, options=("--chroot", str(tmp_path / "chroot"), "--uid", "nobody")) as process:
            assert supervisor.received() == "READY=1"
            process.terminate()
            assert supervisor.received() == "STOPPING=1"
            assert process.wait(TIMEOUT) == 0


def inetd(config: Path, *options: str) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """fingerd as inetd starts it, with the client as descriptors 0, 1 and 2."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), TIMEOUT)
        accepted, _ = listener.accept()
    with accepted:
        number = accepted.fileno()
        return subprocess.Popen(
            [*FINGERD, "-c", str(config), *options], stdin=number, stdout=number, stderr=number
        ), client


@pytest.fixture
def inetd_config(tmp_path: Path) -> Path:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"listen: inetd\nlog: {{to: {tmp_path}/log}}\nlimits: {{read_seconds: 0.5}}\n{STATIC}")
    return path


INETD = {
    "known": (b"alice\r\n", b"Happy and well\r\n"),
    "unknown": (b"bob\r\n", b"No such user\r\n"),
    "silent": (b"", b""),
    "too long": (b"x" * 5000, b"Query too long\r\n"),
}


@pytest.mark.parametrize(("query", "answer"), INETD.values(), ids=INETD)
def test_the_client_of_inetd_is_answered_once_and_the_process_exits(
    inetd_config: Path, query: bytes, answer: bytes
) -> None:
    process, client = inetd(inetd_config)
    with process, client:
        client.sendall(query)
        assert hear(client) == answer
        client.close()
        assert process.wait(TIMEOUT) == 0
    assert "client=127.0.0.1" in (inetd_config.parent / "log").read_text()


@pytest.mark.parametrize("name", ["", "{directory}/client", "\0fingerd-{pid}"])
def test_the_client_of_inetd_may_have_a_unix_socket_with_a_name(inetd_config: Path, name: str) -> None:
    path = inetd_config.parent / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen()
        if name:
            client.bind(name.format(directory=path.parent, pid=os.getpid()))
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        accepted, _ = listener.accept()
        with accepted, subprocess.Popen([*FINGERD, "-c", str(inetd_config)], stdin=accepted.fileno()) as process:
            accepted.close()
            client.sendall(b"alice\r\n")
            assert hear(client) == b"Happy and well\r\n"
            client.close()
            assert process.wait(TIMEOUT) == 0
    assert "client=unix" in (path.parent / "log").read_text()


def test_the_client_of_inetd_must_be_a_stream_socket(inetd_config: Path) -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        done = subprocess.run(
            [*FINGERD, "-c", str(inetd_config)], stdin=there.fileno(), capture_output=True, check=False
        )
    assert done.returncode == 78


@pytest.mark.parametrize("config", ["nonsense: [", "listen: inetd\nbackend: {type: nosuch}\n"])
def test_the_client_of_inetd_receives_no_error_message(inetd_config: Path, config: str) -> None:
    inetd_config.write_text(config)
    process, client = inetd(inetd_config)
    with process, client:
        assert hear(client) == b""
        assert process.wait(TIMEOUT) == 78


def test_the_client_of_inetd_receives_no_log_line(inetd_config: Path) -> None:
    inetd_config.write_text("listen: inetd\nbackend: {type: command, argv: [sh, -c, 'echo secret >&2; exit 1']}\n")
    for options in ((), ("-n",)):
        process, client = inetd(inetd_config, *options)
        with process, client:
            client.sendall(b"alice\r\n")
            assert hear(client) == b"Internal error in server\r\n"
            client.close()
            assert process.wait(TIMEOUT) == 0


def test_without_a_client_listen_inetd_is_78(inetd_config: Path) -> None:
    done = subprocess.run(
        [*FINGERD, "-c", str(inetd_config)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        78,
        "fingerd: listen is inetd, but descriptor 0 is not a client connection\n",
    )


def test_options_that_conflict_with_inetd_are_problems(inetd_config: Path) -> None:
    inetd_config.write_text(f"listen: [inetd, ':79']\nprocess: {{pidfile: /tmp/x}}\n{STATIC}")
    done = subprocess.run([*FINGERD, "--check", "-c", str(inetd_config)], capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        f"{inetd_config}:1:9: listen: inetd cannot be combined with other addresses",
        f"{inetd_config}:2:20: process.pidfile: inetd starts a process for each client",
    ]
