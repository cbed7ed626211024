"""fingerd-plan, as docs/plans.md has it: a plan is changed by shell, ssh, curl and form, and the service tells it."""

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
        for command in re.findall(r"^    ((?:usermod|install -d -o) .*)$", GUIDE, re.MULTILINE):
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
        service.run("usermod", "--home", "/nonexistent", "--shell", "/usr/sbin/nologin", "fingerd-plan", check=False)
        service.run("rm", "-rf", PEOPLE, "/var/lib/fingerd-plan", "/root/zoe", "/root/zoe.pub")


@pytest.fixture
def curl(service: Machine) -> Iterator[None]:
    with service.tools("curl"):
        yield


@pytest.mark.usefixtures("curl")
def check_a_person_changes_a_plan_with_curl_and_a_form(service: Machine, report: Report) -> None:
    """The section, the directories, the service and the token are those of the page."""
    section = GUIDE.partition("## From anywhere, with a token\n")[2].partition("\n### ")[0]
    (config,) = re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    *commands, adding = re.findall(
        r"^    ((?:install|systemctl enable|fingerd-plan token add) .*)$", section, re.MULTILINE
    )
    try:
        assert service.status("systemctl", "is-enabled", "--quiet", "fingerd-plan.service") != 0
        assert service.status("systemctl", "is-active", "--quiet", "fingerd-plan.service") != 0
        service.configure(config)
        for command in commands:
            service.run("sh", "-ec", command)
        token = service.run("sh", "-ec", adding).strip()
        assert service.run("stat", "-c", "%U:%G %a", "/etc/fingerd-plan/tokens") == "root:fingerd-plan 640\n"
        curl = f"curl -sS -w '%{{http_code}}' -H 'X-Forwarded-For: 192.0.2.7' -H 'Authorization: Bearer {token}'"
        url = "http://127.0.0.1:8078/~zoe"
        service.run("sh", "-c", "echo 'From anywhere.' > /root/new-plan")
        assert service.run("sh", "-c", f"{curl} -T /root/new-plan {url}/plan") == "201"
        service.wait_for_answer("zoe@localhost", "From anywhere.", seconds=3)
        assert service.run("stat", "-c", "%U %a", f"{PEOPLE}/zoe/plan") == "fingerd-plan 644\n"
        assert 'name="token"' in service.run("sh", "-c", f"{curl} {url}/edit")
        without = curl.replace(f"-H 'Authorization: Bearer {token}'", "")
        form = f"{without} --data-urlencode 'text=By form.' --data-urlencode token={token} {url}/edit"
        assert service.run("sh", "-c", form) == "303"
        service.wait_for_answer("zoe@localhost", "By form.", seconds=3)
        assert service.run("sh", "-c", f"{curl} -X DELETE {url}/plan") == "204"
        assert service.run("sh", "-c", f"{without} -X DELETE {url}/plan").endswith("401")
        pid = service.show("fingerd-plan.service", "MainPID")
        status = dict(
            line.split(":\t", 1) for line in service.read(f"/proc/{pid}/status").splitlines() if ":\t" in line
        )
        uid = service.run("id", "--user", "fingerd-plan").strip()
        assert (status["Uid"].split(), status["NoNewPrivs"], status["Seccomp"]) == ([uid] * 4, "1", "2")
        assert not any(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
        mounts = [line.split() for line in service.read(f"/proc/{pid}/mountinfo").splitlines()]
        options = {mount[4]: mount[5].split(",") for mount in mounts}
        writable = sorted(
            path for path in ("/", "/etc", "/srv/fingerd", "/var", "/run") if "rw" in options.get(path, ())
        )
        assert writable == ["/srv/fingerd"]
        assert "noexec" in options["/srv/fingerd"]
        assert token not in service.journal("fingerd-plan")
        report("by curl and by a form; the service can write to", *writable)
    finally:
        service.run("systemctl", "disable", "--now", "fingerd-plan.service", check=False)
        service.run("rm", "-rf", PEOPLE, "/etc/fingerd-plan", "/root/new-plan")


@pytest.mark.usefixtures("curl")
def check_only_the_web_server_says_whom_it_has_signed_in(service: Machine, report: Report) -> None:
    """By the socket of the examples, with curl in place of the web server."""
    section = GUIDE.partition("## In a browser, behind a web server")[2]
    config = re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[0]
    commands = re.findall(r"^    ((?:install|systemctl) .*)$", section.partition("nginx asks")[0], re.MULTILINE)
    try:
        service.run("install", "-d", "-o", "fingerd-plan", PEOPLE, f"{PEOPLE}/zoe")
        service.copy(ROOT / "examples/http/fingerd-plan.socket", "/root/examples/http/fingerd-plan.socket")
        service.configure(f"backend: {{type: files, folder: {PEOPLE}}}\n{config}")
        for command in commands:
            service.run("sh", "-ec", f"cd /root; {command}")
        fields = ("X-Forwarded-For: 192.0.2.7", "X-Remote-User: zoe", "Origin: https://people.example.org")
        curl = "curl -sS -o /dev/null -w '%{http_code}' --unix-socket /run/fingerd-plan.sock -d 'text=Signed in.'"
        curl += "".join(f" -H '{field}'" for field in fields) + " http://people.example.org/~zoe/edit"
        as_user = "setpriv --clear-groups --reuid={0} --regid={0} "
        assert service.run("sh", "-c", as_user.format("www-data") + curl) == "303"
        service.wait_for_answer("zoe@localhost", "Signed in.", seconds=3)
        assert service.status("sh", "-c", as_user.format("nobody").replace("regid=nobody", "regid=nogroup") + curl) == 7
        foreign = curl.replace("https://people.example.org'", "https://evil.example'")
        assert service.run("sh", "-c", as_user.format("www-data") + foreign) == "403"
        report("by the web server's group 303, by nobody no connection, from another site's page 403")
    finally:
        service.run("systemctl", "disable", "--now", "fingerd-plan.socket", "fingerd-plan.service", check=False)
        service.run("rm", "-rf", PEOPLE, "/root/examples", "/etc/systemd/system/fingerd-plan.socket")
