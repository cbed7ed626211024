"""The host's accounts: the service shows the same facts as finger(1) on the host."""

from tests.deb.machine import ROOT, Machine, Report
from tests.helpers.finger_facts import compare

CONFIG = """\
backend: {{type: system{options}}}
policy: [{{from: any, list: true, show: {show}, match: name}}]
"""
# Logs a user in on a new terminal while it runs.
LOGIN = """\
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("login", ["login", "-p", *sys.argv[1:]])
while os.read(terminal, 4096):
    pass
"""
PLANS = "/var/lib/fingerd/plans"


def check_the_accounts_of_the_host_are_shown_as_by_finger(service: Machine, report: Report) -> None:
    _populate(service)
    service.configure(CONFIG.format(options="", show="everything"))
    service.drop_in("fingerd.service", ROOT / "examples/systemd/system.conf")
    service.run("systemctl", "restart", "fingerd.service")
    try:
        for login in ("ann", "bob"):
            here = service.run("finger", login)
            there = service.run("finger", "-l", f"{login}@localhost").replace("\r", "")
            compare(here, there)
            short = service.run("finger", f"{login}@localhost").replace("\r", "")
            assert [line for line in short.splitlines()[1:] if line not in there] == []
        rows = service.run("finger", "@localhost").splitlines()
        assert sum("Ann Example" in row for row in rows) == service.run("finger").count("Ann Example") == 1
        report("with utmp:", _session(service))
        _check_hidden_people(service)
        service.run("rm", "/run/utmp")  # as on Debian 13
        service.run("systemctl", "restart", "fingerd.service")
        session = _session(service)
        assert " on pts/" in session
        assert "client.example.org" in session
        assert "ann " in service.run("finger", "@localhost")
        report("without, from systemd-logind:", session)
        _check_hidden_people(service)
        service.configure(CONFIG.format(options="", show="standard"))
        standard = service.run("finger", "-l", "ann@localhost")
        assert "On since" in standard
        assert "To be tested" in standard
        for hidden in ("/home/ann", "/bin/sh", "555 2", "mail"):
            assert hidden not in standard
    finally:
        service.run("systemctl", "stop", "login-ann", "login-shy", check=False)
        service.run("touch", "/run/utmp")
        for login in ("ann", "bob", "shy", "closed"):
            service.run("userdel", "--remove", "--force", login, check=False)


def check_people_with_closed_homes_publish_their_plans(service: Machine, report: Report) -> None:
    service.run("useradd", "--create-home", "--comment", "Zoe Example", "--key", "HOME_MODE=0700", "zoe")
    for name in ("make-plan-folders", "publish-plan"):
        service.copy(ROOT / "examples/plans" / name, f"/usr/local/bin/{name}")
    try:
        service.configure(CONFIG.format(options=f", plans: {PLANS}", show="standard"))
        service.run("/usr/local/bin/make-plan-folders", PLANS)
        assert "No such user" in service.run("finger", "zoe@localhost")
        service.run(
            "su", "zoe", "-c", f"umask 077; echo 'To be published' > ~/.plan; /usr/local/bin/publish-plan {PLANS}"
        )
        service.wait("sh", "-c", "finger zoe@localhost | grep -q 'To be published'", seconds=3)  # answers last a second
        output = service.run("finger", "zoe@localhost")
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
        service.wait("sh", "-c", f"who | grep -q ^{login} && loginctl list-sessions | grep -q {login}")


def _session(service: Machine) -> str:
    output = service.run("finger", "-l", "ann@localhost")
    return next(line for line in output.splitlines() if line.startswith("On since")).strip()


def _check_hidden_people(service: Machine) -> None:
    absent = service.run("finger", "absent@localhost")
    assert "No such user" in absent
    for login in ("shy", "closed", "root", "nobody", "daemon"):
        assert service.run("finger", f"{login}@localhost") == absent
        assert service.run("finger", "-l", f"{login}@localhost") == absent
    assert "shy" not in service.run("finger", "@localhost")
    found = service.run("finger", "example@localhost")  # a part of all their names
    assert "Ann Example" in found
    assert "Shy" not in found
    assert "Closed" not in found
