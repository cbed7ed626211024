"""After the installation: the service answers, runs as its own user, and is confined by its sandbox."""

import json
import re
import textwrap
from collections.abc import Iterator

import pytest

from tests.deb.machine import Machine, Report
from tests.deb.roots import ROOT

EXAMPLE = "This is fingerd. Edit /etc/fingerd.yaml to tell of real people."

OWN = ["/run/fingerd", "/tmp", "/var/log/fingerd", "/var/tmp"]  # directories; /tmp and /var/tmp are private


# What nothing of the package may need, and a file of each.
OPTIONAL = {
    "dbus": "/usr/bin/dbus-daemon",
    "finger": "/usr/bin/finger",
    "procps": "/usr/bin/kill",
    "python3-pytest": "/usr/lib/python3/dist-packages/pytest",
    "rsyslog": "/usr/sbin/rsyslogd",
}


def check_the_machine_has_what_boots_and_the_dependencies_and_nothing_else(service: Machine, report: Report) -> None:
    assert service.read("/etc/os-release").count(f"VERSION_CODENAME={service.suite}\n") == 1
    for path in OPTIONAL.values():
        assert not service.exists(path), path
    options = ("-o", "APT::AutoRemove::RecommendsImportant=false", "-o", "APT::AutoRemove::SuggestsImportant=false")
    unneeded = re.findall(r"^Remv (\S+)", service.run("apt-get", "--simulate", *options, "autoremove"), re.MULTILINE)
    assert unneeded == []
    because = set(
        re.findall(r"^Remv (\S+)", service.run("apt-get", "-s", *options, "autoremove", "fingerd-"), re.MULTILINE)
    )
    assert {"python3", "python3-yaml"} < because
    others = service.packages() - because
    report(service.suite, "with", len(others), "packages;", len(because), "for fingerd:", *sorted(because))
    report("none of:", *OPTIONAL)


def check_the_service_answers_debians_finger(service: Machine, report: Report) -> None:
    assert service.run("systemctl", "is-enabled", "fingerd.service") == "enabled\n"
    assert service.run("systemctl", "is-active", "fingerd.service") == "active\n"
    assert service.status("systemctl", "is-enabled", "fingerd.socket") != 0
    assert service.run("systemctl", "is-system-running") == "running\n"
    for host in ("127.0.0.1", "localhost"):
        assert EXAMPLE in service.finger(f"example@{host}")
    assert "No such user" in service.finger("stranger@localhost")
    over_ipv6 = "import socket; c = socket.create_connection(('::1', 79)); c.send(b'example\\n'); print(c.recv(99))"
    assert EXAMPLE in service.run("python3", "-c", over_ipv6)
    report("active, enabled, no failed unit; finger example@localhost:", EXAMPLE)


# Backends, whose libraries are loaded with them.
CONFIGS = {
    "static": "",
    "system": "backend: {type: system}\n",
    "web": 'backend: {type: web, prefix: "http://127.0.0.1:1/"}\n',
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def check_nothing_warns_on_this_version_of_python(service: Machine, report: Report, config: str) -> None:
    strict = "/usr/bin/python3 -I -W error"
    command = f"{strict} /usr/sbin/fingerd --config /etc/fingerd.yaml"
    service.drop_in(
        "fingerd.service",
        f"[Service]\nExecStart=\nExecStart={command} --nodaemon\nExecReload=\nExecReload={command} --reload $MAINPID\n",
    )
    if config:
        service.configure(config, restart=False)
    cursor = service.cursor()
    service.run("systemctl", "restart", "fingerd.service")
    service.run("systemctl", "reload", "fingerd.service")
    asked = service.run(*strict.split(), "/usr/bin/pyfinger", "example@localhost")
    assert ("Internal error" if "web" in config else "No such user" if config else EXAMPLE) in asked
    service.wait_for_lines(cursor, 'query="example"')
    logged = service.run("journalctl", "--quiet", "--no-pager", "--output=cat", f"--after-cursor={cursor}")
    assert "Warning" not in logged
    report("python3 -W error, which is", service.run("python3", "--version").strip(), "answers:", asked.strip())


def check_pyfinger_works_for_any_user(service: Machine, report: Report) -> None:
    asked = ("setpriv", "--reuid=nobody", "--clear-groups", "/usr/bin/pyfinger")
    assert service.run(*asked, "example@localhost") == f"{EXAMPLE}\n"
    output = service.run(*asked, "@localhost", "example@[::1]")
    assert output == f"[localhost]\nFinger online user list denied\n\n[::1]\n{EXAMPLE}\n"
    report("pyfinger @localhost example@[::1], as nobody:", *output.splitlines())


def check_the_process_is_fingerd_with_one_capability(service: Machine, report: Report) -> None:
    pid = service.show("fingerd.service", "MainPID")
    status = dict(line.split(":\t", 1) for line in service.read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
    uid, gid = service.run("id", "--user", "fingerd").strip(), service.run("id", "--group", "fingerd").strip()
    assert status["Uid"].split() == [uid] * 4
    assert status["Gid"].split() == [gid] * 4
    assert status["Groups"].split() == [gid]
    bind = 1 << 10  # CAP_NET_BIND_SERVICE
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == bind, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    report(f"uid {uid} four times, CapPrm CapEff CapBnd", status["CapBnd"], "NoNewPrivs 1, Seccomp 2")


def check_root_cannot_be_regained_and_only_its_own_files_be_written(service: Machine, report: Report) -> None:
    service.copy(ROOT / "tests/deb/probe.py", "/usr/local/bin/probe")
    service.run("sh", "-c", "chmod 755 /usr/local/bin/probe; install -m 4755 /usr/bin/id /usr/local/bin/set-user-id")
    service.drop_in("fingerd.service", ROOT / "examples/systemd/command.conf")
    service.configure("backend: {type: command, argv: [/usr/local/bin/probe, '{user}']}\n")
    found = json.loads(service.finger("x@localhost").strip())
    uid = int(service.run("id", "--user", "fingerd"))
    assert found["uid"] == [uid] * 3
    assert found["set-user-ID"] == f"{uid}\n"
    assert found["namespace"] != 0
    assert "nothing" not in found["attempts"].values()
    report("the program of a set-user-ID root file is uid", found["set-user-ID"].strip())
    report("tried, and refused:", *(f"{name} ({why})," for name, why in found["attempts"].items()))
    assert sorted(found["writable"]) == OWN
    report("writable:", *found["writable"], "(/tmp and /var/tmp are private)")
    assert not service.exists("/tmp/set-id")


def check_nothing_writable_is_executable(service: Machine, report: Report) -> None:
    pid = service.show("fingerd.service", "MainPID")
    mounts = [line.split() for line in service.read(f"/proc/{pid}/mountinfo").splitlines()]
    options = {mount[4]: mount[5].split(",") for mount in mounts}  # the last mount at a path is the visible one
    report(*(f"{place} {','.join(options[place])};" for place in OWN))
    assert all("noexec" in options[place] for place in OWN)


def check_the_exposure_is_at_most_1_5(service: Machine, report: Report) -> None:
    for unit in ("fingerd.service", "fingerd-plan.service"):
        output = service.run("systemd-analyze", "security", "--no-pager", "--threshold=15", unit)
        report(output.splitlines()[-1].strip())


def check_the_units_are_sound(service: Machine, report: Report) -> None:
    units = ["fingerd.service", "fingerd.socket", "fingerd@.service", "fingerd-plan.service"]
    assert service.run("systemd-analyze", "verify", "--man=no", *units) == ""
    report("systemd-analyze verify says nothing of", *units)


@pytest.fixture
def apparmor(service: Machine) -> Iterator[None]:
    with service.tools("apparmor"):
        yield


@pytest.mark.usefixtures("apparmor")
def check_the_apparmor_profile_can_be_parsed(service: Machine, report: Report) -> None:
    addition = (ROOT / "examples/apparmor/command").read_text()
    profile = "/etc/apparmor.d/usr.sbin.fingerd"
    service.run("apparmor_parser", "--skip-kernel-load", "--skip-cache", profile)
    service.write("/etc/apparmor.d/local/usr.sbin.fingerd", addition)
    try:
        service.run("apparmor_parser", "--skip-kernel-load", "--skip-cache", profile)
    finally:
        service.write("/etc/apparmor.d/local/usr.sbin.fingerd", "")
    service.run("apparmor_parser", "--skip-kernel-load", "--skip-cache", "/etc/apparmor.d/fingerd-plan")
    report("apparmor_parser accepts the profiles, with and without the addition for `command`")


def check_the_documentation_is_installed(service: Machine, report: Report) -> None:
    listed = service.run("dpkg", "--listfiles", "fingerd").splitlines()
    doc = "/usr/share/doc/fingerd"
    for name in (
        *("/usr/share/man/man8/fingerd.8.gz", "/usr/share/man/man5/fingerd.yaml.5.gz"),
        "/usr/share/man/man1/pyfinger.1.gz",
        *(f"{doc}/README.Debian", f"{doc}/NEWS.Debian.gz", f"{doc}/copyright"),
        *(f"{doc}/examples/{path.relative_to(ROOT / 'examples')}" for path in (ROOT / "examples").rglob("*.*")),
        *("/usr/share/bash-completion/completions/fingerd", "/usr/share/zsh/vendor-completions/_fingerd"),
        *("/usr/share/bash-completion/completions/pyfinger", "/usr/share/zsh/vendor-completions/_pyfinger"),
    ):
        assert name in listed, name
    assert service.read("/var/lib/dpkg/info/fingerd.conffiles").splitlines()[-1]
    assert "/etc/fingerd.yaml" in service.read("/var/lib/dpkg/info/fingerd.conffiles").splitlines()
    for name in re.findall(r"/usr/share/doc/fingerd/\S+?(?=[\s.:,]|$)", service.read(f"{doc}/README.Debian")):
        assert service.exists(name), name
    report("man pages, README.Debian, NEWS, examples, completion for bash and zsh; /etc/fingerd.yaml is a conffile")


NO_RESTART = {
    "64-usage": (64, "[Service]\nExecStart=\nExecStart=/usr/sbin/fingerd --nodaemon --no-such-option\n", ""),
    "77-not-allowed": (77, "[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n", ""),
    "78-configuration": (78, "", "no_such_option: 1\n"),
}


@pytest.mark.parametrize(("code", "unit", "config"), NO_RESTART.values(), ids=NO_RESTART)
def check_permanent_failures_are_not_restarted(
    service: Machine, report: Report, code: int, unit: str, config: str
) -> None:
    if unit:
        service.drop_in("fingerd.service", unit)
    if config:
        service.configure(config, restart=False)
    assert service.status("systemctl", "restart", "fingerd.service") != 0
    assert service.show("fingerd.service", "ExecMainStatus") == str(code)
    assert service.show("fingerd.service", "ActiveState") == "failed"
    assert service.show("fingerd.service", "NRestarts") == "0"
    output = [line for line in service.journal(lines=12).splitlines() if " fingerd[" in line]
    report(f"exit {code}, no restart;", textwrap.shorten(output[-1].partition("]: ")[2], 100))
