"""The policy of a running daemon: its warnings, and the same answers as ``--query``."""

import subprocess
import sys
from pathlib import Path

import pytest

from fingerd.daemon.cli import main
from tests.conftest import Start
from tests.helpers.daemons import FINGERD, Machine
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


def test_an_ipv4_client_of_a_listener_for_both_families_gets_the_rule_of_its_ipv4_address(start: Start) -> None:
    """Such a listener sees it as ::ffff:127.0.0.2."""
    daemon = start(
        'listen: ":0"\nbackend: {type: static, users: {mark: Here}}\npolicy:\n'
        '  - {from: 127.0.0.2, deny: true}\n  - {from: "::1", list: true}\n  - {from: 127.0.0.0/8}\n'
    )
    assert daemon.ask(b"mark\r\n", "127.0.0.2") == b"Finger service denied\r\n"
    assert daemon.ask(b"mark\r\n", "127.0.0.3") == b"Here\r\n"
    assert daemon.ask(b"\r\n", "127.0.0.3") == b"Finger online user list denied\r\n"
    assert daemon.logged("client=127.0.0.2 ")
    assert daemon.logged("client=127.0.0.3 ")


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


# Prints the answers to `alice` for each of the source addresses. They ask in the reverse order of their connections:
# when the first one is answered, all have been accepted.
CLIENTS = """
import socket, sys
sources = [(source, 0) for source in sys.argv[1:]]
clients = [socket.create_connection(("::1" if ":" in source[0] else "127.0.0.1", 79), 10, source) for source in sources]
answers = []
for client in reversed(clients):
    try:
        client.sendall(b"alice\\r\\n")
        answers.append(client.recv(4096).decode().strip() or "closed")
    except ConnectionError:
        answers.append("closed")
print(*reversed(answers), sep="\\n")
"""
TRANSLATED = """
backend: {type: static, users: {alice: {name: Alice, plan: Secret}}}
policy:
  - {from: 10.8.0.66, deny: true}
  - {from: "64:ff9b::a08:43", show: plan}
  - {from: [10.8.0.0/16, local], show: minimal}
  - {from: any, show: login}
limits: {per_client: 2}
"""
OF_THE_NETWORK, OF_THE_ADDRESS, OF_STRANGERS = "In real life: Alice", "Plan:\r\nSecret", "Login name: alice"
DENIED = "Finger service denied"
OF_TRANSLATED = {
    "10.8.0.65": OF_THE_NETWORK,
    "10.8.0.66": DENIED,
    "64:ff9b::a08:41": OF_THE_NETWORK,
    "64:ff9b::a08:42": DENIED,
    "64:ff9b::a08:43": OF_THE_ADDRESS,
    "::ffff:0:a08:41": OF_THE_NETWORK,
    "::ffff:0:a08:42": DENIED,
    "64:ff9b::a09:42": OF_STRANGERS,
    "64:ff9b:1::a08:42": OF_STRANGERS,
    "64:ff9b::7f00:1": DENIED,
    "64:ff9b::1": DENIED,
    "::ffff:0:7f00:1": DENIED,
}


def test_a_client_behind_nat64_is_the_client_at_its_ipv4_address(start: Start, host: Machine) -> None:
    for address in (*OF_TRANSLATED, "10.8.0.67"):
        assert host.run("ip", "address", "add", address, "dev", "lo").returncode == 0

    def ask_from(*sources: str) -> list[str]:
        done = host.run(sys.executable, "-I", "-S", "-c", CLIENTS, *sources)
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[:-1]

    daemon = start(TRANSLATED, inside=host.inside)
    for source, answer in OF_TRANSLATED.items():
        assert answer in "\r\n".join(ask_from(source)), source
        assert f"client={source} " in daemon.logged("client="), "as the packets have it, for a packet filter"
    one_client = ("10.8.0.65", "64:ff9b::a08:41", "::ffff:0:a08:41")
    assert ask_from(*one_client, "10.8.0.67") == [OF_THE_NETWORK, OF_THE_NETWORK, "closed", OF_THE_NETWORK]
    assert ask_from("64:ff9b::7f00:1", "64:ff9b::7f00:1", "127.0.0.1") == [DENIED, DENIED, OF_THE_NETWORK]
