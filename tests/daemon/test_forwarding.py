"""Forwarding between hosts: daemons in network namespaces with a name server, as far as root can make them."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.daemon.test_reload import config_of, reload
from tests.helpers.daemons import FINGERD, TIMEOUT, Daemon, Machine, ask, hear, let_everybody_in, wait_until
from tests.helpers.requirements import find, needs

DENIED = b"Finger forwarding service denied\r\n"
UNKNOWN = b"No such host\r\n"
UNREACHABLE = b"Host cannot be reached\r\n"
SILENT = b"Host does not answer\r\n"
CUT = b"[answer cut]\r\n"

DNSMASQ = find("dnsmasq") or "dnsmasq"

# A misbehaving Finger server at port 79 of each of these addresses, and a name server that never answers.
BAD = """
import socket, struct, threading, time

def gigabyte(client):
    for _ in range(1 << 20):
        client.sendall(b"0123456789abcdef" * 63 + b"0123456789abcd\\r\\n")

def drip(client):
    while True:
        client.sendall(b"drip\\r\\n")
        time.sleep(0.1)

def binary(client):
    client.sendall(bytes(range(256)) + b"\\x1b]0;pwned\\x07\\r\\n")

def silent(client):
    client.recv(1)

def slow(client):
    client.sendall(b"first\\r\\n")
    time.sleep(1)
    client.sendall(b"second\\r\\n")

def long(client):
    for _ in range(3 << 10):
        client.sendall(b"0123456789abcdef" * 63 + b"0123456789abcd\\r\\n")
    client.recv(1)

def serve(listener, behave):
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0], behave), daemon=True).start()

def answer(client, behave):
    try:
        data = client.recv(4096)
        while data and not data.endswith(b"\\n"):
            data = client.recv(4096)
        if data:
            behave(client)
    except OSError:
        pass
    client.close()

mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mute.bind(("9.9.9.20", 53))
for number, behave in enumerate((gigabyte, drip, binary, silent, slow, long), 11):
    listener = socket.create_server((f"9.9.9.{number}", 79))
    threading.Thread(target=serve, args=(listener, behave)).start()
print("ready", flush=True)
"""


NAMES = """
host-record=a.example.org,9.9.9.1,2620:fe::1
host-record=also-a.example.org,9.9.9.1
host-record=b.example.org,9.9.9.2,2620:fe::2
host-record=c.example.org,9.9.9.3,2620:fe::3
host-record=four.example.org,9.9.9.2
host-record=six.example.org,2620:fe::2
host-record=elsewhere.example.com,9.9.9.2
host-record=gigabyte.example.org,9.9.9.11
host-record=drip.example.org,9.9.9.12
host-record=binary.example.org,9.9.9.13
host-record=silent.example.org,9.9.9.14
host-record=slow.example.org,9.9.9.15
host-record=long.example.org,9.9.9.16
address=/search.example.com/9.9.9.2
host-record=closed.example.org,9.9.9.10
host-record=second.example.org,9.9.9.10
host-record=second.example.org,9.9.9.2
host-record=hole.example.org,9.9.7.1
address=/ways-to-a.example.org/9.9.9.1
address=/ways-to-b.example.org/9.9.9.2
host-record=second-a.example.org,9.9.9.101,2620:fe::101
host-record=mapped-a.example.org,::ffff:9.9.9.101
host-record=nat64-a.example.org,64:ff9b::909:965
host-record=six-to-four-a.example.org,2002:909:965::1
host-record=inner.example.org,10.0.0.2
host-record=both.example.org,10.0.0.2
host-record=both.example.org,9.9.9.2
host-record=loopback.example.org,127.0.0.1,::1
host-record=any.example.org,0.0.0.0,::
host-record=cloud.example.org,169.254.169.254,fe80::1
host-record=mapped.example.org,::ffff:10.0.0.2
host-record=six-to-four.example.org,2002:a00:2::1
host-record=nat64.example.org,64:ff9b::a00:2
host-record=cast.example.org,224.0.0.1,ff02::1
"""


# Beside 9.9.9.1, 10.0.0.1 and 2620:fe::1: second addresses, and some that are bound to loopback.
MORE_OF_A = (
    *("9.9.9.101/24 dev eth0", "10.0.0.101/24 dev eth0", "2620:fe::101/64 dev eth0", "fe80::a/64 dev eth0"),
    *("9.9.8.1/32 dev lo", "2620:f8::1/128 dev lo", "127.9.9.9/8 dev lo"),
)


class Net:
    """Connected hosts: a, b and c, and d with the name server and the misbehaving servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self._lines = (folder / "dnsmasq.log").open("wb")
        self.hosts: dict[str, Machine] = {}

    def connect(self) -> None:
        """Create the hosts and their network, and start the servers of d."""
        for name in ("switch", "a", "b", "c", "d"):
            home = self.folder / name
            home.mkdir()
            (home / "resolv.conf").write_text("nameserver 9.9.9.10\nsearch search.example.com\n")
            (home / "hosts").write_text("127.0.0.1 localhost\n")
            host = self.hosts[name] = Machine(home)
            for file in ("resolv.conf", "hosts"):
                self._run(host, f"mount --bind {home / file} /etc/{file}")
        switch = self.hosts["switch"]
        self._run(switch, "ip link add name bridge type bridge && ip link set bridge up")
        for number, name in enumerate("abcd", 1):
            host = self.hosts[name]
            pid = host.inside[1].removeprefix("--target=")
            self._run(switch, f"ip link add name to-{name} type veth peer name eth0 netns {pid}")
            self._run(switch, f"ip link set to-{name} up master bridge")
            own = {"d": 10}.get(name, number)
            self._run(host, f"ip address add 9.9.9.{own}/24 dev eth0 && ip address add 10.0.0.{own}/24 dev eth0")
            self._run(host, f"ip address add 2620:fe::{own}/64 dev eth0 nodad && ip link set eth0 up")
        for number in range(11, 21):
            self._run(self.hosts["d"], f"ip address add 9.9.9.{number}/24 dev eth0")
        for address in MORE_OF_A:
            self._run(self.hosts["a"], f"ip address add {address} nodad")
        self._run(self.hosts["a"], "ip route add local 9.9.6.0/24 dev lo")
        self._run(self.hosts["a"], "ip route add 9.9.7.0/24 via 9.9.9.10")  # which drops packets for other hosts
        bad = subprocess.Popen(
            [*self.hosts["d"].inside, sys.executable, "-c", BAD], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self._started.append(bad)
        assert bad.stdout
        assert bad.stdout.readline() == b"ready\n"
        self.start_names("")

    @staticmethod
    def _run(host: Machine, script: str) -> None:
        done = host.run("sh", "-c", script)
        assert done.returncode == 0, (script, done.stderr)

    def run(self, name: str, script: str) -> None:
        """Run a shell script on a host; AssertionError if it fails."""
        self._run(self.hosts[name], script)

    def start_names(self, more: str) -> None:
        """Start the name server, with additional records."""
        config = self.folder / "dnsmasq.conf"
        config.write_text(
            f"{NAMES}{more}\nlisten-address=9.9.9.10\nbind-interfaces\nno-resolv\nno-hosts\nlocal=/#/\nuser=root\npid-file=\nlog-queries\n"
        )
        self.dnsmasq = subprocess.Popen(
            [*self.hosts["d"].inside, DNSMASQ, "--keep-in-foreground", "--log-facility=-", f"--conf-file={config}"],
            stdin=subprocess.DEVNULL,
            stderr=self._lines,
        )
        self._started.append(self.dnsmasq)
        wait_until(lambda: b"127.0.0.1" in self._getent("loopback.example.org"))

    def _getent(self, name: str) -> bytes:
        return self.hosts["a"].run("getent", "ahostsv4", name).stdout.encode()

    def ask_from(self, name: str, address: str, query: str) -> bytes:
        """The answer that a client on a host gets from the server at an address."""
        script = "import socket, sys; c = socket.create_connection((sys.argv[1], 79), 10); "
        script += "c.sendall(sys.argv[2].encode() + b'\\r\\n'); sys.stdout.write(c.makefile('rb').read().hex())"
        return bytes.fromhex(self.hosts[name].run(sys.executable, "-I", "-S", "-c", script, address, query).stdout)

    def rename(self, more: str) -> None:
        """Restart the name server with additional records."""
        self.dnsmasq.terminate()
        self.dnsmasq.wait()
        self.start_names(more)

    def queries(self, name: str) -> int:
        """How many queries for the name there were of each kind, A and AAAA."""
        asked = re.findall(rf"query\[(A+)\] {re.escape(name)} ", (self.folder / "dnsmasq.log").read_text())
        assert asked.count("A") == asked.count("AAAA")
        return asked.count("A")

    def close(self) -> None:
        """End the servers and the hosts."""
        for process in self._started:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        for host in self.hosts.values():
            host.close()
        self._lines.close()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    net = Net(tmp_path_factory.mktemp("net"))
    try:
        net.connect()
        yield net
    finally:
        net.close()


needs_hosts = [
    pytest.mark.root,
    needs("namespaces", "ip", "dnsmasq"),
]


def on_hosts(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs the hosts."""
    for mark in needs_hosts:
        test = mark(test)
    return test


@dataclass
class Server:
    """A daemon on one of the hosts, queried over a unix socket."""

    daemon: Daemon
    path: str

    def __call__(self, query: str) -> bytes:
        return ask(self.path, query.encode() + b"\r\n")

    def outcome(self) -> str:
        """The outcome of the next query in the log."""
        found = re.search("outcome=([a-z-]+)", self.daemon.logged("outcome="))
        assert found
        return found[1]


Daemons = Callable[..., Server]


@pytest.fixture
def daemons(net: Net, start: Start, tmp_path: Path) -> Daemons:
    """Starts a daemon on port 79 of a host, with these targets."""

    def daemon(name: str, targets: str, more: str = "", listen: str = ":79", **how: tuple[str, ...]) -> Server:
        path = str(tmp_path / f"{name}.sock")
        config = (
            f'listen: ["{listen}", "unix:{path}"]\n'
            f"backend: {{type: static, users: {{bob: Bob on {name}}}}}\n"
            f"policy: [{{from: any, list: true, forward: {targets}}}]\n{more}"
        )
        return Server(start(config, inside=(*net.hosts[name].inside, *how.get("inside", ()))), path)

    return daemon


ALL = "['*.example.org']"


@on_hosts
def test_a_query_is_forwarded_along_a_chain_of_hosts(daemons: Daemons) -> None:
    a, b, c = (daemons(name, ALL) for name in "abc")
    answer = b"[b.example.org]\r\n[c.example.org]\r\nBob on c\r\n"
    assert a("bob@c.example.org@b.example.org") == answer
    assert [each.outcome() for each in (a, b, c)] == ["answered"] * 3
    assert a("/W @b.example.org") == b"[b.example.org]\r\nLogin    Name\r\nbob      bob\r\n"
    assert a("nobody@b.example.org") == b"[b.example.org]\r\nNo such user\r\n"
    assert a("bob@elsewhere.example.com@c.example.org") == b"[c.example.org]\r\n" + DENIED
    assert a("bob") == b"Bob on a\r\n"


@on_hosts
def test_only_hosts_that_the_rule_allows_are_queried(daemons: Daemons, net: Net) -> None:
    a, b = daemons("a", "[b.example.org, 9.9.9.2, '2620:fe::/64']"), daemons("b", "false")
    for host in ("b.example.org", "B.Example.ORG.", "9.9.9.2", "2620:fe::2", "[2620:fe::2]"):
        header = host.lower().rstrip(".").strip("[]")
        assert a(f"bob@{host}") == f"[{header}]\r\nBob on b\r\n".encode()
        assert b.outcome() == "answered"
    for host in (
        *("four.example.org", "six.example.org", "9.9.9.3", "10.0.0.2", "127.0.0.1", "b.example.org:79"),
        *("9.9.9.2:79", "[2620:fe::2]:79", "fe80::2%eth0", "0x09.9.9.2", "151587074", "b", "x.b.example.org"),
    ):
        assert a(f"bob@{host}") == DENIED, host
    assert net.queries("four.example.org") == net.queries("x.b.example.org") == 0, "not looked up either"
    assert b("bob@a.example.org") == DENIED


@on_hosts
def test_a_name_of_this_host_is_answered_here_whatever_the_rule_forwards_to(daemons: Daemons) -> None:
    a, b = daemons("a", "[localhost, b.example.org, 127.0.0.0/8]"), daemons("b", "false")
    assert a("bob@localhost") == b"Bob on a\r\n"
    assert a("bob@LocalHost.") == b"Bob on a\r\n"
    assert a("bob@b.example.org@localhost") == b"[b.example.org]\r\nBob on b\r\n"
    assert b.outcome() == "answered"
    assert a("bob@localhost@b.example.org") == b"[b.example.org]\r\nBob on b\r\n"
    assert a("bob@x.example.org@localhost") == DENIED


@on_hosts
def test_a_name_may_have_ipv4_ipv6_and_dead_addresses(daemons: Daemons) -> None:
    a, _ = daemons("a", ALL), daemons("b", "false")
    for host in ("four", "six", "second"):
        assert a(f"bob@{host}.example.org") == f"[{host}.example.org]\r\nBob on b\r\n".encode()


@on_hosts
def test_a_name_with_a_private_address_is_refused(daemons: Daemons, net: Net) -> None:
    a, b = daemons("a", "['*', 0.0.0.0/0, '::/0']"), daemons("b", "false")
    for host in ("inner", "loopback", "any", "cloud", "mapped", "six-to-four", "nat64", "cast"):
        assert a(f"bob@{host}.example.org") == DENIED, host
        assert a.outcome() == "refused"
    assert net.queries("inner.example.org") >= 1
    assert a("bob@both.example.org") == b"[both.example.org]\r\nBob on b\r\n"
    b.daemon.stop()
    assert len([line for line in b.daemon.log if "client=9.9.9.1 " in line]) == 1
    assert not [line for line in b.daemon.log if "client=10." in line]


@on_hosts
def test_a_name_with_a_private_address_is_queried_if_the_rule_names_the_address(daemons: Daemons) -> None:
    daemons("b", "false")
    for listed in ("10.0.0.2", "10.0.0.0/24", "10.0.0.0/8"):
        a = daemons("a", f"[inner.example.org, mapped.example.org, {listed}]")
        for name in ("inner", "mapped"):
            assert a(f"bob@{name}.example.org") == f"[{name}.example.org]\r\nBob on b\r\n".encode()
        assert a("bob@10.0.0.2") == b"[10.0.0.2]\r\nBob on b\r\n"
        a.daemon.stop()


@on_hosts
def test_a_name_is_looked_up_once_for_each_query_and_its_address_may_change(daemons: Daemons, net: Net) -> None:
    a, b = daemons("a", ALL), daemons("b", "false")
    net.rename("host-record=moving.example.org,9.9.9.2,0")
    assert a("bob@moving.example.org") == b"[moving.example.org]\r\nBob on b\r\n"
    assert net.queries("moving.example.org") == 1
    net.rename("host-record=moving.example.org,10.0.0.2,0")
    assert a("bob@moving.example.org") == DENIED
    assert net.queries("moving.example.org") == 2
    b.daemon.stop()
    assert not [line for line in b.daemon.log if "client=10." in line]


@on_hosts
def test_no_query_returns_to_the_host_that_sends_it(daemons: Daemons) -> None:
    own = "['*.example.org', 9.9.9.0/24, 127.0.0.0/8, '::1', '2620:fe::/64', 10.0.0.1, 0.0.0.0]"
    a, b = daemons("a", own), daemons("b", own)
    hosts = (
        "a.example.org",
        "also-a.example.org",
        "9.9.9.1",
        "2620:fe::1",
        "127.0.0.1",
        "127.5.5.5",
        "::1",
        "10.0.0.1",
    )
    for host in (
        *hosts,
        "0.0.0.0",
        "loopback.example.org",
        "a.example.org@also-a.example.org",
        "b.example.org@9.9.9.1",
    ):
        assert a(f"bob@{host}") == DENIED, host
        assert a.outcome() == "refused"
    assert a("bob@a.example.org@b.example.org") == b"[b.example.org]\r\n[a.example.org]\r\nBob on a\r\n"
    assert a("bob@b.example.org@a.example.org@b.example.org") == DENIED
    route = "@four.example.org@a.example.org@b.example.org"
    answer = b"[b.example.org]\r\n[a.example.org]\r\n[four.example.org]\r\nBob on b\r\n"
    assert a(f"bob{route}") == answer, "a route may return under another name, but use each name once"
    a.daemon.stop()
    assert not [line for line in a.daemon.log if "client=9.9.9.1 " in line or "client=127." in line], (
        "no connection from itself"
    )
    assert b.outcome() == "answered"


# Targets that hold all of these, so that nothing but the address is a reason to refuse.
EVERYTHING = (
    "['*', 9.9.0.0/16, 10.0.0.0/8, 127.0.0.0/8, 0.0.0.0, '2620::/16', '::1', '::', 'fe80::/10', '64:ff9b::/96', "
    "64:ff9b::909:901, 64:ff9b::909:965, 64:ff9b::909:966, 64:ff9b::7f00:1, '::ffff:0:0:0/96', 2002:909:965::1]"
)
OF_A = {
    "the first IPv4 address": "9.9.9.1",
    "the first private address": "10.0.0.1",
    "the first IPv6 address": "2620:fe::1",
    "another IPv4 address": "9.9.9.101",
    "another private address": "10.0.0.101",
    "another IPv6 address": "2620:fe::101",
    "a name of other addresses": "second-a.example.org",
    "IPv4 on loopback": "9.9.8.1",
    "IPv6 on loopback": "2620:f8::1",
    "a network that is routed here": "9.9.6.77",
    "loopback": "127.0.0.1",
    "loopback, which no interface has": "127.1.2.3",
    "loopback, which an interface has": "127.9.9.9",
    "IPv6 loopback": "::1",
    "IPv4-mapped": "::ffff:9.9.9.101",
    "a name of a mapped address": "mapped-a.example.org",
    "mapped loopback": "::ffff:127.1.2.3",
    "unspecified": "0.0.0.0",
    "unspecified IPv6": "::",
    "the broadcast address": "9.9.9.255",
    "link-local": "fe80::a",
    "NAT64": "64:ff9b::909:965",
    "NAT64, the first address": "64:ff9b::9.9.9.1",
    "NAT64 of loopback": "64:ff9b::127.0.0.1",
    "a name of a NAT64 address": "nat64-a.example.org",
    "SIIT": "::ffff:0:9.9.9.101",
    "6to4": "2002:909:965::1",
    "a name of a 6to4 address": "six-to-four-a.example.org",
}
NONLOCAL_BIND = tuple(f"/proc/sys/net/{family}/ip_nonlocal_bind" for family in ("ipv4", "ipv6"))


@pytest.fixture(params=[False, True], ids=["", "ip_nonlocal_bind"])
def nonlocal_bind(request: pytest.FixtureRequest, net: Net) -> Iterator[bool]:
    """Whether host a may bind sockets to addresses that it does not have."""
    set_nonlocal_bind(net, request.param)
    yield request.param
    set_nonlocal_bind(net, False)


def set_nonlocal_bind(net: Net, is_on: bool) -> None:
    for path in NONLOCAL_BIND:
        net.run("a", f"echo {int(is_on)} > {path}")


@on_hosts
def test_no_address_of_this_host_is_contacted(daemons: Daemons, nonlocal_bind: bool) -> None:
    a, _ = daemons("a", EVERYTHING), daemons("b", "false")
    for kind, host in OF_A.items():
        assert a(f"bob@{host}") == a(f"@{host}") == DENIED, kind
    for host in ("9.9.9.2", "10.0.0.2", "2620:fe::2", "b.example.org", "::ffff:9.9.9.2"):
        assert a(f"bob@{host}").endswith(b"]\r\nBob on b\r\n"), host
    assert a("bob@64:ff9b::9.9.9.102") == UNREACHABLE, "another host's, to which there is no route"
    a.daemon.stop()
    assert not [line for line in a.daemon.log if "client=" in line and "client=unix" not in line]
    assert sum("its address is ours, or" in line for line in a.daemon.log) == 2 * len(OF_A)


# /proc as the Debian package's service sees it: ProcSubset=pid and ProtectProc=invisible.
ONLY_PROCESSES = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t proc -o subset=pid,hidepid=2 proc /proc && exec "$@"',
    "sh",
)


@on_hosts
def test_own_addresses_are_known_in_the_sandbox_of_the_service(daemons: Daemons, nonlocal_bind: bool) -> None:
    a = daemons("a", EVERYTHING, "process: {user: nobody}\n", inside=ONLY_PROCESSES)
    daemons("b", "false")
    for host in ("9.9.9.101", "2620:fe::101", "9.9.8.1", "second-a.example.org"):
        assert a(f"bob@{host}") == DENIED, host
    for host in ("9.9.9.2", "2620:fe::2"):
        assert a(f"bob@{host}").endswith(b"]\r\nBob on b\r\n"), host


@on_hosts
def test_nothing_is_forwarded_if_own_addresses_cannot_be_told_from_others(
    daemons: Daemons, net: Net, tmp_path: Path
) -> None:
    chroot = tmp_path / "chroot"
    (chroot / "etc").mkdir(parents=True)
    (chroot / "etc" / "hosts").touch()
    let_everybody_in(tmp_path)
    a = daemons("a", EVERYTHING, f"process: {{user: nobody, chroot: {chroot}}}\n")
    daemons("b", "false")
    assert a("bob@9.9.9.2") == b"[9.9.9.2]\r\nBob on b\r\n", "no file of /proc is needed"
    set_nonlocal_bind(net, True)
    try:
        for host, path in {"9.9.9.2": "fib_trie", "9.9.9.101": "fib_trie", "2620:fe::101": "if_inet6"}.items():
            assert a(f"bob@{host}") == UNREACHABLE
            what = f"cannot find out whether {host} is an address of this host: /proc/self/net/{path}: No such file"
            assert f"forwarding to {host} failed: {what}" in a.daemon.logged("WARNING")
        assert a("bob@127.0.0.1") == DENIED
    finally:
        set_nonlocal_bind(net, False)


@on_hosts
def test_hosts_that_forward_for_each_other_are_not_held_by_a_long_route(daemons: Daemons, net: Net) -> None:
    limits = "limits: {answer_seconds: 3, threads: 8}\n"
    a, _ = daemons("a", ALL, limits), daemons("b", ALL, limits)
    names = [f"n{number}.ways-to-{'ab'[number % 2]}.example.org" for number in range(16)]

    def route(length: int) -> str:
        return "".join(f"@{name}" for name in reversed(names[: length - 1])) + "@b.example.org"

    with contextlib.ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(a.path)
            client.sendall(f"bob{route(17)}\r\n".encode())
        assert net.ask_from("c", "9.9.9.1", "bob@b.example.org") == b"[b.example.org]\r\nBob on b\r\n"
    assert a(f"bob{route(17)}") == a(f"bob{route(4)}") == DENIED
    assert net.queries("n0.ways-to-a.example.org") == 0
    heads = b"[b.example.org]\r\n[n0.ways-to-a.example.org]\r\n[n1.ways-to-b.example.org]\r\n"
    assert a(f"bob{route(3)}") == heads + b"Bob on b\r\n"


@on_hosts
def test_each_host_counts_the_hosts_of_a_query(daemons: Daemons) -> None:
    a, b, _ = daemons("a", f"{ALL}, forward_hosts: 2"), daemons("b", f"{ALL}, forward_hosts: 1"), daemons("c", "false")
    heads = b"[b.example.org]\r\n[c.example.org]\r\n"
    assert a("bob@c.example.org@b.example.org") == heads + b"Bob on c\r\n"
    assert a("bob@x@c.example.org@b.example.org") == DENIED
    assert b("bob@c.example.org@a.example.org") == DENIED


@on_hosts
def test_another_server_on_the_same_host_is_queried(daemons: Daemons, net: Net, start: Start) -> None:
    start('listen: "127.0.0.1:79"\nbackend: {type: static, users: {bob: The old one}}', inside=net.hosts["a"].inside)
    a = daemons("a", "[127.0.0.1]", listen=":1079")
    assert a("bob@127.0.0.1") == b"[127.0.0.1]\r\nThe old one\r\n"
    assert a("bob@127.0.0.2") == DENIED


DEAD = {
    "a name that does not exist": ("nowhere.example.org", UNKNOWN, "unknown"),
    "a closed port": ("closed.example.org", UNREACHABLE, "error"),
    "an address without a host": ("9.9.9.99", UNREACHABLE, "error"),
    "a network without a route": ("8.8.8.8", UNREACHABLE, "error"),
    "a host whose packets are dropped": ("hole.example.org", SILENT, "busy"),
    "a host that never answers": ("silent.example.org", SILENT, "busy"),
}


@on_hosts
@pytest.mark.parametrize(("host", "words", "outcome"), DEAD.values(), ids=DEAD)
def test_a_dead_host_is_reported_before_the_deadline(daemons: Daemons, host: str, words: bytes, outcome: str) -> None:
    seconds = 5 if outcome == "error" else 2  # the kernel takes three to give up on a neighbour
    a = daemons("a", "['*.example.org', 9.9.9.99, 8.8.8.8]", f"limits: {{answer_seconds: {seconds}}}\n")
    assert a(f"bob@{host}") == words
    assert a.outcome() == outcome
    assert a("bob") == b"Bob on a\r\n"
    warned = [line for line in a.daemon.log if "WARNING fingerd.ruip.forward" in line]
    assert len(warned) == (outcome == "error")
    assert all(f"forwarding to {host} failed: " in line for line in warned)


@on_hosts
def test_a_silent_name_server_blocks_no_other_query(daemons: Daemons, net: Net) -> None:
    config = net.folder / "a" / "resolv.conf"
    before = config.read_text()
    config.write_text("nameserver 9.9.9.20\n")
    try:
        a = daemons("a", "['*.example.org', 9.9.9.2]", "limits: {answer_seconds: 1, threads: 4}\n")
        daemons("b", "false")
        for _ in range(3):
            assert a("bob@b.example.org") == SILENT
            assert a.outcome() == "busy"
            assert a("bob") == b"Bob on a\r\n"
            assert a("bob@9.9.9.2") == b"[9.9.9.2]\r\nBob on b\r\n"
            assert [a.outcome(), a.outcome()] == ["answered"] * 2
        assert a.daemon.stop() == 0, "a lookup in progress does not delay the exit"
    finally:
        config.write_text(before)


@on_hosts
def test_the_size_and_the_time_of_an_answer_are_bounded(daemons: Daemons) -> None:
    a = daemons("a", ALL, "limits: {answer_seconds: 1.5, reply_bytes: 64KiB}\n")
    answer = a("bob@gigabyte.example.org")
    assert len(answer) <= 64 << 10
    assert answer.startswith(b"[gigabyte.example.org]\r\n0123456789abcdef")
    assert answer.endswith(b"abcd\r\n" + CUT)
    assert a.outcome() == "answered"
    answer = a("bob@drip.example.org")
    assert re.fullmatch(rb"\[drip.example.org\]\r\n(drip\r\n){2,}\[answer cut\]\r\n", answer)
    assert a.outcome() == "answered"


@on_hosts
def test_control_characters_are_masked(daemons: Daemons) -> None:
    a = daemons("a", ALL)
    answer = a("bob@binary.example.org").decode()
    assert answer.endswith("?]0;pwned?\r\n")
    assert not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", answer)
    assert all(text in answer for text in ("ABC", "\t", "éêë"))


@on_hosts
def test_an_answer_is_sent_as_it_arrives(daemons: Daemons, net: Net) -> None:
    a = daemons("a", ALL)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(a.path)
        client.sendall(b"bob@slow.example.org\r\n")
        assert client.recv(4096) == b"[slow.example.org]\r\nfirst\r\n"
        assert hear(client) == b"second\r\n"
    assert "bytes=35" in a.daemon.logged("outcome=answered")


@on_hosts
def test_a_partial_answer_ends_in_answer_cut_when_the_daemon_stops(daemons: Daemons) -> None:
    a = daemons("a", ALL, "limits: {drain_seconds: 0.3}\nreply: {footer: 'by {user}'}\n")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(a.path)
        client.sendall(b"bob@drip.example.org\r\n")
        assert client.recv(4096).startswith(b"[drip.example.org]\r\ndrip\r\n")
        a.daemon.process.terminate()
        assert re.fullmatch(rb"(drip\r\n)+\[answer cut\]\r\nby bob\r\n", hear(client))
    assert a.daemon.stop() == 0


@on_hosts
def test_data_that_a_client_reads_late_is_sent_as_soon_as_it_reads(daemons: Daemons) -> None:
    a = daemons("a", ALL, "limits: {answer_seconds: 60, reply_bytes: 8MiB}\n")
    whole = len(b"[long.example.org]\r\n") + (3 << 20)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(a.path)
        client.sendall(b"bob@long.example.org\r\n")
        for _ in range(100):
            assert a("bob") == b"Bob on a\r\n"
        received = 0
        while received < whole:  # the next host sends no more, and does not close before we do
            received += len(client.recv(1 << 16))
    assert received == whole


@on_hosts
def test_a_client_that_does_not_read_or_is_gone_blocks_no_other(daemons: Daemons) -> None:
    a = daemons("a", ALL, "limits: {answer_seconds: 60, reply_bytes: 8MiB}\n")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(a.path)
        client.sendall(b"bob@gigabyte.example.org\r\n")
        for _ in range(100):
            assert a("bob") == b"Bob on a\r\n"
        answer = hear(client)
    assert len(answer) <= 8 << 20
    assert answer.endswith(b"\r\n" + CUT)
    assert len(answer) > 8_000_000
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(a.path)
        client.sendall(b"bob@drip.example.org\r\n")
        assert client.recv(10)
    assert "bob@drip" in a.daemon.logged("outcome=hung-up"), "long before answer_seconds are over"


@on_hosts
def test_one_client_forwards_by_a_quarter_of_the_threads_only(daemons: Daemons, net: Net) -> None:
    a = daemons("a", "['*.example.org', 9.9.9.2]", "limits: {answer_seconds: 3, threads: 8}\n")
    daemons("b", "false")
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(a.path)
            client.sendall(b"bob@silent.example.org\r\n")
        assert net.ask_from("c", "9.9.9.1", "bob@9.9.9.2") == b"[9.9.9.2]\r\nBob on b\r\n"
        assert a("bob") == b"Bob on a\r\n"


@on_hosts
def test_forwarding_works_without_root_in_a_chroot(daemons: Daemons, net: Net, tmp_path: Path) -> None:
    chroot = tmp_path / "chroot"
    (chroot / "etc").mkdir(parents=True)
    shutil.copy(net.folder / "a" / "resolv.conf", chroot / "etc")
    let_everybody_in(tmp_path)
    a = daemons("a", ALL, f"process: {{user: nobody, chroot: {chroot}}}\n")
    daemons("b", "false")
    assert a("bob@b.example.org") == b"[b.example.org]\r\nBob on b\r\n"
    assert a("bob@nowhere.example.org") == UNKNOWN


@on_hosts
def test_query_prints_the_answer_of_the_next_host(daemons: Daemons, net: Net, tmp_path: Path) -> None:
    daemons("b", "false")
    path = tmp_path / "forward.yaml"
    path.write_text(f"backend: {{type: empty}}\npolicy: [{{from: any, forward: {ALL}}}]\n")
    for query, answer in {
        "bob@b.example.org": b"[b.example.org]\r\nBob on b\r\n",
        "bob@closed.example.org": UNREACHABLE,
    }.items():
        command = [*net.hosts["a"].inside, *FINGERD, "-c", str(path), "--query", query]
        assert subprocess.run(command, capture_output=True, check=True).stdout == answer


@on_hosts
def test_a_reload_turns_forwarding_on_and_off(daemons: Daemons) -> None:
    a, _ = daemons("a", "false"), daemons("b", "false")
    config = config_of(a.daemon).read_text()
    for targets, answer in ((ALL, b"[b.example.org]\r\nBob on b\r\n"), ("false", DENIED)):
        assert a("bob@b.example.org") != answer
        reload(a.daemon, config.replace("forward: false", f"forward: {targets}"))
        assert a("bob@b.example.org") == answer
