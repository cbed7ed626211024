"""The host's accounts: the service shows the same facts as finger(1) on the host."""

from collections.abc import Iterator

import pytest

from tests.deb.machine import Machine, Report, machine_on_disk
from tests.deb.roots import MORE_TOOLS, ROOT
from tests.helpers.finger_facts import compare

CONFIG = """\
backend: {{type: system{options}}}
policy: [{{from: any, list: true, show: {show}, match: name}}]
"""
# Logs a user in on a new terminal while it runs.
LOGIN = """\
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("login", ["login", "-p", *sys.argv[1:]])
while not os.waitpid(pid, os.WNOHANG)[0]:
    try:
        os.read(terminal, 4096)
    except OSError:  # login(1) of Debian 13 hangs the terminal up, and opens it again
        time.sleep(0.05)
"""
PLANS = "/var/lib/fingerd/plans"

WITH_UTMP = ("bookworm",)  # for others, systemd-logind alone knows the sessions
NEVER = "Never logged in.\n"
LAST_LOGIN = "Last login"
LAST_LOGINS = {
    "bookworm": ("/var/log/lastlog",),
    "trixie": ("/var/lib/lastlog/lastlog2.db", "/var/log/wtmp.db"),
}


@pytest.fixture(scope="module")
def machine(suite: str) -> Iterator[Machine]:
    """A machine of its own, which was booted with what records sessions and last logins."""
    with machine_on_disk(suite) as machine:
        machine.install("/root/tools/sessions/*.deb", "--no-install-recommends")
        machine.reboot()
        assert machine.state == "running"
        yield machine


@pytest.fixture
def accounts(service: Machine) -> Iterator[None]:
    """Accounts, two of which are logged in, and the service with the backend and its drop-in."""
    _populate(service)
    service.configure(CONFIG.format(options="", show="everything"), restart=False)
    service.drop_in("fingerd.service", ROOT / "examples/systemd/system.conf")
    service.run("systemctl", "restart", "fingerd.service")
    yield
    service.run("systemctl", "stop", "login-ann", "login-shy", check=False)
    for login in ("ann", "bob", "shy", "closed"):
        service.run("userdel", "--remove", "--force", login, check=False)


@pytest.mark.usefixtures("accounts")
def check_the_accounts_of_the_host_are_shown_as_by_finger(service: Machine, report: Report) -> None:
    for login in ("ann", "bob"):
        here = service.run("finger", login)
        if service.suite not in WITH_UTMP:  # finger knows no other source, and takes everybody for "Never logged in."
            here = here.replace(NEVER, "")
        there = service.finger("-l", f"{login}@localhost").replace("\r", "")
        compare(here, there)
        short = service.finger(f"{login}@localhost").replace("\r", "")
        assert [line for line in short.splitlines()[1:] if line not in there] == []
    _check_the_session(service, report)
    if service.suite in WITH_UTMP:
        assert service.run("finger").count("Ann Example") == 1
        service.run("rm", "/run/utmp")
        service.run("systemctl", "restart", "fingerd.service")
        _check_the_session(service, report)
        service.run("touch", "/run/utmp")
    service.configure(CONFIG.format(options="", show="standard"))
    standard = service.finger("-l", "ann@localhost")
    assert "On since" in standard
    assert "To be tested" in standard
    for hidden in ("/home/ann", "/bin/sh", "555 2", "mail"):
        assert hidden not in standard


@pytest.mark.usefixtures("accounts")
def check_last_logins_are_read_from_each_database(service: Machine, report: Report) -> None:
    service.run("systemctl", "stop", "login-ann")
    service.wait_for_answer("ann@localhost", LAST_LOGIN)
    assert "ann" not in service.finger("@localhost")
    databases = LAST_LOGINS[service.suite]
    for package in MORE_TOOLS.get(service.suite, {}).get("sessions", ()):
        assert f"`{package}`" in (ROOT / "docs/system.md").read_text(), package
    for database in databases:
        assert service.exists(database), database
        for other in set(databases) - {database}:
            service.run("mv", other, f"{other}.away")
        service.run("systemctl", "restart", "fingerd.service")
        answer = service.finger("ann@localhost")
        assert LAST_LOGIN in answer
        report(f"{database} alone:", *(line.strip() for line in answer.splitlines() if LAST_LOGIN in line))
        for other in set(databases) - {database}:
            service.run("mv", f"{other}.away", other)
    service.run("systemctl", "stop", "login-shy")
    _check_hidden_people(service)


def check_people_with_closed_homes_publish_their_plans(service: Machine, report: Report) -> None:
    service.run("useradd", "--create-home", "--comment", "Zoe Example", "--key", "HOME_MODE=0700", "zoe")
    for name in ("make-plan-folders", "publish-plan"):
        service.copy(ROOT / "examples/plans" / name, f"/usr/local/bin/{name}")
    try:
        service.configure(CONFIG.format(options=f", plans: {PLANS}", show="standard"))
        service.run("/usr/local/bin/make-plan-folders", PLANS)
        assert "No such user" in service.finger("zoe@localhost")
        service.run(
            "su", "zoe", "-c", f"umask 077; echo 'To be published' > ~/.plan; /usr/local/bin/publish-plan {PLANS}"
        )
        service.wait_for_answer("zoe@localhost", "To be published", seconds=3)  # answers last a second
        output = service.finger("zoe@localhost")
        assert "Zoe Example" in output
        assert "To be published" in output
        report("the sandbox as shipped, homes closed:", output.splitlines()[-1])
    finally:
        service.run("userdel", "--remove", "--force", "zoe", check=False)
        service.run("rm", "-rf", PLANS)


def _populate(service: Machine) -> None:
    for login, mode in (("ann", "0755"), ("bob", "0711"), ("shy", "0755"), ("closed", "0700")):
        comment = f"{login.capitalize()} Example,Room 7,555 1,555 2"
        service.run("useradd", "--create-home", "--key", f"HOME_MODE={mode}", "--comment", comment, login)
    service.run("su", "ann", "-c", "echo 'text: To be tested' > ~/.plan; echo 'text: Tests' > ~/.project")
    service.run("su", "shy", "-c", "touch ~/.nofinger")
    service.write("/var/mail/ann", "From somebody\n")
    service.write("/root/login.py", LOGIN)
    for login in ("ann", "shy"):
        service.run(
            *("systemd-run", "--quiet", f"--unit=login-{login}"),
            *("python3", "/root/login.py", "-h", "client.example.org", "-f", login),
        )
        service.wait("sh", "-c", f"loginctl list-sessions | grep -q '{login} .*pts/'")
        if service.suite in WITH_UTMP:
            service.wait("sh", "-c", f"who | grep -q ^{login}")


def _check_the_session(service: Machine, report: Report) -> None:
    output = service.finger("-l", "ann@localhost")
    session = next(line for line in output.splitlines() if line.startswith("On since")).strip()
    assert " on pts/" in session
    assert session.split(" from ")[1].startswith("client.example.org")
    assert sum("Ann Example" in row for row in service.finger("@localhost").splitlines()) == 1
    report("from utmp:" if service.exists("/run/utmp") else "from systemd-logind:", session)
    _check_hidden_people(service)


def _check_hidden_people(service: Machine) -> None:
    absent = service.finger("absent@localhost")
    assert "No such user" in absent
    for login in ("shy", "closed", "root", "nobody", "daemon"):
        assert service.finger(f"{login}@localhost") == absent
        assert service.finger("-l", f"{login}@localhost") == absent
    assert "shy" not in service.finger("@localhost")
    found = service.finger("example@localhost")  # a part of all their names
    assert "Ann Example" in found
    assert "Shy" not in found
    assert "Closed" not in found
