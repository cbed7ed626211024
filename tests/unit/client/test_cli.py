"""pyfinger as a process: what it sends to real servers, good and hostile, what it prints, and its exit codes."""

import contextlib
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.peers import UnavailableError, debian
from fingerd import __version__
from fingerd.client.ask import NoAnswerError, fetch
from fingerd.protocol.query import Query
from tests.conftest import Start
from tests.helpers.daemons import ROOT, TIMEOUT, Daemon, Machine, wait_until
from tests.helpers.ports import free_port
from tests.helpers.requirements import need
from tests.helpers.surroundings import in_surroundings

PYFINGER = (sys.executable, "-m", "fingerd.client")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYFINGER", "LC_", "LANG"))}
PLAIN = {9, 10, *range(32, 127)}
ALL_BYTES = bytes(range(256)) + "".join(map(chr, range(0x80, 0xA0))).encode() + "\u202e\u2066\u200f".encode()

CONFIG = """
listen: "127.0.0.1:0"
backend:
  type: static
  users:
    moshez: Happy and well
    zoë: "Zoë \\e]0;owned\\a"
    brindle: {name: Brindle Oakenshaw, directory: /home/brindle}
policy:
  - {from: local, show: everything, list: true}
"""


def pyfinger(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run pyfinger with these arguments in a UTF-8 locale."""
    return subprocess.run(
        [*PYFINGER, *arguments],
        capture_output=True,
        check=False,
        env=ENVIRONMENT | {"LC_ALL": "C.UTF-8"} | environment,
        timeout=TIMEOUT * 2,
    )


def outcome(done: "subprocess.CompletedProcess[bytes]") -> tuple[int, str, str]:
    """Exit code, output, errors."""
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Server:
    """Reads one line of each client, and then calls ``answer`` with the client."""

    def __init__(self, answer: Callable[[socket.socket], object], address: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family)
        self._answer = answer
        self.port: int = self._listener.getsockname()[1]
        self.received: list[bytes] = []
        self.ending = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            with client, contextlib.suppress(OSError):
                if self.ending.is_set():
                    return
                with client.makefile("rb") as lines:
                    self.received.append(lines.readline())
                self._answer(client)

    def close(self) -> None:
        """Stop it."""
        self.ending.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname()[:2], timeout=TIMEOUT).close()
        self._thread.join(TIMEOUT)
        self._listener.close()
        assert not self._thread.is_alive()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers on free ports of loopback, and stops them."""
    started: list[Server] = []

    def serve(
        answer: bytes | Callable[[socket.socket], object] = b"", host: str = "127.0.0.1", port: int = 0
    ) -> Server:
        do = answer if callable(answer) else lambda client: client.sendall(answer)
        started.append(Server(do, (host, port)))
        return started[-1]

    yield serve
    for server in started:
        server.close()


@pytest.fixture
def daemon(start: Start) -> Daemon:
    return start(CONFIG)


# Good servers


def test_it_prints_the_answers_of_fingerd(daemon: Daemon) -> None:
    port = daemon.address[1]
    assert outcome(pyfinger(f"moshez@localhost:{port}")) == (0, "Happy and well\n", "")
    assert outcome(pyfinger("-p", str(port), "moshez")) == (0, "Happy and well\n", "")
    assert outcome(pyfinger("-p", str(port), "nobody")) == (0, "No such user\n", "")
    assert outcome(pyfinger("-8", f"zoë@127.0.0.1:{port}")) == (0, "Zoë ?]0;owned?\n", "")
    assert outcome(pyfinger(f"zoë@127.0.0.1:{port}")) == (0, "Zo? ?]0;owned?\n", "")
    assert outcome(pyfinger("-8", f"finger://localhost:{port}/zo%C3%AB")) == (0, "Zoë ?]0;owned?\n", "")
    assert "Brindle Oakenshaw" in outcome(pyfinger("-p", str(port)))[1]
    assert "/home/brindle" not in outcome(pyfinger("-p", str(port), "brindle"))[1]
    assert "/home/brindle" in outcome(pyfinger("-lp", str(port), "brindle"))[1]


def test_the_answers_of_several_targets_have_headings_and_all_are_queried(daemon: Daemon) -> None:
    port = str(daemon.address[1])
    silent = free_port()
    asked = ("moshez", f"bob@127.0.0.1:{silent}", "nobody@127.0.0.1", "-p", port)
    assert outcome(pyfinger(*asked)) == (
        1,
        f"[localhost]\nHappy and well\n\n[bob@127.0.0.1:{silent}]\n\n[nobody@127.0.0.1]\nNo such user\n",
        f"pyfinger: 127.0.0.1: port {silent}: Connection refused\n",
    )


def test_the_answers_of_one_host_are_headed_by_what_was_asked(serve: Serve) -> None:
    server = serve(b"heard\r\n")
    port = str(server.port)
    asked = {
        "alice@127.0.0.1": "alice@127.0.0.1",
        f"bob@127.0.0.1:{port}": f"bob@127.0.0.1:{port}",
        "@127.0.0.1": "@127.0.0.1",
        "zoë smith@127.0.0.1": "zoë smith@127.0.0.1",
        "carol@one@127.0.0.1": "carol@one@127.0.0.1",
        "finger://127.0.0.1/%2FW%20dan": "/W dan@127.0.0.1",
        "eve": "localhost",
    }
    headings = "\n".join(f"[{heading}]\nheard\n" for heading in asked.values())
    assert outcome(pyfinger("-p", port, *asked)) == (0, headings, "")
    international = pyfinger("-8p", port, "zoë", "a\u202eb")
    assert outcome(international) == (0, "[zoë@localhost]\nheard\n\n[a?b@localhost]\nheard\n", "")
    assert outcome(pyfinger("-p", port, "alice@127.0.0.1"))[1] == "heard\n"


LINES = {
    "no target": (("-p", "PORT"), b"\r\n"),
    "a list": (("@127.0.0.1:PORT",), b"\r\n"),
    "a list in the long form": (("-l", "@127.0.0.1:PORT"), b"/W\r\n"),
    "a user": (("bob@127.0.0.1:PORT",), b"bob\r\n"),
    "a user in the long form": (("--long", "bob@127.0.0.1:PORT"), b"/W bob\r\n"),
    "an option after the target": (("bob", "-l", "--port=PORT"), b"/W bob\r\n"),
    "forwarding": (("bob@one@two@127.0.0.1:PORT",), b"bob@one@two\r\n"),
    "forwarding in the long form": (("-l", "bob@one@127.0.0.1:PORT",), b"/W bob@one\r\n"),
    "a name in UTF-8": (("zoë@127.0.0.1:PORT",), "zoë\r\n".encode()),
    "a name like an option": (("-p", "PORT", "--", "-l"), b"-l\r\n"),
    "a URL": (("finger://127.0.0.1:PORT/bob",), b"bob\r\n"),
    "a URL with the port as an option": (("-p", "PORT", "finger://127.0.0.1/bob"), b"bob\r\n"),
    "a URL with a user": (("finger://bob@127.0.0.1:PORT",), b"bob\r\n"),
    "a URL in the long form": (("finger://127.0.0.1:PORT/%2fW%20bob",), b"/W bob\r\n"),
    "a URL in the long form twice": (("-l", "finger://127.0.0.1:PORT/%2fW%20bob"), b"/W bob\r\n"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "line"), LINES.values(), ids=LINES)
def test_what_the_server_receives(serve: Serve, arguments: tuple[str, ...], line: bytes) -> None:
    server = serve(b"heard\r\n")
    done = pyfinger(*(argument.replace("PORT", str(server.port)) for argument in arguments))
    assert outcome(done) == (0, "heard\n", "")
    assert server.received == [line]


def test_it_queries_the_server_of_debian(tmp_path: Path) -> None:
    need("systemd-socket-activate")
    try:
        command, _ = debian()
    except UnavailableError as error:
        pytest.skip(f"needs Debian's fingerd, which apt-get fetches: {error}")
    port = free_port()
    with subprocess.Popen(
        [part.replace("{port}", str(port)) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_until(lambda: pyfinger(f"root@127.0.0.1:{port}").returncode == 0)
            code, printed, complained = outcome(pyfinger("-l", f"root@127.0.0.1:{port}"))
            assert (code, complained) == (0, "")
            assert re.search(r"^Login: root\b.*\n(.*\n)*Directory: /root", printed, re.MULTILINE)
            assert "\r" not in printed
        finally:
            server.terminate()


# -4 and -6


def serve_ipv6(serve: Serve, answer: bytes, port: int = 0) -> Server:
    try:
        return serve(answer, "::1", port)
    except OSError as error:
        pytest.skip(f"needs IPv6 on loopback: {error}")


def test_ipv6_addresses_are_queried(serve: Serve) -> None:
    server = serve_ipv6(serve, b"six\r\n")
    assert outcome(pyfinger(f"bob@[::1]:{server.port}")) == (0, "six\n", "")
    assert outcome(pyfinger("-6", f"finger://[::1]:{server.port}/bob")) == (0, "six\n", "")
    code, printed, complained = outcome(pyfinger("-4", f"bob@[::1]:{server.port}"))
    assert (code, printed) == (1, "")
    assert complained.startswith("pyfinger: ::1: ")
    assert outcome(pyfinger("-6", f"bob@127.0.0.1:{server.port}"))[:2] == (1, "")
    assert len(server.received) == 2


def run_on(host: Machine, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run pyfinger on a host where both.example has an IPv6 and an IPv4 address, and no name server answers."""
    (folder / "hosts").write_text(
        "::1 both.example\n127.0.0.1 both.example\n192.0.2.1 silent.example\n192.0.2.3 silent.example\n"
    )
    (folder / "resolv.conf").write_text("nameserver 192.0.2.53\noptions timeout:30\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    script = (
        f"for name in hosts resolv.conf nsswitch.conf; do mount --bind {folder}/$name /etc/$name; done;"
        f' cd {ROOT} && exec "$@"'
    )
    done = host.run("unshare", "--mount", "sh", "-c", script, "-", *PYFINGER, *arguments, seconds=TIMEOUT * 2)
    return done.returncode, done.stdout, done.stderr


ANSWERS_ON = """
import socket, sys
listener = socket.create_server((sys.argv[1], 1079), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print(end="ready", flush=True)
while True:
    client, _ = listener.accept()
    client.recv(100)
    client.sendall(sys.argv[1].encode())
    client.close()
"""


# A listener whose backlog is full, so that it neither accepts nor refuses; and a name server that does not answer.
SILENT = """
import socket, sys
listener = socket.create_server(("192.0.2.1", 1079), backlog=0)
fillers = [socket.socket() for _ in range(4)]
for filler in fillers:
    filler.setblocking(False)
    filler.connect_ex(("192.0.2.1", 1079))
names = socket.socket(type=socket.SOCK_DGRAM)
names.bind(("192.0.2.53", 53))
print(end="ready", flush=True)
while True:
    names.recv(512)
"""


@contextlib.contextmanager
def running(host: Machine, *programs: tuple[str, ...]) -> Iterator[None]:
    """Run these Python programs with their arguments on that host."""
    with contextlib.ExitStack() as stack:
        for program in programs:
            command = [*host.inside, sys.executable, "-c", *program]
            server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(server.kill)
            assert server.stdout
            assert server.stdout.read(5) == b"ready"
        yield


@pytest.mark.root
def test_every_address_of_the_selected_family_is_tried(host: Machine, tmp_path: Path) -> None:
    target = "bob@both.example:1079"
    with running(host, (ANSWERS_ON, "::1"), (ANSWERS_ON, "127.0.0.1")):
        assert run_on(host, tmp_path, "-4", target) == (0, "127.0.0.1\n", "")
    with running(host, (ANSWERS_ON, "::1")):
        assert run_on(host, tmp_path, "-6", target) == (0, "::1\n", "")
        assert run_on(host, tmp_path, target) == (0, "::1\n", "")
        refused = "pyfinger: both.example: port 1079: Connection refused\n"
        assert run_on(host, tmp_path, "-4", target) == (1, "", refused)
    with running(host, (ANSWERS_ON, "127.0.0.1")):
        assert run_on(host, tmp_path, target) == (0, "127.0.0.1\n", "")


@pytest.mark.root
def test_the_timeout_covers_silent_addresses_and_name_servers(host: Machine, tmp_path: Path) -> None:
    for address in ("192.0.2.1", "192.0.2.3", "192.0.2.53"):
        assert host.run("ip", "addr", "add", address, "dev", "lo").returncode == 0
    with running(host, (ANSWERS_ON, "192.0.2.3"), (SILENT,)):
        start = time.monotonic()
        assert run_on(host, tmp_path, "-t", "4", "bob@silent.example:1079") == (0, "192.0.2.3\n", "")
        assert time.monotonic() - start > 2  # the silent one was tried first
        for name in ("192.0.2.1", "nobody.example"):
            nothing = f"pyfinger: {name}: no answer within 0.5 seconds\n"
            assert run_on(host, tmp_path, "-t", "0.5", f"bob@{name}:1079") == (1, "", nothing)


# Hostile servers


def on_a_terminal(*arguments: str) -> bytes:
    """What pyfinger writes if its standard output is a terminal."""
    terminal, end = pty.openpty()
    try:
        environment = ENVIRONMENT | {"LC_ALL": "C.UTF-8"}
        with subprocess.Popen([*PYFINGER, *arguments], stdout=end, stderr=end, env=environment) as process:
            os.close(end)
            got = bytearray()
            with contextlib.suppress(OSError):  # EIO: the other end is closed
                while select.select([terminal], [], [], TIMEOUT)[0] and (part := os.read(terminal, 65536)):
                    got += part
            assert process.wait(TIMEOUT) == 0
    finally:
        os.close(terminal)
    return bytes(got)


@pytest.mark.parametrize("options", [(), ("-8",)], ids=" ".join)
@pytest.mark.parametrize("part", [len(ALL_BYTES), 1], ids=["at once", "byte by byte"])
def test_no_control_characters_but_tabs_and_line_ends_reach_a_terminal(
    serve: Serve, options: tuple[str, ...], part: int
) -> None:
    def answer(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(ALL_BYTES), part):
            client.sendall(ALL_BYTES[place : place + part])

    got = on_a_terminal(*options, f"bob@127.0.0.1:{serve(answer).port}")
    assert set(got.decode()) >= {"\t", "\r", "\n", "?", *map(chr, range(32, 127))}
    assert all(ord(character) in PLAIN | {13} or ord(character) >= 0xA0 for character in got.decode())
    assert not set(got.decode()) & set("\u202e\u2066\u200f")
    if not options:
        assert set(got) <= PLAIN | {13}
    else:
        assert "ÿ" in got.decode()


def test_controls_are_shown_on_request(serve: Serve) -> None:
    server = serve(ALL_BYTES)
    done = pyfinger("-c", f"bob@127.0.0.1:{server.port}")
    assert set(range(127)) <= set(done.stdout)
    assert max(done.stdout) == 126
    both = pyfinger("-c8", f"bob@127.0.0.1:{server.port}").stdout.decode()
    assert {*map(chr, range(127)), *"¡ÿ"} <= set(both)
    assert not set(both) & {"\x7f", *map(chr, range(0x80, 0xA0))}


def test_the_environment_can_enable_international_characters(serve: Serve) -> None:
    target = f"bob@127.0.0.1:{serve('Zoë'.encode()).port}"
    for value, shown in {"1": "Zoë\n", "yes": "Zoë\n", "0": "Zo?\n", "": "Zo?\n"}.items():
        assert outcome(pyfinger(target, PYFINGER_INTERNATIONAL=value)) == (0, shown, ""), value
    assert outcome(pyfinger("-8", target, PYFINGER_INTERNATIONAL="0")) == (0, "Zoë\n", "")
    assert outcome(pyfinger(target, PYFINGER_INTERNATIONAL="1", LC_ALL="C")) == (0, "Zo?\n", "")
    assert outcome(pyfinger(target, PYFINGER_INTERNATIONAL="1", LC_ALL="C", PYTHONIOENCODING="utf-8"))[1] == "Zo?\n"


LETTER = "Û"  # its second byte in UTF-8 is CSI to an 8-bit terminal
LOCALES = {
    "none": ({}, "?"),
    "C": ({"LANG": "C"}, "?"),
    "one that is not installed": ({"LANG": "xx_XX.ISO-8859-1"}, "?"),
    "LC_CTYPE not installed": ({"LANG": "C.UTF-8", "LC_CTYPE": "xx_XX.ISO-8859-1"}, "?"),
    "C, in UTF-8 mode": ({"LANG": "C", "PYTHONUTF8": "1"}, "?"),
    "C, not in UTF-8 mode": ({"LANG": "C", "PYTHONUTF8": "0"}, "?"),
    "a child process of Python in C": ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "?"),
    "C, without coercion": ({"LANG": "C", "PYTHONCOERCECLOCALE": "0"}, "?"),
    "UTF-8": ({"LANG": "C.UTF-8"}, LETTER),
    "UTF-8 by LC_CTYPE": ({"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}, LETTER),
    "UTF-8 by LC_ALL": ({"LANG": "C", "LC_ALL": "C.UTF-8"}, LETTER),
}


@pytest.mark.parametrize(("environment", "shown"), LOCALES.values(), ids=LOCALES)
def test_without_a_utf_8_locale_the_output_is_ascii(serve: Serve, environment: dict[str, str], shown: str) -> None:
    command = [*PYFINGER, "-8", f"bob@127.0.0.1:{serve(LETTER.encode()).port}"]
    without = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("PYTHONUTF8", "PYTHONCOER"))}
    done = subprocess.run(command, capture_output=True, check=False, env=without | environment, timeout=TIMEOUT)
    assert outcome(done) == (0, f"{shown}\n", "")
    wrong = [*PYFINGER, f"{LETTER}@localhost:x"]
    done = subprocess.run(wrong, capture_output=True, check=False, env=without | environment, timeout=TIMEOUT)
    assert f"pyfinger: {shown}@localhost:x: " in done.stderr.decode().replace("??", "?")  # Latin-1 where C is that


def test_a_character_split_over_two_packets_is_kept_and_the_rest_shown_at_once(serve: Serve) -> None:
    printed = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(b"first\r\nZo\xc3")
        assert printed.wait(TIMEOUT)
        client.sendall(b"\xab\r\n")

    command = [*PYFINGER, "-8", f"bob@127.0.0.1:{serve(answer).port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT | {"LC_ALL": "C.UTF-8"}) as process:
        assert process.stdout
        assert process.stdout.read(8) == b"first\nZo"
        printed.set()
        assert process.stdout.read() == "ë\n".encode()
    assert process.returncode == 0


def send_endlessly(client: socket.socket) -> None:
    while True:
        client.sendall(b"and on " * 10_000)


def test_an_endless_answer_is_cut(serve: Serve) -> None:
    target = f"bob@127.0.0.1:{serve(send_endlessly).port}"
    code, printed, complained = outcome(pyfinger(target))
    assert (code, len(printed)) == (1, 1024 * 1024 + 1)
    assert complained == "pyfinger: 127.0.0.1: the answer was cut after 1048576 bytes\n"
    assert outcome(pyfinger("--max-bytes", "10", target))[:2] == (1, "and on and\n")


def test_an_answer_of_exactly_max_bytes_is_not_cut(serve: Serve) -> None:
    target = f"bob@127.0.0.1:{serve(b'0123456789').port}"
    assert outcome(pyfinger("--max-bytes", "10", target)) == (0, "0123456789\n", "")
    assert outcome(pyfinger("--max-bytes", "9", target))[:2] == (1, "012345678\n")


def test_the_timeout_ends_silent_and_slow_answers(serve: Serve) -> None:
    silent = serve(lambda client: client.recv(1))
    assert outcome(pyfinger("-t", "0.3", f"bob@127.0.0.1:{silent.port}")) == (
        1,
        "",
        "pyfinger: 127.0.0.1: no answer within 0.3 seconds\n",
    )

    def drip(client: socket.socket) -> None:
        while not dripping.ending.wait(0.02):
            client.sendall(b".")

    dripping = serve(drip)
    code, printed, complained = outcome(pyfinger("-t", "0.5", f"bob@127.0.0.1:{dripping.port}"))
    assert code == 1
    assert re.fullmatch(r"\.+\n", printed)
    assert complained == "pyfinger: 127.0.0.1: no complete answer within 0.5 seconds\n"


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_reset_is_reported_after_the_received_part(serve: Serve) -> None:
    assert outcome(pyfinger(f"bob@127.0.0.1:{serve(reset).port}")) == (
        1,
        "",
        "pyfinger: 127.0.0.1: Connection reset by peer\n",
    )
    printed = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(b"half an ans")
        assert printed.wait(TIMEOUT)
        reset(client)

    command = [*PYFINGER, f"bob@127.0.0.1:{serve(answer).port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(11) == b"half an ans"
        printed.set()
        assert process.stdout.read() == b"\n"
        broken = b"pyfinger: 127.0.0.1: the answer broke off: Connection reset by peer\n"
        assert process.stderr.read() == broken
    assert process.returncode == 1


def test_an_empty_answer_is_an_error(serve: Serve) -> None:
    assert outcome(pyfinger(f"bob@127.0.0.1:{serve(b'').port}")) == (
        1,
        "",
        "pyfinger: 127.0.0.1: the connection was closed without an answer\n",
    )


# Exit codes


def test_an_unknown_host_is_named() -> None:
    code, printed, complained = outcome(pyfinger("-t", "15", "bob@no-such-host.invalid"))
    assert (code, printed) == (1, "")
    assert complained.startswith("pyfinger: no-such-host.invalid: ")


def test_a_closed_output_pipe_is_141_without_a_message(serve: Serve) -> None:
    command = [*PYFINGER, "--max-bytes", "1000000000", f"bob@127.0.0.1:{serve(send_endlessly).port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(6) == b"and on"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_ctrl_c_is_130_without_a_message(serve: Serve) -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(b"wait")
        client.recv(1)

    command = [*PYFINGER, f"bob@127.0.0.1:{serve(answer).port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(4) == b"wait"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"\n"
        assert process.stderr.read() == b""
    assert process.returncode == 130


USAGE = {
    "an unknown option": (("--no-such-option",), "unrecognized arguments: --no-such-option"),
    "an abbreviated option": (("--lon",), "unrecognized arguments: --lon"),
    "both families": (("-4", "-6"), "not allowed with"),
    "not a port": (("-p", "finger"), "'finger' is not a number from 1 to 65535"),
    "a port too high": (("-p", "65536"), "'65536' is not a number from 1 to 65535"),
    "zero time": (("-t", "0"), "'0' is not a number from 0.1 to 86400"),
    "a time that is NaN": (("-t", "nan"), "'nan' is not a number from 0.1 to 86400"),
    "infinite time": (("-t", "inf"), "'inf' is not a number from 0.1 to 86400"),
    "zero bytes": (("--max-bytes", "0"), "'0' is not a number from 1 to 1073741824"),
    "a target with a line feed": (("bob\r\nDATA@localhost",), r": bob\r\nDATA@localhost: has control characters"),
    "a URL with a line feed": (("finger://localhost/bob%0d%0aDATA",), "%0d%0aDATA: has control characters"),
    "bytes that are not UTF-8": ((os.fsdecode(b"bob\xe9"),), r": bob\udce9: has control characters"),
    "an escape sequence": (("--\x1b]0;owned\x07",), r"unrecognized arguments: --\x1b]0;owned\x07"),
    "a direction override": (("--\u202eX",), "unrecognized arguments: --?X"),
    "an invalid address": (("bob@[1]",), ": bob@[1]: has no valid host"),
    "another URL": (("http://localhost/",), "http://localhost/: is not a URL like finger://"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "why"), USAGE.values(), ids=USAGE)
def test_wrong_usage_is_64_and_nothing_is_sent(serve: Serve, arguments: tuple[str, ...], why: str) -> None:
    server = serve(b"heard\r\n")
    code, printed, complained = outcome(pyfinger(f"bob@127.0.0.1:{server.port}", *arguments))
    assert (code, printed) == (64, "")
    assert complained.startswith("usage: pyfinger ")
    assert why in complained.splitlines()[-1]
    assert server.received == []


def test_an_output_that_cannot_be_written_is_74(serve: Serve) -> None:
    server = serve(b"heard\r\n")
    script = f'"$@" bob@127.0.0.1:{server.port} >&-; echo $?; "$@" bob@127.0.0.1:{server.port} >/dev/full; echo $?'
    done = subprocess.run(["sh", "-c", script, "-", *PYFINGER], capture_output=True, text=True, check=True)
    assert done.stdout == "74\n74\n"
    assert done.stderr == "".join(
        f"pyfinger: standard output: {why}\n" for why in ("Bad file descriptor", "No space left on device")
    )
    assert server.received == [b"bob\r\n"]


SURROUNDINGS = {
    "a full standard output": ('"$@" >/dev/full', 74, "standard output: No space left on device\n"),
    "a closed standard output": ('"$@" >&-', 74, "standard output: Bad file descriptor\n"),
    "a pipe that nobody reads": ('"$@" >&$PIPE', 141, ""),
    "a full standard error": ('"$@" >/dev/full 2>/dev/full', 74, ""),
    "a closed standard error": ('"$@" >/dev/full 2>&-', 74, ""),
    "nothing at all": ('"$@" <&- >&- 2>&-', 74, ""),
    "a working directory that is gone": ('mkdir gone && cd gone && rmdir ../gone && "$@" >/dev/null', 0, ""),
    "a closed standard input": ('"$@" <&- >/dev/null', 0, ""),
}


@pytest.mark.parametrize(("script", "code", "message"), SURROUNDINGS.values(), ids=SURROUNDINGS)
@pytest.mark.parametrize("argument", ["--help", "--version", "a target"])
def test_faults_of_the_surroundings_are_no_tracebacks(
    serve: Serve, tmp_path: Path, argument: str, script: str, code: int, message: str
) -> None:
    words = [f"bob@127.0.0.1:{serve(b'heard').port}" if argument == "a target" else argument]
    assert in_surroundings(script, tmp_path, *PYFINGER, *words) == (code, message and f"pyfinger: {message}")


def test_messages_that_cannot_be_written_do_not_change_the_exit_code(serve: Serve, tmp_path: Path) -> None:
    refused, heard = f"bob@127.0.0.1:{free_port()}", f"bob@127.0.0.1:{serve(b'heard').port}"
    for words, code in {("--no-such-option",): 64, ("bob@",): 64, (refused, heard): 1}.items():
        for script in (
            '"$@" 2>/dev/full >/dev/null',
            '"$@" 2>&- >/dev/null',
            '"$@" 2>&$PIPE >/dev/null',
        ):
            assert in_surroundings(script, tmp_path, *PYFINGER, *words) == (code, "")


def test_a_host_is_not_queried_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(NoAnswerError, match="can't start new thread"):
        next(fetch(Query("bob"), "localhost", 79, seconds=1, max_bytes=1))


def test_a_full_pipe_is_waited_for(serve: Serve) -> None:
    text = b"and on " * 100_000  # ten times what a pipe holds
    end, start = os.pipe()
    os.set_blocking(start, False)
    with open(end, "rb") as output:
        with open(start, "wb") as stdout:
            command = [*PYFINGER, f"bob@127.0.0.1:{serve(text).port}"]
            process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=ENVIRONMENT)
        with process:
            assert output.read(1) == b"a"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            assert output.read() == text[1:] + b"\n"
            assert process.stderr
            assert process.stderr.read() == b""
    assert process.returncode == 0


def test_without_standard_error_no_message_goes_to_standard_output() -> None:
    wrong = ("--no-such-option", "bob@", f"bob@127.0.0.1:{free_port()}")
    for arguments, code in zip(wrong, (64, 64, 1), strict=True):
        script = ["sh", "-c", '"$@" 2>&-', "-", *PYFINGER, arguments]
        done = subprocess.run(script, capture_output=True, check=False, timeout=TIMEOUT)
        assert outcome(done) == (code, "", "")


def test_version_and_help() -> None:
    assert outcome(pyfinger("--version")) == (0, f"pyfinger {__version__}\n", "")
    code, printed, _ = outcome(pyfinger("--help"))
    assert code == 0
    assert printed.startswith("usage: pyfinger ")


# Imports


CLIENT_PACKAGES = {"client", "protocol", "net", "text", "errors"}


def test_it_imports_nothing_of_the_server_but_what_it_shares() -> None:
    script = "import sys, fingerd.client.cli; print(*sys.modules)"
    loaded = set(
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    )
    assert {name.split(".")[1] for name in loaded if name.startswith("fingerd.")} <= CLIENT_PACKAGES
    assert not loaded & {
        "requests",
        "yaml",
        "daemon",
        "wcwidth",
        "logging",
        "ipaddress",
        "ssl",
        "email",
        "urllib.parse",
        "asyncio",
    }


def test_the_package_exports_the_library() -> None:
    script = (
        "from fingerd import *; import fingerd; print(FingerServer.__module__, load_config.__module__); fingerd.nothing"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "fingerd.server.server fingerd.settings\n"
    assert done.stderr.splitlines()[-1].startswith("AttributeError: module 'fingerd' has no attribute 'nothing'")


def test_the_command_in_makefile_and_readme_works(example: Start) -> None:
    lines = dict(re.findall(r"^(ASK|BIN|VENV) := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = lines["ASK"].replace("$(BIN)", lines["BIN"]).replace("$(VENV)", lines["VENV"])
    assert f"\n{shown}\n" in (ROOT / "README.md").read_text()
    program, target = shown.split(" ")
    assert program == ".venv/bin/pyfinger"
    port = example("08").address[1]
    assert outcome(pyfinger(target.replace(":1079", f":{port}"))) == (0, "Happy and well\n", "")
