"""The package's service behind programs that name its clients, by the commands of examples/fleet/."""

import collections
import re
from collections.abc import Iterator

import pytest

from tests.deb.machine import Machine, Report
from tests.deb.roots import ROOT

FLEET = ROOT / "examples/fleet"
INSTALLED = "/usr/share/doc/fingerd/examples/fleet"
PEOPLE = ("examples/community", "/usr/share/doc/fingerd/examples/community")
UNIT = "fingerd-tls.socket"
SOCKET = "/run/fingerd/tls.sock"
ANSWER = "The kiln is lit"  # of examples/community/brindle, for the community's own network
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout privkey.pem -out fullchain.pem"
)
FORGE = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.sendall(b"PROXY TCP4 127.0.0.1 192.0.2.1 40000 8179\\r\\nbrindle\\r\\n")
    print(client.makefile().read())
"""

# As a balancer: 400 queries of other clients, eight at a time. Prints the answers that there were.
BALANCE = """
import socket
from concurrent.futures import ThreadPoolExecutor
def ask(number):
    with socket.create_connection(("127.0.0.1", 79), 10) as client:
        client.sendall(b"PROXY TCP4 203.0.113.%d 192.0.2.1 40000 79\\r\\nnobody\\r\\n" % (number % 200))
        return client.makefile().read()
with ThreadPoolExecutor(8) as clients:
    print(sorted(set(clients.map(ask, range(400)))))
"""


def commands(name: str) -> list[str]:
    """The commands in the comment of an example."""
    found = re.findall(r"^[#;] {5}((?:cat|install|systemctl) .*)$", (FLEET / name).read_text(), re.MULTILINE)
    assert len(found) >= 3
    return found


@pytest.fixture
def behind_tls(service: Machine) -> Iterator[Machine]:
    """The service with the configuration tls.yaml, whose socket is systemd's, and a certificate for 127.0.0.1."""
    text = (FLEET / "tls.yaml").read_text()
    (by_name,) = re.findall(r"^# {5}  (- \{systemd: tls, .*)$", text, re.MULTILINE)
    text, replaced = re.subn(r"  - unix: .*\n(?:    .*\n)+", f"  {by_name}\n", text)
    assert replaced == 1
    service.write("/etc/fingerd.yaml", text.replace(*PEOPLE).replace("198.51.100.0/24", "127.0.0.1"))
    with service.tools("tls"):
        service.run("sh", "-c", f"cd {INSTALLED} && {CERTIFICATE}")
        yield service
        service.run("systemctl", "disable", "--now", "haproxy", "stunnel@finger", check=False)
        service.run("systemctl", "disable", "--now", UNIT, check=False)
        service.run("sh", "-c", f"rm -f {INSTALLED}/*.pem /etc/haproxy/finger.pem /etc/stunnel/finger.*")


@pytest.mark.parametrize(
    ("example", "group"), [("haproxy-tls.cfg", "haproxy"), ("stunnel.conf", "stunnel4")], ids=["HAProxy", "stunnel"]
)
def check_tls_in_front(behind_tls: Machine, report: Report, example: str, group: str) -> None:
    behind_tls.drop_in(UNIT, f"[Socket]\nSocketGroup={group}\n")
    for command in commands(UNIT) + commands(example):
        behind_tls.run("sh", "-c", f"cd {INSTALLED} && {command}")
    assert behind_tls.run("systemd-analyze", "verify", "--man=no", UNIT) == ""
    assert behind_tls.run("stat", "--format=%a %U %G", SOCKET) == f"660 root {group}\n"
    behind_tls.wait_for_port(8179)
    asking = ("pyfinger", "--tls", "--ca", f"{INSTALLED}/fullchain.pem", "-l", "brindle@127.0.0.1:8179")
    for _ in range(2):
        cursor = behind_tls.cursor()
        assert ANSWER in behind_tls.run(*asking)
        ((_, line),) = behind_tls.wait_for_lines(cursor, "outcome=answered")
        assert line.startswith("client=127.0.0.1 ")
        assert line.endswith(" via=unix")
        assert ANSWER in behind_tls.finger("-l", "brindle@127.0.0.1")
        behind_tls.run("systemctl", "restart", "fingerd.service")  # which keeps the socket
    forging = ("setpriv", "--reuid=nobody", "--clear-groups", "python3", "-c", FORGE, SOCKET)
    assert "PermissionError" in behind_tls.run(*forging, check=False)
    report(f"answered before and after a restart: {line}")


def check_several_processes_behind_a_balancer(service: Machine, report: Report) -> None:
    text = (FLEET / "processes.yaml").read_text().replace("[192.0.2.1, 192.0.2.2]", "[127.0.0.1]")
    service.write("/etc/fingerd.yaml", text.replace(*PEOPLE))
    for command in commands("processes.yaml"):
        service.run("sh", "-c", command)
    cursor = service.cursor()
    assert service.run("python3", "-c", BALANCE) == "['No such user\\n']\n"
    lines = service.wait_for_lines(cursor, "outcome=unknown", 400)
    assert all(re.search(r"^client=203\.0\.113\.\d+ .* via=127\.0\.0\.1$", line) for _, line in lines)
    shares = collections.Counter(unit for unit, _ in lines)
    assert set(shares) == {"fingerd.service", "fingerd@2.service", "fingerd@3.service"}
    cursor = service.cursor()
    assert "Kiln house" not in service.finger("brindle@127.0.0.1")  # which sends no header
    assert service.wait_for_lines(cursor, "outcome=proxy-error")
    report("shares:", dict(shares))
