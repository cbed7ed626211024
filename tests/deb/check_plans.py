"""fingerd-plan, as docs/plans.md has it: a member changes a plan by shell and by ssh, and the service tells it."""

import re
from collections.abc import Iterator

import pytest

from tests.deb.machine import Machine, Report
from tests.deb.roots import ROOT

GUIDE = (ROOT / "docs/plans.md").read_text()
PLANS = "/var/lib/fingerd/plans"
PEOPLE = "/srv/fingerd"


@pytest.fixture(scope="module", autouse=True)
def accounts(machine: Machine) -> Iterator[None]:
    with machine.tools("accounts"):
        yield


def check_a_member_changes_a_plan_in_the_shell(service: Machine, report: Report) -> None:
    service.copy(ROOT / "examples/plans/make-plan-folders", "/usr/local/sbin/make-plan-folders")
    (line,) = re.findall(r"^    (session .*)$", GUIDE, re.MULTILINE)
    service.run("cp", "/etc/pam.d/common-session", "/root/common-session")
    try:
        service.run("sh", "-c", f"echo '{line}' >> /etc/pam.d/common-session")
        service.configure(f"backend: {{type: system, plans: {PLANS}}}\n")
        service.run("useradd", "--create-home", "--key", "HOME_MODE=0700", "zoe")
        assert "No such user" in service.finger("zoe@localhost")
        service.run("install", "-d", "/var/lib/fingerd")
        service.run("install", "-d", PLANS)
        service.run("su", "zoe", "-c", "umask 077; echo 'Back on Monday.' | fingerd-plan set")
        service.wait_for_answer("zoe@localhost", "Back on Monday.", seconds=3)
        preview = service.run("su", "zoe", "-c", "fingerd-plan preview")
        assert preview.endswith("Plan:\nBack on Monday.\n")
        service.run("su", "zoe", "-c", "fingerd-plan hide")
        service.wait_for_answer("zoe@localhost", "No such user", seconds=3)
        assert service.status("su", "zoe", "-c", "echo x | fingerd-plan --as root set") == 77
        report("by shell:", preview.splitlines()[-1])
    finally:
        service.run("cp", "/root/common-session", "/etc/pam.d/common-session")
        service.run("userdel", "--remove", "--force", "zoe", check=False)
        service.run("rm", "-rf", PLANS, "/usr/local/sbin/make-plan-folders")


@pytest.fixture
def ssh(service: Machine) -> Iterator[None]:
    with service.tools("ssh"):
        yield


@pytest.mark.usefixtures("ssh")
def check_a_person_without_an_account_changes_a_plan_by_ssh(service: Machine, report: Report) -> None:
    """The account, the directory and the key are made by the lines of the page."""
    try:
        for command in re.findall(r"^    ((?:useradd|install) .*fingerd-plan.*)$", GUIDE, re.MULTILINE):
            service.run("sh", "-ec", command)
        service.configure(f"backend: {{type: files, folder: {PEOPLE}}}\n")
        service.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/zoe")
        (forced,) = re.findall(r"^    (restrict,.*) ssh-ed25519", GUIDE, re.MULTILINE)
        home = "/var/lib/fingerd-plan/.ssh"
        service.run("install", "-d", home)
        service.write(f"{home}/authorized_keys", f"{forced} {service.read('/root/zoe.pub')}")
        service.wait("systemctl", "is-active", "ssh.service")
        ssh = "ssh -i /root/zoe -o BatchMode=yes -o StrictHostKeyChecking=no -o LogLevel=ERROR fingerd-plan@localhost"
        service.run("sh", "-c", f"echo 'From my laptop.' | {ssh} set")
        service.wait_for_answer("zoe@localhost", "From my laptop.", seconds=3)
        assert service.status("sh", "-c", f"{ssh} id") == 64
        assert service.status("sh", "-c", ssh) == 64
        assert service.run("stat", "-c", "%U %a", f"{PEOPLE}/zoe/plan") == "fingerd-plan 644\n"
        service.run("sh", "-c", f"{ssh} hide")
        service.wait_for_answer("zoe@localhost", "No such user", seconds=3)
        report("by ssh:", service.run("sh", "-c", f"{ssh} show").strip())
    finally:
        service.run("userdel", "--remove", "--force", "fingerd-plan", check=False)
        service.run("rm", "-rf", PEOPLE, "/root/zoe", "/root/zoe.pub")
