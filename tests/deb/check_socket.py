"""systemd holds the port: restarts and upgrades lose no query, and several processes share the load."""

import collections
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.deb.machine import Machine, Report
from tests.deb.roots import DIST, ENVIRONMENT, ROOT

EXAMPLES = ROOT / "examples/systemd"
DEFAULT = (ROOT / "etc/fingerd.yaml").read_text()


@pytest.fixture
def socket(service: Machine) -> Machine:
    """The service with systemd holding the port, as in README.Debian."""
    service.drop_in("fingerd.service", EXAMPLES / "socket.conf")
    service.run("systemctl", "stop", "fingerd.service")
    service.run("systemctl", "enable", "--quiet", "--now", "fingerd.socket")
    service.run("systemctl", "start", "fingerd.service")
    return service


def check_restarts_through_the_socket_lose_no_query(socket: Machine, report: Report) -> None:
    pids = set()
    with socket.load() as load:
        for _ in range(3):
            socket.run("systemctl", "restart", "fingerd.service")
            pids.add(socket.show("fingerd.service", "MainPID"))
    report("three restarts:", load)
    assert len(pids) == 3
    assert load.lost == []
    assert load.queries > 100


def check_the_first_client_starts_the_unchanged_service(service: Machine, report: Report) -> None:
    service.run("systemctl", "stop", "fingerd.service")
    service.run("systemctl", "start", "fingerd.socket")
    assert service.status("systemctl", "is-active", "fingerd.service") != 0
    assert "This is fingerd" in service.finger("example@localhost")
    assert service.status("systemctl", "is-active", "fingerd.service") == 0
    with service.load() as load:
        service.run("systemctl", "restart", "fingerd.service")
    report("fingerd.socket alone, no drop-in, no other configuration: answered; a restart:", load)
    assert load.lost == []


def check_the_exposure_with_the_socket_is_at_most_0_8(socket: Machine, report: Report) -> None:
    for unit in ("fingerd.service", "fingerd@1.service"):
        output = socket.run("systemd-analyze", "security", "--no-pager", "--threshold=8", unit)
        report(output.splitlines()[-1].strip())
    pid = socket.show("fingerd.service", "MainPID")
    capabilities = re.findall(r"^Cap\w+:\t(\w+)$", socket.read(f"/proc/{pid}/status"), re.MULTILINE)
    assert capabilities == ["0" * 16] * 5
    report("no capability at all")


def check_two_more_processes_share_the_load(socket: Machine, report: Report) -> None:
    socket.run("systemctl", "enable", "--quiet", "--now", "fingerd@2", "fingerd@3")
    units = ("fingerd.service", "fingerd@2.service", "fingerd@3.service")
    cursor = socket.cursor()
    with socket.load() as load:
        time.sleep(1)
    shares = collections.Counter(unit for unit, _ in socket.wait_for_lines(cursor, "outcome=answered", load.queries))
    report("shares:", dict(shares), load)
    assert load.lost == []
    assert set(shares) == set(units)
    assert min(shares.values()) > load.queries / 20

    cursor = socket.cursor()
    socket.run("systemctl", "reload", "fingerd.service")
    reloaded = {unit for unit, _ in socket.wait_for_lines(cursor, "configuration reloaded", len(units))}
    assert reloaded == set(units)
    report("reloaded by fingerd.service:", *sorted(reloaded))

    before = [socket.show(unit, "MainPID") for unit in units]
    with socket.load() as load:
        socket.run("systemctl", "restart", "fingerd.service")
        socket.run("systemctl", "reload", "fingerd.service")
        socket.run("systemctl", "kill", "--signal=KILL", "fingerd@3.service")
        time.sleep(0.3)
    after = [socket.show(unit, "MainPID") for unit in units]
    assert not set(before) & set(after)
    report("restarted by fingerd.service:", *units, load)
    assert len(load.lost or ()) <= 4  # those that the killed one was about to answer

    socket.run("systemctl", "stop", "fingerd.socket", "fingerd.service")
    assert [socket.show(unit, "ActiveState") for unit in units] == ["inactive"] * 3
    assert socket.processes("fingerd") == []


def check_an_upgrade_keeps_an_edited_conffile_and_loses_no_query(
    socket: Machine, report: Report, tmp_path: Path
) -> None:
    build_version(socket, tmp_path, "1.0.1")
    build_version(socket, tmp_path, "1.0.2", conffile=f"{DEFAULT}# a new line of the package's\n")
    edited = DEFAULT.replace("  users:", "  users:\n    moshez: Happy and well", 1)
    socket.write("/etc/fingerd.yaml", edited)
    socket.run("systemctl", "enable", "--quiet", "--now", "fingerd@2")
    pids = {socket.show("fingerd.service", "MainPID"), socket.show("fingerd@2.service", "MainPID")}
    with socket.load() as load:
        socket.install("/root/new/fingerd_1.0.1_all.deb")
        assert "moshez" in socket.read("/etc/fingerd.yaml")
        assert "Happy and well" in socket.finger("moshez@localhost")
        assert socket.run("fingerd", "--version") == "fingerd 1.0.1\n"
        pids |= {socket.show("fingerd.service", "MainPID"), socket.show("fingerd@2.service", "MainPID")}
        assert len(pids) == 4
        socket.install("/root/new/fingerd_1.0.2_all.deb", "-o", "Dpkg::Options::=--force-confold")
    report("two upgrades, each of which restarted both processes:", load)
    assert load.lost == []
    assert socket.read("/etc/fingerd.yaml") == edited
    assert socket.exists("/etc/fingerd.yaml.dpkg-dist")
    assert socket.run("systemctl", "is-active", "fingerd.socket", "fingerd.service", "fingerd@2") == "active\n" * 3
    report("/etc/fingerd.yaml is as it was edited, with an unchanged and with a changed one in the package")


def build_version(machine: Machine, directory: Path, version: str, conffile: str = DEFAULT) -> None:
    """Build the package with a higher version, and with another conffile if given, and copy it into the machine."""
    tree = directory / version
    package = next(DIST.glob("fingerd_*_all.deb"))
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tree)], check=True, env=ENVIRONMENT)
    for path, pattern, new in (
        ("DEBIAN/control", r"(?m)^Version: .*$", f"Version: {version}"),
        ("usr/lib/python3/dist-packages/fingerd/__init__.py", r"(?m)^__version__ = .*$", f'__version__ = "{version}"'),
    ):
        file = tree / path
        file.write_text(re.sub(pattern, new, file.read_text()))
    (tree / "etc/fingerd.yaml").write_text(conffile)
    built = directory / f"fingerd_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(built)],
        check=True,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
    )
    (machine.root / "root/new").mkdir(exist_ok=True)
    shutil.copy(built, machine.root / "root/new")
