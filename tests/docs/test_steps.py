"""The steps of docs/tutorial.md, each the example of its number, run as it ships and asked over TCP."""

import contextlib
import http.server
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import Start
from tests.helpers.daemons import EXAMPLES, FINGERD, Daemon, Machine, ask, hear, let_everybody_in, status, wait_until
from tests.helpers.requirements import find, needs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_02_refuses_connections_uses_no_cpu_and_ends_with_0(example: Start, number: int) -> None:
    daemon = example("02")
    assert daemon.listening == "nothing"
    open_files = [str(link.readlink()) for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir()]
    assert not [name for name in open_files if name.startswith("socket:")]
    before = cpu_nanoseconds(daemon)
    time.sleep(1)  # a second of doing nothing, measured
    assert cpu_nanoseconds(daemon) - before < 1_000_000
    assert daemon.stop(number) == 0


def cpu_nanoseconds(daemon: Daemon) -> int:
    """What all its threads have spent on a processor."""
    tasks = Path(f"/proc/{daemon.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


@pytest.mark.root
def test_02_refuses_connections_on_a_whole_host(example: Start, host: Machine) -> None:
    example("02", inside=host.inside)
    for port in ("79", "1079"):
        assert "Connection refused" in host.run("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}").stderr


def test_03_does_nothing_until_read_seconds_are_over(start: Start) -> None:
    text = (EXAMPLES / "03-hold.yaml").read_text().replace("127.0.0.1:1079", "127.0.0.1:0")
    daemon = start(text.replace("read_seconds: 10", "read_seconds: 0.7"))
    with daemon.connect() as client:
        begun = time.monotonic()
        client.sendall(b"moshez\r\nwhoever\r\n" + b"x" * 10_000)
        assert hear(client) == b""
        assert 0.6 < time.monotonic() - begun < 3
    assert "outcome=dropped bytes=0" in daemon.logged("client=")


def test_03_closes_when_the_client_does_and_survives_a_flood(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: hold}\nlimits: {read_seconds: 1}\n')
    with daemon.connect():
        pass
    assert "outcome=hung-up" in daemon.logged("client=")
    with daemon.connect() as client, contextlib.suppress(ConnectionError, TimeoutError):
        client.settimeout(0.2)
        client.sendall(b"x" * 20_000_000)  # more than anybody throws away: the rest stays with the client
    daemon.logged("client=")


def test_04_closes_at_once_without_a_reset_even_while_the_client_sends(example: Start) -> None:
    daemon = example("04")
    with daemon.connect() as client:
        for _ in range(50):
            client.sendall(b"x" * 2000)
        assert hear(client) == b""
        client.sendall(b"still here\r\n")  # no reset: it may go on for a moment
    assert "outcome=dropped bytes=0" in daemon.logged("client=")


def test_05_reads_the_line_and_closes_without_a_word(example: Start) -> None:
    daemon = example("05")
    with daemon.connect() as client:
        client.sendall(b"mos")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.sendall(b"hez\r\n")
        client.settimeout(5)
        assert hear(client) == b""
    assert 'query="moshez" outcome=dropped bytes=0' in daemon.logged("client=")


@pytest.mark.parametrize("number", ["06", "07"])
def test_06_and_07_know_nobody(example: Start, number: str) -> None:
    daemon = example(number)
    for name in (b"moshez", b"root", "Zoë".encode(), b"../../etc/passwd"):
        assert daemon.ask(name + b"\r\n") == b"No such user\r\n"


def test_08_knows_its_users(example: Start) -> None:
    daemon = example("08")
    assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"
    assert daemon.ask(b"nobody\r\n") == b"No such user\r\n"


@pytest.mark.serial
def test_08_answers_within_half_a_second_of_its_start(example: Start) -> None:
    def start_to_answer() -> float:
        begun = time.monotonic()
        assert example("08").ask(b"moshez\r\n") == b"Happy and well\r\n"
        return time.monotonic() - begun

    assert min(start_to_answer() for _ in range(5)) < 0.5


def test_08_does_not_import_requests(example: Start) -> None:
    maps = Path(f"/proc/{example('08').process.pid}/maps").read_text()
    assert "_ssl" not in maps  # the library that requests cannot do without


@pytest.mark.serial
def test_09_slow_answers_hold_nobody_up(example: Start) -> None:
    daemon = example("09", {"sleep 2": "sleep 1"})
    begun = time.monotonic()
    with contextlib.ExitStack() as clients:
        slow = [clients.enter_context(daemon.connect()) for _ in range(6)]
        for client in slow:
            client.sendall(b"slow\r\n")
        assert daemon.ask(b"quick\r\n") == b"Here at once\r\n"
        assert time.monotonic() - begun < 0.9
        assert [hear(client) for client in slow] == [b"Here after 2 seconds\r\n"] * 6
    assert time.monotonic() - begun < 4  # not one after the other


def test_09_the_cause_of_a_failure_is_in_the_log_only(example: Start) -> None:
    daemon = example("09")
    assert daemon.ask(b"broken\r\n") == b"Internal error in server\r\n"
    assert "the disk is on fire" in daemon.logged("WARNING")
    assert "outcome=error" in daemon.logged("client=")
    daemon.stop()
    assert len([line for line in daemon.log if "on fire" in line]) == 1
    assert not [line for line in daemon.log if "Traceback" in line]


NOT_OPTIONS = [b"-l", b";id", b"$(id)", b"../../etc/passwd", b"a b", b"`id`", b"|id", b"-", b"--", b"root\tnobody"]


@needs("finger")
def test_10_prints_what_the_local_finger_prints(example: Start) -> None:
    daemon = example("10")
    local = subprocess.run(
        ["finger", "root"], capture_output=True, check=True, env={"PATH": "/usr/bin", "LC_ALL": "C.UTF-8"}
    ).stdout
    assert local.startswith(b"Login: root")
    assert daemon.ask(b"root\r\n") == local.replace(b"\n", b"\r\n")
    assert daemon.ask(b"no-such-user-here\r\n") == b"No such user\r\n"
    for name in NOT_OPTIONS:
        assert daemon.ask(name + b"\r\n") == b"No such user\r\n", name


@pytest.mark.parametrize("name", NOT_OPTIONS)
def test_10_names_are_one_argument_or_reach_no_program(example: Start, tmp_path: Path, name: bytes) -> None:
    program = tmp_path / "arguments"
    program.write_text('#!/bin/sh\necho "$# <$1>"\n')
    program.chmod(0o755)
    answer = example("10", {"[finger,": f"[{program},"}).ask(name + b"\r\n")
    assert answer == (b"No such user\r\n" if name.startswith(b"-") else b"1 <" + name + b">\r\n")


class Pages(http.server.BaseHTTPRequestHandler):
    """A web server with a few users."""

    def do_GET(self) -> None:
        """Answer by the last segment of the path."""
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        user = unquote(self.path.rpartition("/~")[2])
        known = {"moshez": "Happy and well\n", "Zoë": "bäh\n", "a b": "inner blank\n"}
        self.send_response(500 if user == "broken" else 200 if user in known else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(known.get(user, "no page, and no word of this for anybody").encode())

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture
def pages() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.paths = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def test_11_tells_the_page_of_the_user(example: Start, pages: http.server.ThreadingHTTPServer) -> None:
    daemon = example("11", {"127.0.0.1:8000": f"127.0.0.1:{pages.server_address[1]}"})
    assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"
    assert daemon.ask("Zoë\r\n".encode()) == "bäh\r\n".encode()
    assert daemon.ask(b"a b\r\n") == b"inner blank\r\n"
    assert daemon.ask(b"nobody\r\n") == b"No such user\r\n"
    assert daemon.ask(b"broken\r\n") == b"Internal error in server\r\n"
    assert "status 500" in daemon.logged("WARNING")
    assert daemon.ask(b"x/y?z#w\r\n") == b"No such user\r\n"
    assert daemon.ask(b"../../x?y#z\r\n") == b"No such user\r\n"
    assert daemon.ask(b"..\r\n") == b"No such user\r\n"
    assert pages.paths == [  # type: ignore[attr-defined]
        "/~moshez",
        "/~Zo%C3%AB",
        "/~a%20b",
        "/~nobody",
        "/~broken",
        "/~x%2Fy%3Fz%23w",
    ]


@pytest.mark.root
@needs("namespaces", "ip", "finger", "lynx")
def test_12_binds_port_79_and_gives_root_away(example: Start, host: Machine) -> None:
    daemon = example("12", {"to: syslog": "to: stderr"}, inside=host.inside)
    for query in ("moshez@localhost", "-l moshez@localhost", "moshez@127.0.0.1", "moshez@::1"):
        told = host.run("finger", *query.split()).stdout
        assert told.splitlines()[-1] == "Happy and well", query
    assert "Happy and well" in host.run("lynx", "-dump", "finger://localhost/moshez").stdout
    uid, gid = (str(number) for number in (65534, 65534))  # nobody, nogroup
    pid = daemon.process.pid
    assert status(pid, "Uid") == [uid] * 4
    assert status(pid, "Gid") == [gid] * 4
    assert set(status(pid, "Groups")) <= {gid}
    assert [status(pid, field) for field in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [["0" * 16]] * 4
    assert daemon.stop() == 0


@pytest.mark.root
@needs("namespaces", "ip", "finger")
def test_13_is_a_daemon_with_everything_from_its_configuration(tmp_path: Path, host: Machine) -> None:
    text = (EXAMPLES / "13-daemon.yaml").read_text()
    for old, new in {"/run/fingerd.pid": f"{tmp_path}/pid", "/var/log/fingerd.log": f"{tmp_path}/log"}.items():
        assert old in text
        text = text.replace(old, new)
    config = tmp_path / "13.yaml"
    config.write_text(text)
    tmp_path.chmod(0o755)
    done = host.run(*FINGERD, "-c", str(config))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert host.run("finger", "moshez@localhost").stdout.splitlines()[-1] == "Happy and well"
    pid = int((tmp_path / "pid").read_text())
    assert status(pid, "Uid") == ["65534"] * 4
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: "stopped" in (tmp_path / "log").read_text())
    assert 'query="moshez" outcome=answered' in (tmp_path / "log").read_text()
    with pytest.raises(ConnectionRefusedError):
        ask(("127.0.0.1", 79), b"moshez\r\n")


def test_every_step_passes_the_check(tmp_path: Path) -> None:
    let_everybody_in(tmp_path)  # the user that step 12 becomes has to be able to read it, too
    numbers = []
    for path in sorted(EXAMPLES.glob("[0-9]*.yaml")):
        copy = tmp_path / path.name
        copy.write_text(path.read_text().replace("/srv/fingerd", str(tmp_path)))
        copy.chmod(0o644)
        done = subprocess.run([*FINGERD, "--check", "-c", str(copy)], capture_output=True, text=True, check=False)
        absent = path.name == "10-command.yaml" and not find("finger")
        warning = f"warning: {copy}:8:3: backend: there is no program finger\n" if absent else ""
        assert (done.returncode, done.stderr) == (0, warning), path
        numbers.append(path.name[:2])
    assert numbers == [f"{number:02}" for number in range(2, 19)]
