"""Three hosts on a network, as in RFC 1288 4.4; each forwards queries to the next one. Needs root."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.daemons import TIMEOUT, Daemon, Machine, wait_until

NAMES = {
    "10.88.1.1": "inside.example.org",
    "10.88.1.2": "pilot.njin.net",
    "10.88.2.3": "math.rutgers.edu",
    "10.88.2.4": "parrot.example.org",
    "10.88.2.5": "stranger.example.org",
}

CONFIG = """\
backend:
  type: static
  users: {users}
listen: ["{addresses}"]
policy: [{{from: any, show: everything, forward: {forward}}}]
limits: {{answer_seconds: 5}}
log: {{to: stderr}}
"""
PILOT = "[math.rutgers.edu, parrot.example.org, inside.example.org, 10.88.2.0/24]"
HEDRICK = '{hedrick: {name: Charles Hedrick, office: 484 Hill, office_phone: x3088, plan: ""}}'

# Sends the file `answer`; once the file `hold` does not exist, sends the file `rest` and closes. Writes the query to
# the file `asked`.
PARROT = """
import os, socket, sys, time
os.chdir(sys.argv[1])
with socket.create_server(("10.88.2.4", 79)) as server:
    while True:
        client, _ = server.accept()
        asked = client.makefile("rb").readline()
        try:
            client.sendall(open("answer", "rb").read())
            open("asked", "wb").write(asked)
            while os.path.exists("hold"):
                time.sleep(0.01)
            client.sendall(open("rest", "rb").read())
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
        except OSError:
            open("asked", "wb").write(asked)
        client.close()
"""

CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", 79), 10) as client:
    client.sendall(bytes.fromhex(sys.argv[1]))
    while data := client.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
"""


class Network:
    """dimacs forwards to pilot, and pilot to math and parrot, which are two addresses of one host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hosts: list[Machine] = []
        self.daemons: list[Daemon] = []
        self.parrot: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        names = self.directory / "hosts"
        names.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for address, name in NAMES.items()))
        for number in range(3):
            (self.directory / str(number)).mkdir()
            self.hosts.append(Machine(self.directory / str(number)))
            assert self.hosts[-1].run("mount", "--bind", str(names), "/etc/hosts").returncode == 0
        dimacs, pilot, math = self.hosts
        _link(dimacs, pilot, ("10.88.1.1",), ("10.88.1.2",))
        _link(pilot, math, ("10.88.2.1",), ("10.88.2.3", "10.88.2.4", "10.88.2.5"))
        self._serve(math, ("10.88.2.3:79",), "false", HEDRICK)
        self._serve(pilot, ("127.0.0.1:79", "10.88.1.2:79"), PILOT)
        self._serve(dimacs, ("127.0.0.1:79",), "[pilot.njin.net, 10.88.0.0/16]")
        self.set_answer(b"here\r\n")
        self.parrot = math.start(sys.executable, "-I", "-S", "-c", PARROT, str(self.directory))
        wait_until(lambda: b"here" in self.ask(1, b"a@parrot.example.org\r\n"))

    def _serve(self, host: Machine, addresses: Sequence[str], forward: str, users: str = "{}") -> None:
        path = self.directory / f"{len(self.daemons)}.yaml"
        path.write_text(CONFIG.format(users=users, addresses='", "'.join(addresses), forward=forward))
        self.daemons.append(Daemon(path, inside=host.inside))

    def set_answer(self, answer: bytes, rest: bytes = b"") -> None:
        """Set the answer of parrot, and its rest, which is sent after `hold` is removed."""
        (self.directory / "answer").write_bytes(answer)
        (self.directory / "rest").write_bytes(rest)

    def last_query(self) -> bytes:
        """The last query that parrot received."""
        path = self.directory / "asked"
        wait_until(path.exists)
        asked = path.read_bytes()
        path.unlink()
        return asked

    def ask(self, number: int, query: bytes) -> bytes:
        """The answer of a host's own RUIP to a client on that host."""
        with self.client(number, query) as client:
            return client.communicate(timeout=TIMEOUT)[0]

    def client(self, number: int, query: bytes) -> "subprocess.Popen[bytes]":
        """A client on a host that prints the answer as it arrives."""
        command = (sys.executable, "-I", "-S", "-c", CLIENT, query.hex())
        return subprocess.Popen([*self.hosts[number].inside, *command], stdout=subprocess.PIPE, cwd="/")

    def close(self) -> None:
        """Stop all processes and hosts."""
        if self.parrot:
            self.parrot.kill()
            self.parrot.wait()
        for daemon in self.daemons:
            daemon.stop()
        for host in self.hosts:
            host.close()


def _link(one: Machine, other: Machine, ours: Sequence[str], theirs: Sequence[str]) -> None:
    pid = re.sub(r"\D", "", other.inside[1])
    commands = [(one, f"link add name next type veth peer name last netns {pid}")]
    for host, device, addresses in ((one, "next", ours), (other, "last", theirs)):
        commands += [(host, f"addr add {address}/24 dev {device}") for address in addresses]
        commands += [(host, f"link set {device} up")]
    for host, command in commands:
        done = host.run("ip", *command.split())
        assert done.returncode == 0, done.stderr
