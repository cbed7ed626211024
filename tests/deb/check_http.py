"""HTTP from the package: in its sandbox, with Debian's libraries, and by a socket that systemd passes by its name."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deb.machine import Machine, Report
from tests.deb.roots import ROOT

DEFAULT = (ROOT / "etc/fingerd.yaml").read_text()
EXAMPLE = "This is fingerd. Edit /etc/fingerd.yaml to tell of real people."
UNIT = ROOT / "examples/http/fingerd-http.socket"
SOCKET = "/run/fingerd/http.sock"

GET = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost", 8079)
if len(sys.argv) > 2:
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(sys.argv[2])
connection.request("GET", sys.argv[1], headers={"X-Forwarded-For": "203.0.113.9"})
response = connection.getresponse()
print(response.status, response.read().decode())
"""

# Asks again and again by a unix socket, and prints how often, and how many answers were not 200.
ASK_ON = """
import socket, sys, time
count = lost = 0
end = time.monotonic() + 2
while time.monotonic() < end or count < 150:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(sys.argv[1])
        client.sendall(b"GET /~example HTTP/1.1\\r\\nHost: x\\r\\nX-Forwarded-For: 203.0.113.9\\r\\n\\r\\n")
        count, lost = count + 1, lost + (not client.makefile("rb").read().startswith(b"HTTP/1.1 200 "))
    time.sleep(0.005)
print(count, lost)
"""


@pytest.fixture(scope="module", autouse=True)
def libraries(machine: Machine) -> Iterator[None]:
    with machine.tools("http"):
        yield


def get(machine: Machine, target: str, path: str = "", user: str = "nobody") -> str:
    """The status and the body of a response, by TCP or by a unix socket; the error if there is none."""
    asker = ("setpriv", f"--reuid={user}", f"--regid={user if user != 'nobody' else 'nogroup'}", "--clear-groups")
    return machine.run(*asker, "python3", "-c", GET, target, *filter(None, [path]), check=False)


def check_pages_are_served_from_the_sandbox(service: Machine, report: Report) -> None:
    service.configure(f'{DEFAULT}http: {{listen: "127.0.0.1:8079", title: The machine}}\n')
    page = get(service, "/~example")
    assert page.startswith("200 <!DOCTYPE html>")
    assert EXAMPLE in page
    assert get(service, "/style.css").startswith("200 ")
    assert get(service, "/~nobody/json") == '404 {"error": "No such user"}\n\n'
    assert EXAMPLE in service.finger("example@localhost")
    versions = service.run("dpkg-query", "--show", "python3-h11", "python3-jinja2").split()
    report("with", *versions, "a page of", len(page), "characters")


def check_systemd_passes_the_socket_by_its_name(service: Machine, report: Report) -> None:
    text = UNIT.read_text()
    shown = re.findall(r"^# {5}(http:|  .*)$", text, re.MULTILINE)
    commands = re.findall(r"^# {5}((?:install|systemctl) .*)$", text, re.MULTILINE)
    assert len(commands) == 5
    folder = "/usr/share/doc/fingerd/examples/http"
    assert service.read(f"{folder}/{UNIT.name}") == text
    service.write("/etc/fingerd.yaml", "\n".join([DEFAULT, *shown, ""]))
    try:
        for command in commands:
            service.run("sh", "-c", f"cd {folder} && {command}")
        assert service.run("systemd-analyze", "verify", "--man=no", UNIT.name) == ""
        assert service.run("stat", "--format=%a %U %G", SOCKET) == "660 root www-data\n"
        assert get(service, "/~example/text", SOCKET, "www-data").startswith(f"200 {EXAMPLE}")
        assert "PermissionError" in get(service, "/~example/text", SOCKET)
        assert EXAMPLE in service.finger("example@localhost")
        pid = service.show("fingerd.service", "MainPID")
        asking = subprocess.Popen(
            service.command("python3", "-c", ASK_ON, SOCKET),
            stdout=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        service.run("systemctl", "restart", "fingerd.service")
        count, lost = map(int, asking.communicate(timeout=60)[0].split())
        assert service.show("fingerd.service", "MainPID") != pid
        assert count >= 150
        assert lost == 0
        report(f"for www-data only; a restart: {count} requests, {lost} lost")

        # Both doors by sockets of systemd, in the tighter sandbox of socket.conf.
        service.drop_in("fingerd.service", Path(ROOT / "examples/systemd/socket.conf"))
        service.run("systemctl", "stop", "fingerd.service")
        service.run("systemctl", "start", "fingerd.socket")
        service.run("systemctl", "start", "fingerd.service")
        assert EXAMPLE in service.finger("example@localhost")
        assert get(service, "/~example/text", SOCKET, "www-data").startswith(f"200 {EXAMPLE}")
        report("both doors by sockets from systemd: answered")
    finally:
        service.run("systemctl", "disable", "--now", UNIT.name, check=False)
