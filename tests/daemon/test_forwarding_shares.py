"""Forwarding for many clients: what those of one network may take of it together."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingerd.net.resolver import MAX_LOOKUPS, PER_KEY_FRACTION
from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, Machine

# A name server that never answers, and prints the names that it is asked for.
SILENT_NAME_SERVER = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    question = server.recv(4096)
    print(question[13 : 13 + question[12]].decode(), flush=True)
"""
# Asks from each of these addresses for a name of its own, all at once; prints the answers.
CLIENTS = """
import socket, sys
clients = []
for number, source in enumerate(sys.argv[1:]):
    target = ("::1" if ":" in source else "127.0.0.1", 79)
    clients.append(socket.create_connection(target, 30, (source, 0)))
    clients[-1].sendall(b"bob@name%d.example.org\\r\\n" % number)
for client in clients:
    print(client.recv(4096).decode().strip())
"""
CONFIG = """
backend: {type: empty}
policy: [{from: any, forward: "*.example.org"}]
limits: {answer_seconds: 4, threads: 400}
"""
SHARE = MAX_LOOKUPS // PER_KEY_FRACTION
CLIENTS_OF = {
    "an IPv6 /64": [f"fd00:0:0:1::{number:x}" for number in range(1, 2 * SHARE)],
    "an IPv4 address, and the same behind NAT64": ["10.8.0.66", "64:ff9b::a08:42"] * SHARE,
}


@pytest.fixture
def host_without_names(host: Machine, tmp_path: Path) -> Iterator[tuple[Machine, "subprocess.Popen[str]"]]:
    """A host whose name server never answers, and that name server."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
    assert host.run("mount", "--bind", str(file), "/etc/resolv.conf").returncode == 0
    command = [*host.inside, sys.executable, "-I", "-S", "-c", SILENT_NAME_SERVER]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/") as server:
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        yield host, server
        server.kill()


@pytest.mark.parametrize("clients", CLIENTS_OF.values(), ids=CLIENTS_OF)
def test_clients_that_are_counted_as_one_share_a_quarter_of_the_name_lookups(
    start: Start, host_without_names: tuple[Machine, "subprocess.Popen[str]"], clients: list[str]
) -> None:
    host, server = host_without_names
    stranger = "192.0.2.7"
    for address in {*clients, stranger}:
        assert host.run("ip", "address", "add", address, "dev", "lo").returncode == 0
    start(CONFIG, inside=host.inside)
    done = host.run(sys.executable, "-I", "-S", "-c", CLIENTS, *clients, stranger, seconds=2 * TIMEOUT)
    assert done.stdout.splitlines() == ["Host does not answer"] * (len(clients) + 1), done.stderr
    server.kill()
    assert server.stdout
    asked = set(server.stdout.read().split())
    assert f"name{len(clients)}" in asked, "the stranger's"
    assert len(asked) == SHARE + 1
