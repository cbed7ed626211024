"""Dropping privileges: uid, gid and groups, the chroot, and what only root may do."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fingerd.daemon.privileges import Identity
from fingerd.settings import Process
from tests.daemon.conftest import NOBODY, STATIC, Detach
from tests.helpers.daemons import FINGERD, TIMEOUT, Machine, ask, status, wait_until
from tests.helpers.requirements import need


@pytest.mark.root
@pytest.mark.parametrize("user", ["nobody", str(NOBODY)])
def test_uid_drops_root_for_good(detached: Detach, user: str) -> None:
    daemon = detached("", "--uid", user)
    assert status(daemon.pid, "Uid") == [str(NOBODY)] * 4
    assert status(daemon.pid, "Gid") == [str(NOBODY)] * 4
    assert set(status(daemon.pid, "Groups")) <= {str(NOBODY)}
    assert status(daemon.pid, "CapEff") == status(daemon.pid, "CapPrm") == ["0" * 16]
    assert (daemon.log.stat().st_uid, daemon.log.stat().st_gid) == (NOBODY, NOBODY)


# What the daemon's user may write to: everything else that root opened is closed, or open for reading only.
NO_FILES = ("socket:", "pipe:", "anon_inode:", "/dev/null")


def writable_files(pid: int) -> dict[str, int]:
    """The files that the process has open for writing, with their owner."""
    found = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        (flags,) = re.findall(
            r"^flags:\t([0-7]+)$", Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text(), re.MULTILINE
        )
        target = str(descriptor.readlink())
        if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY and not target.startswith(NO_FILES):
            found[target] = descriptor.stat().st_uid
    return found


@pytest.mark.root
@pytest.mark.parametrize("chroot", [False, True], ids=["", "chroot"])
@pytest.mark.parametrize("options", [[], ["-n"]], ids=["detached", "foreground"])
def test_the_only_file_that_stays_writable_is_the_log_of_the_user(
    options: list[str], chroot: bool, directory: Path
) -> None:
    pidfile, log, config = directory / "pid", directory / "log", directory / "fingerd.yaml"
    config.write_text(f'listen: ["127.0.0.1:0", "unix:{directory}/s"]\n{STATIC}process: {{user: nobody}}\n')
    command = [*FINGERD, *options, "-c", str(config), "--pidfile", str(pidfile), "-l", str(log)]
    if chroot:
        (directory / "root").mkdir()
        command += ["--chroot", str(directory / "root")]
    with (directory / "in").open("w+") as stdin, (directory / "out").open("w") as stdout:  # files of root's
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)
    wait_until(lambda: log.exists() and "listening on" in log.read_text())
    pid = int(pidfile.read_text())
    assert status(pid, "Uid") == [str(NOBODY)] * 4
    assert writable_files(pid) == {str(log): NOBODY}
    second = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    holder = f"fingerd: another fingerd holds {pidfile} (pid {pid})"
    assert (second.returncode, second.stderr.splitlines()[-1]) == (69, holder)
    os.kill(pid, signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0
    wait_until(lambda: "stopped" in log.read_text())


@pytest.mark.root
def test_gid_replaces_the_group_of_the_user(detached: Detach) -> None:
    daemon = detached("", "--uid", "nobody", "--gid", "daemon")
    assert status(daemon.pid, "Gid") == ["1"] * 4
    assert set(status(daemon.pid, "Groups")) <= {"1", str(NOBODY)}


@pytest.mark.root
def test_a_uid_without_an_account_has_the_gid_of_the_same_number(detached: Detach) -> None:
    daemon = detached("", "--uid", "54321")
    assert status(daemon.pid, "Uid") == status(daemon.pid, "Gid") == ["54321"] * 4
    assert status(daemon.pid, "Groups") == ["54321"]


@pytest.mark.root
def test_a_configuration_that_the_user_cannot_read_is_a_warning(detached: Detach, directory: Path) -> None:
    assert "cannot read" not in detached("", "--uid", "nobody").log.read_text()
    closed = directory / "closed.yaml"
    closed.write_text(f'listen: "127.0.0.1:0"\n{STATIC}')
    closed.chmod(0o600)
    daemon = detached("", "--uid", "nobody", "-c", str(closed), "--pidfile", str(directory / "other.pid"))
    daemon.pidfile = directory / "other.pid"
    daemon.pid = int(daemon.pidfile.read_text())
    wait_until(
        lambda: f"uid 65534 cannot read {closed}: SIGHUP cannot reload it; restart instead" in daemon.log.read_text()
    )


@pytest.mark.root
def test_root_without_a_user_serves_with_one_warning(detached: Detach) -> None:
    daemon = detached()
    assert ask(daemon.address, b"moshez\r\n") == b"Happy and well\r\n"
    warning = "running as root: set process.user to an unprivileged user"
    assert daemon.done.stderr == f"fingerd: warning: {warning}\n"
    assert f"WARNING fingerd: {warning}\n" in daemon.log.read_text()
    assert daemon.log.read_text().count("WARNING") == 1


@pytest.mark.root
def test_chroot_into_an_empty_directory(detached: Detach, directory: Path) -> None:
    need("ptrace")
    chroot = directory / "chroot"
    chroot.mkdir()
    daemon = detached(
        "policy: [{from: local, list: true}]\nreply: {header: '{time}'}\n", "--chroot", str(chroot), "--uid", "nobody"
    )
    assert Path(f"/proc/{daemon.pid}/root").readlink() == chroot
    assert Path(f"/proc/{daemon.pid}/cwd").readlink() == chroot
    assert "libgcc_s.so" in Path(f"/proc/{daemon.pid}/maps").read_text(), (
        "without it the process may be aborted at exit"
    )
    for query in (b"moshez\r\n", b"\r\n", b"nobody\r\n", b"a@\xc3\xa4\r\n", b"\0\r\n", "Zoë\r\n".encode("latin-1")):
        assert ask(daemon.address, query)
    daemon.stop()
    assert "Traceback" not in daemon.log.read_text()
    assert list(chroot.iterdir()) == []


# fingerd as an unprivileged user, imported before the switch, since that user may not be able to read its modules.
AS_NOBODY = (
    sys.executable,
    "-c",
    "import locale, os, sys; import fingerd.backends.static; from fingerd.daemon.cli import main; os.setgroups([]);"
    f"os.setresgid({NOBODY}, {NOBODY}, {NOBODY});"
    f"os.setresuid({NOBODY}, {NOBODY}, {NOBODY}); sys.exit(main())",
)
NEEDS_ROOT = {
    "another user": (("--uid", "root"), "only root can become another user (uid 0, gid 0)"),
    "a chroot": (("--chroot", "/tmp"), "Unable to change root directory ([Errno 1] Operation not permitted: '/tmp')"),
    "a log": (("-l", "/etc/fingerd-test.log"), "cannot write the log /etc/fingerd-test.log: Permission denied"),
    "a pid file": (
        ("--pidfile", "/etc/fingerd-test.pid"),
        "cannot write the pid file /etc/fingerd-test.pid: Permission denied",
    ),
}


@pytest.mark.root
@pytest.mark.parametrize(("options", "complaint"), NEEDS_ROOT.values(), ids=NEEDS_ROOT)
def test_what_only_root_may_do_is_reported_with_77(config: Path, options: tuple[str, ...], complaint: str) -> None:
    config.write_text(config.read_text().replace("process:", "#"))
    command = [*AS_NOBODY, "-n", "-c", str(config), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (77, f"fingerd: {complaint}")


@pytest.mark.root
def test_a_port_that_needs_root_is_reported_with_77(config: Path, host: Machine) -> None:
    config.write_text(f'listen: "127.0.0.1:79"\n{STATIC}')
    done = host.run(*AS_NOBODY, "-c", str(config))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        77,
        "fingerd: cannot listen on 127.0.0.1:79: Permission denied (ports below 1024 need root)",
    )


@pytest.mark.root
def test_the_present_user_can_be_configured(config: Path) -> None:
    config.write_text(f"listen: []\n{STATIC}")
    command = [*AS_NOBODY, "-n", "-c", str(config), "--uid", "nobody"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "listening on nothing" in process.stderr.readline()
        process.terminate()
        assert process.wait(TIMEOUT) == 0


@pytest.mark.root
@pytest.mark.parametrize(
    ("before", "owner", "complaint"),
    [
        ("", f"Identity({NOBODY}, {NOBODY}, ({NOBODY},))", "still uid (0, 0, 0), gid (0, 0, 0)"),
        ("os.setresuid(7, 7, 0)", "Identity(7, 0, None)", "still uid (7, 7, 0), gid (0, 0, 0)"),
        ("os.setgroups([0, 4])", "Identity(0, 0, (0,))", "still in the groups [0, 4]"),
        (
            "os.setuid = print; os.getresuid = lambda: (7, 7, 7)",
            "Identity(7, 0, None)",
            "setuid(0) succeeded",
        ),
    ],
    ids=["nothing dropped", "saved uid", "groups", "setuid"],
)
def test_privileges_that_were_not_dropped_are_detected(before: str, owner: str, complaint: str) -> None:
    code = f"""if True:
        import os
        from fingerd.errors import StartError
        from fingerd.daemon.privileges import Identity, verify_dropped
        {before}
        try:
            verify_dropped({owner})
        except StartError as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"privileges not dropped: {complaint}"


def test_the_default_identity_is_the_present_one() -> None:
    assert Identity.of(Process()) == Identity(os.getuid(), os.getgid(), None)
