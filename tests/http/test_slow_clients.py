"""Many slow clients by HTTP: good ones of both doors are answered meanwhile. ``make soak`` measures how soon."""

import contextlib
import re
import resource
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.helpers.daemons import TIMEOUT, hear, status
from tests.helpers.http import HttpDaemon, parse
from tests.helpers.requirements import find, needs
from tests.http.conftest import StartHttp

LONG = "All work and no play makes Jack a dull boy. " * 4000
CONFIG = f'backend: {{type: static, users: {{zoe: {{name: Zoe Quill}}, long: "{LONG}"}}}}\n'
SILENT, DRIPPING = 2000, 100
STARTS = (b"", b"GET /~z", b"GET /~zoe HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n")

MODES = {
    "slow headers": ("-H", "-i", "1", "-x", "24"),
    "slow bodies": ("-B", "-i", "1", "-s", "8192", "-x", "24"),
    "ranges": ("-R", "-a", "1", "-b", "3000"),
    "slow reading": ("-X", "-w", "1", "-y", "1", "-n", "1", "-z", "1", "-k", "3"),
}


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SILENT + DRIPPING + 200:
        pytest.fail(f"the limit of descriptors is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def check_good_clients(daemon: HttpDaemon) -> None:
    assert daemon.get("/~zoe").status == 200
    assert b"Zoe Quill" in daemon.ask(b"zoe\r\n")


def test_thousands_of_silent_and_dripping_clients(start_http: StartHttp, descriptors: None) -> None:
    daemon = start_http(f"{CONFIG}limits: {{per_client: 5000, read_seconds: 10m}}\n")
    threads = status(daemon.process.pid, "Threads")
    with contextlib.ExitStack() as stack:

        def connect(sent: bytes) -> socket.socket:
            client = stack.enter_context(socket.create_connection(daemon.http, TIMEOUT))
            client.send(sent)
            return client

        silent = [connect(STARTS[number % len(STARTS)]) for number in range(SILENT)]
        dripping = [connect(STARTS[2]) for _ in range(DRIPPING)]
        for _ in range(10):
            for client in dripping:
                client.send(b"X")
            check_good_clients(daemon)
        assert status(daemon.process.pid, "Threads") == threads
        # All of them are open still, and get an answer to a whole request.
        for client, sent in ((silent[0], b"GET / HTTP/1.0\r\n\r\n"), (dripping[0], b": y\r\nHost: a\r\n\r\n")):
            client.sendall(sent)
            assert parse(hear(client)).status == 200


@needs("slowhttptest")
def test_the_attacks_of_slowhttptest(start_http: StartHttp) -> None:
    """All of its modes at once, for some seconds each."""
    daemon = start_http(f"{CONFIG}limits: {{per_client: 1100, connections: 600, read_seconds: 1, write_seconds: 1}}\n")
    program = find("slowhttptest")
    assert program
    host, port = daemon.http
    common = ("-c", "250", "-r", "250", "-l", "3", "-p", "2", "-u", f"http://{host}:{port}/~long")
    running = [
        subprocess.Popen([program, *mode, *common], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for mode in MODES.values()
    ]
    asked = 0
    while any(process.poll() is None for process in running):
        # Another address: the attacker's own may have no connection left.
        assert daemon.get("/~zoe", source="127.0.0.9").status == 200
        assert b"Zoe Quill" in daemon.ask(b"zoe\r\n", source="127.0.0.9")
        asked += 1
        time.sleep(0.02)
    for process in running:
        output, _ = process.communicate()
        assert process.returncode in (0, 1), output
        assert "Exit status:" in output
    assert asked > 10
    assert daemon.stop() == 0
    outcomes = Counter(re.findall(r"client=127\.0\.0\.1 .* outcome=(\S+) .* proto=http", "\n".join(daemon.log)))
    assert outcomes["timeout"] > 100
    assert outcomes.total() > 800
