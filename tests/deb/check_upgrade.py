"""The upgrade of Debian itself while the package is installed: the service goes on, and nothing of it is lost."""

from collections.abc import Iterator

import pytest

from tests.deb.machine import Machine, Report, machine_on_disk
from tests.deb.roots import NEXT, ROOT, UPGRADE

DEFAULT = (ROOT / "etc/fingerd.yaml").read_text()
EDITED = DEFAULT.replace("  users:", "  users:\n    moshez: Happy and well", 1)


@pytest.fixture
def to_upgrade(suite: str) -> Iterator[Machine]:
    """A machine of its own, with the package installed."""
    if suite not in NEXT:
        pytest.skip(f"nothing comes after {suite} yet")
    with machine_on_disk(suite) as machine:
        machine.install()
        yield machine


def check_the_service_outlives_the_upgrade_of_debian(to_upgrade: Machine, report: Report) -> None:
    machine = to_upgrade
    machine.configure(EDITED)
    account = machine.run("id", "fingerd")
    before = python(machine)
    pid = machine.show("fingerd.service", "MainPID")
    machine.run("env", f"APT_CONFIG={UPGRADE}", "apt-get", "-q", "-y", "full-upgrade", seconds=900)
    assert f"VERSION_CODENAME={NEXT[machine.suite]}\n" in machine.read("/etc/os-release")
    assert machine.run("dpkg", "--audit") == ""
    assert "fingerd" in machine.packages()
    assert machine.read("/etc/fingerd.yaml") == EDITED
    assert not machine.exists("/etc/fingerd.yaml.dpkg-dist")
    answers(machine)
    report("during the upgrade:", "not restarted" if machine.show("fingerd.service", "MainPID") == pid else "restarted")

    # The interpreter of the running daemon goes now, and the reload runs the new one.
    removed = machine.run("apt-get", "-q", "-y", "autoremove", "--purge")
    assert "fingerd" in machine.packages()
    assert not machine.exists(before)
    machine.run("systemctl", "reload", "fingerd.service")
    answers(machine)
    machine.run("systemctl", "restart", "fingerd.service")
    answers(machine)
    assert python(machine) != before
    report(f"{before}, which is removed, then {python(machine)}:", "answers, reloads, restarts")

    machine.reboot()
    assert machine.state == "running"
    answers(machine)
    assert machine.run("id", "fingerd") == account
    assert machine.read("/etc/fingerd.yaml") == EDITED
    version = machine.run("systemctl", "--version").splitlines()[0]
    report("after a reboot:", version, "is", machine.state, "and the service answers; /etc/fingerd.yaml is as edited")
    assert removed


def answers(machine: Machine) -> None:
    """Check that the service runs, and answers."""
    assert machine.run("systemctl", "is-active", "fingerd.service") == "active\n"
    assert "Happy and well" in machine.finger("moshez@localhost")


def python(machine: Machine) -> str:
    """The path of the interpreter that runs the service."""
    pid = machine.show("fingerd.service", "MainPID")
    return machine.run("readlink", f"/proc/{pid}/exe").strip().removesuffix(" (deleted)")
