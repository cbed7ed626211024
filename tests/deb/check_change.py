"""Replacing Debian's fingerd, running without systemd, removing and purging."""

import re
import subprocess

from tests.deb.machine import Machine, Report
from tests.deb.roots import DIST, ROOT

EXAMPLE = "This is fingerd. Edit /etc/fingerd.yaml to tell of real people."
INIT = "SYSTEMCTL_SKIP_REDIRECT=1 /etc/init.d/fingerd"  # else it delegates to systemd

# Files of other programs, which change with every installation.
OTHERS = r"^/(run/(systemd|log)|tmp|var/(log/(journal|apt|dpkg\.log)|lib/(apt|dpkg|systemd)|cache|tmp))(/|$)"


def check_it_replaces_debians_fingerd(bare: Machine, report: Report) -> None:
    with bare.tools("old"):
        assert bare.status("systemctl", "is-active", "inetd.service") == 0
        before = bare.finger("root@localhost")
        assert "Login: root" in before
        assert bare.run("grep", "^finger", "/etc/inetd.conf")
        version = bare.run("dpkg-query", "--show", "--showformat=${Version}", "fingerd")
        bare.install()
        bare.wait("systemctl", "is-active", "--quiet", "fingerd.service", seconds=5)
        assert EXAMPLE in bare.finger("example@localhost")
        line = bare.run("grep", "finger", "/etc/inetd.conf")
        assert line.startswith("#<off># finger")
        assert '"fingerd"' in bare.listeners(79)
        report(f"{version} answered for inetd; now ours does, and inetd.conf has:", line.split("\t")[0].strip())


def check_the_init_script_starts_reloads_and_stops_it(service: Machine, report: Report) -> None:
    service.run("systemctl", "stop", "fingerd.service")
    output = [service.run("sh", "-c", f"{INIT} start")]
    pid = service.read("/run/fingerd.pid").strip()
    uid = service.run("id", "--user", "fingerd").strip()
    assert int(pid) in service.processes("fingerd")
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in service.read(f"/proc/{pid}/status")
    assert "CapEff:\t0000000000000000\n" in service.read(f"/proc/{pid}/status")
    assert EXAMPLE in service.finger("example@localhost")
    output.append(service.run("sh", "-c", f"{INIT} status"))
    service.run("sh", "-c", f"{INIT} start")
    assert service.read("/run/fingerd.pid").strip() == pid

    service.write("/etc/fingerd.yaml", service.read("/etc/fingerd.yaml").replace("This is fingerd", "This is more"))
    output.append(service.run("sh", "-c", f"{INIT} reload"))
    service.wait_for_answer("example@localhost", "This is more")
    service.write("/etc/fingerd.yaml", "no_such_option: 1\n")
    refused = service.run("sh", "-c", f"! {INIT} reload 2>&1")
    assert "no_such_option: unknown option" in refused
    assert "This is more" in service.finger("example@localhost")
    service.copy(ROOT / "etc/fingerd.yaml", "/etc/fingerd.yaml")

    service.run("sh", "-c", f"{INIT} restart")
    assert service.read("/run/fingerd.pid").strip() != pid
    output.append(service.run("sh", "-c", f"{INIT} stop"))
    assert service.status("sh", "-c", f"{INIT} status") == 3
    assert not service.exists("/run/fingerd.pid")
    assert service.processes("fingerd") == []
    report(*(line.strip() for line in "".join(output).splitlines()), f"as uid {uid}, without any capability")


def check_autopkgtest_passes(service: Machine, report: Report) -> None:
    (source,) = DIST.glob("fingerd_*.tar.xz")
    subprocess.run(["tar", "--extract", f"--file={source}", f"--directory={service.root}/root"], check=True)
    (service.root / "root/fingerd/debian/files").touch()  # it is a built tree then, for which no compiler is needed
    with service.tools("autopkgtest"):
        output = service.run(
            "sh",
            "-c",
            "cd /root; exec autopkgtest --ignore-restrictions=isolation-container deb/*_all.deb fingerd/ -- null 2>&1",
            seconds=120,
        )
    results = re.findall(r"^(\w+) +(PASS|FAIL|SKIP|FLAKY)\b", output.rpartition(" summary\n")[2], re.MULTILINE)
    report(results)
    assert results == [("service", "PASS"), ("library", "PASS")]


def check_remove_and_purge_leave_nothing(bare: Machine, report: Report) -> None:
    before = files(bare)
    bare.install()
    use = """
        systemctl stop fingerd; systemctl enable --quiet --now fingerd.socket fingerd@2
        pyfinger example@localhost
        sed -i 's|^log:|log:\\n  to: /var/log/fingerd/fingerd.log|' /etc/fingerd.yaml
        systemctl restart fingerd; pyfinger example@localhost
        python3 -c 'import fingerd.daemon.cli'
        """
    bare.run("sh", "-c", use)
    bare.wait("test", "-s", "/var/log/fingerd/fingerd.log")

    bare.run("apt-get", "remove", "-q", "-y", "fingerd")
    assert bare.processes("fingerd") == []
    assert bare.listeners(79) == ""
    assert bare.run("systemctl", "list-units", "--no-legend", "--state=active,failed", "fingerd*") == ""
    left = files(bare) - before
    report("removed: no process, no socket, no active unit; left:", *sorted(left))
    assert "/etc/fingerd.yaml" in left

    bare.run("apt-get", "purge", "-q", "-y", "fingerd")
    # systemd 257 may keep the name of a unit in memory for a while, as of one that it does not find.
    listed = bare.run("systemctl", "list-units", "--all", "--no-legend", "--plain", "fingerd*").splitlines()
    assert [line for line in listed if line.split()[1:4] != ["not-found", "inactive", "dead"]] == []
    assert bare.run("systemctl", "list-unit-files", "--no-legend", "fingerd*", check=False) == ""
    left = files(bare) - before
    assert left == set()
    account = bare.run("getent", "passwd", "fingerd").strip()  # else files of it elsewhere could become another's
    assert account.endswith(":/nonexistent:/usr/sbin/nologin")
    report("purged: no unit, no file; left is the account:", account)


def files(machine: Machine) -> set[str]:
    """All files, except those of other programs."""
    return set(machine.run("sh", "-c", f"find / /run -xdev | grep -Ev '{OTHERS}'").splitlines())
