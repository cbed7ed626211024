"""The daemon as a process: every flag, every exit code, and what is left of root."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.daemon.descriptors import raise_descriptor_limit
from fingerd.daemon.pidfile import PidFile
from fingerd.daemon.privileges import Identity
from fingerd.errors import StartError
from fingerd.settings import Process
from tests.conftest import Start
from tests.helpers.daemons import FINGERD, TIMEOUT, Host, ask, let_everybody_in, status, wait_until
from tests.helpers.requirements import need

STATIC = "backend: {type: static, users: {moshez: Happy and well}}\n"
NOBODY = 65534


def run(*options: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """fingerd, to its end: where it detaches that is when the daemon serves."""
    command = [*FINGERD, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=cwd)


class Detached:
    """A daemon that left its shell behind; found again by its pid file, asked at the port in its log."""

    def __init__(self, folder: Path, config: str = "", *options: str, inside: tuple[str, ...] = ()) -> None:
        self.log = folder / "fingerd.log"
        self.pidfile = folder / "fingerd.pid"
        path = folder / "fingerd.yaml"
        path.write_text(f'listen: "127.0.0.1:0"\n{STATIC}{config}')
        command = [*inside, *FINGERD, "-c", str(path), "--pidfile", str(self.pidfile), *options]
        if not {"--syslog", "-l"} & set(options):
            command += ["-l", str(self.log)]
        self.done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert self.done.returncode == 0, self.done.stderr
        self.pid = int(self.pidfile.read_text())

    @property
    def address(self) -> tuple[str, int]:
        wait_until(lambda: self.log.exists() and "listening on" in self.log.read_text())
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text())
        assert found
        return "127.0.0.1", int(found[1])

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        wait_until(lambda: not self.pidfile.exists() or self.pidfile.read_text() == "")
        wait_until(lambda: not Path(f"/proc/{self.pid}").exists() or status(self.pid, "State")[0] == "Z")


Detach = Callable[..., Detached]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that a daemon can still see when it is nobody any more."""
    let_everybody_in(tmp_path)
    return tmp_path


@pytest.fixture
def detached(folder: Path) -> Iterator[Detach]:
    """Daemons, all of which are gone afterwards."""
    started: list[Detached] = []

    def detached(config: str = "", *options: str, inside: tuple[str, ...] = ()) -> Detached:
        started.append(Detached(folder, config, *options, inside=inside))
        return started[-1]

    yield detached
    for daemon in started:
        if daemon.pidfile.exists() and daemon.pidfile.read_text() == f"{daemon.pid}\n":
            daemon.stop()


def test_it_detaches_and_returns_when_it_serves(detached: Detach) -> None:
    daemon = detached()
    assert ask(daemon.address, b"moshez\r\n") == b"Happy and well\r\n"
    assert os.getsid(daemon.pid) not in (daemon.pid, os.getsid(0))
    assert {str(Path(f"/proc/{daemon.pid}/fd/{number}").readlink()) for number in range(3)} == {"/dev/null"}
    daemon.stop()
    assert daemon.log.read_text().splitlines()[-1].endswith("INFO fingerd: stopped")


def test_every_log_line_begins_with_the_local_time(detached: Detach) -> None:
    daemon = detached()
    ask(daemon.address, b"moshez\r\n")
    daemon.stop()
    for line in daemon.log.read_text().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ", line)
    assert 'client=127.0.0.1 query="moshez" outcome=answered bytes=16' in daemon.log.read_text()


def test_the_pid_file_holds_the_pid_and_is_gone_afterwards(detached: Detach) -> None:
    daemon = detached()
    assert daemon.pidfile.read_text() == f"{daemon.pid}\n"
    daemon.stop()
    assert not daemon.pidfile.exists()


def test_a_second_daemon_is_told_of_the_first(detached: Detach, folder: Path) -> None:
    daemon = detached()
    second = run("-c", str(folder / "fingerd.yaml"), "--pidfile", str(daemon.pidfile), "-l", str(folder / "second.log"))
    assert second.returncode == 69
    assert second.stderr.splitlines()[-1] == f"fingerd: another fingerd holds {daemon.pidfile} (pid {daemon.pid})"
    assert daemon.pidfile.read_text() == f"{daemon.pid}\n"


def test_what_a_crash_leaves_behind_is_no_obstacle(detached: Detach, folder: Path) -> None:
    daemon = detached()
    os.kill(daemon.pid, signal.SIGKILL)
    wait_until(lambda: status(daemon.pid, "State")[0] == "Z" if Path(f"/proc/{daemon.pid}").exists() else True)
    again = detached()
    assert again.pid != daemon.pid


def test_a_relative_path_is_taken_from_where_it_was_started(folder: Path) -> None:
    (folder / "relative.yaml").write_text(f"listen: []\n{STATIC}")
    done = run("-c", "relative.yaml", "--pidfile", "here.pid", "-l", "here.log", cwd=folder)
    assert (
        done.returncode,
        done.stderr.replace(
            "fingerd: warning: running as root: set process.user to the user that fingerd should become\n", ""
        ),
    ) == (0, "")
    pid = int((folder / "here.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: "stopped" in (folder / "here.log").read_text())


def test_rundir_and_umask_are_the_process_s(detached: Detach, folder: Path) -> None:
    (folder / "run").mkdir()
    daemon = detached("", "--rundir", str(folder / "run"), "--umask", "077")
    assert Path(f"/proc/{daemon.pid}/cwd").readlink() == folder / "run"
    assert status(daemon.pid, "Umask") == ["0077"]


def test_without_options_it_runs_in_the_root_directory_with_a_closed_umask(detached: Detach) -> None:
    daemon = detached()
    assert Path(f"/proc/{daemon.pid}/cwd").readlink() == Path("/")
    assert status(daemon.pid, "Umask") == ["0027"]


@pytest.mark.root
@pytest.mark.parametrize("user", ["nobody", str(NOBODY)])
def test_uid_gives_root_away_for_good(detached: Detach, user: str) -> None:
    daemon = detached("", "--uid", user)
    assert status(daemon.pid, "Uid") == [str(NOBODY)] * 4
    assert status(daemon.pid, "Gid") == [str(NOBODY)] * 4
    assert set(status(daemon.pid, "Groups")) <= {str(NOBODY)}
    assert status(daemon.pid, "CapEff") == status(daemon.pid, "CapPrm") == ["0" * 16]
    assert (daemon.log.stat().st_uid, daemon.log.stat().st_gid) == (NOBODY, NOBODY)
    daemon.stop()
    assert not daemon.pidfile.exists() or daemon.pidfile.read_text() == ""


@pytest.mark.root
def test_a_configuration_that_the_user_cannot_read_is_a_warning(detached: Detach, folder: Path) -> None:
    assert "cannot read" not in detached("", "--uid", "nobody").log.read_text()
    closed = folder / "closed.yaml"
    closed.write_text(f'listen: "127.0.0.1:0"\n{STATIC}')
    closed.chmod(0o600)
    daemon = detached("", "--uid", "nobody", "-c", str(closed), "--pidfile", str(folder / "other.pid"))
    daemon.pidfile = folder / "other.pid"
    daemon.pid = int(daemon.pidfile.read_text())
    wait_until(lambda: f"uid 65534 cannot read {closed}: changes of it need a restart" in daemon.log.read_text())


@pytest.mark.root
def test_gid_replaces_the_user_s_own_group(detached: Detach) -> None:
    daemon = detached("", "--uid", "nobody", "--gid", "daemon")
    assert status(daemon.pid, "Gid") == ["1"] * 4
    assert set(status(daemon.pid, "Groups")) <= {"1", str(NOBODY)}


@pytest.mark.root
def test_a_user_without_an_account_is_a_number_and_nothing_else(detached: Detach) -> None:
    daemon = detached("", "--uid", "54321")
    assert status(daemon.pid, "Uid") == status(daemon.pid, "Gid") == ["54321"] * 4
    assert status(daemon.pid, "Groups") == ["54321"]


@pytest.mark.root
def test_chroot_into_an_empty_folder(detached: Detach, folder: Path) -> None:
    need("ptrace")
    jail = folder / "jail"
    jail.mkdir()
    daemon = detached(
        "policy: [{from: local, list: true}]\nreply: {header: '{time}'}\n", "--chroot", str(jail), "--uid", "nobody"
    )
    assert Path(f"/proc/{daemon.pid}/root").readlink() == jail
    assert Path(f"/proc/{daemon.pid}/cwd").readlink() == jail
    assert "libgcc_s.so" in Path(f"/proc/{daemon.pid}/maps").read_text(), "else it may be aborted at its exit"
    for query in (b"moshez\r\n", b"\r\n", b"nobody\r\n", b"a@\xc3\xa4\r\n", b"\0\r\n", "Zoë\r\n".encode("latin-1")):
        assert ask(daemon.address, query)
    daemon.stop()
    assert "Traceback" not in daemon.log.read_text()
    assert list(jail.iterdir()) == []


@pytest.mark.root
def test_as_root_without_a_user_it_serves_with_one_warning(detached: Detach) -> None:
    daemon = detached()
    assert ask(daemon.address, b"moshez\r\n") == b"Happy and well\r\n"
    warning = "running as root: set process.user to the user that fingerd should become"
    assert daemon.done.stderr == f"fingerd: warning: {warning}\n"
    assert f"WARNING fingerd: {warning}\n" in daemon.log.read_text()
    assert daemon.log.read_text().count("WARNING") == 1


class Syslog:
    """busybox's syslogd on a host of its own."""

    def __init__(self, host: Host, folder: Path) -> None:
        need("busybox")
        self.messages = folder / "messages"
        self.daemon = host.start("busybox", "syslogd", "-n", "-O", str(self.messages))
        try:
            wait_until(lambda: host.run("test", "-S", "/dev/log").returncode == 0)
        except BaseException:
            self.close()
            raise

    def lines(self, tag: str) -> list[str]:
        """The messages that bear the tag."""
        text = self.messages.read_text() if self.messages.exists() else ""
        return [line for line in text.splitlines() if f" {tag}[" in line]

    def close(self) -> None:
        """End it."""
        self.daemon.terminate()
        self.daemon.wait()


@pytest.fixture
def syslog(host: Host, folder: Path) -> Iterator[Syslog]:
    syslog = Syslog(host, folder)
    yield syslog
    syslog.close()


PORT = b"\r\n"


@pytest.mark.root
@pytest.mark.parametrize(("options", "tag"), [((), "fingerd"), (("--prefix", "tilde"), "tilde")])
def test_syslog_lines_bear_the_tag_even_from_a_jail(
    detached: Detach, host: Host, syslog: Syslog, folder: Path, options: tuple[str, ...], tag: str
) -> None:
    (folder / "jail").mkdir()
    jail = ("--chroot", str(folder / "jail"), "--uid", "nobody")
    daemon = detached("policy: [{from: any, list: true}]\n", "--syslog", *jail, *options, inside=host.inside)
    wait_until(lambda: syslog.lines(tag))
    (listening,) = [line for line in syslog.lines(tag) if "listening on" in line]
    port = listening.rpartition(":")[2]
    host.run("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}; echo moshez >&3; cat <&3")
    wait_until(lambda: [line for line in syslog.lines(tag) if "client=" in line])
    (line,) = [line for line in syslog.lines(tag) if "client=" in line]
    pid = daemon.pid
    assert re.search(
        rf"daemon\.info {tag}\[{pid}\]: client=127\.0\.0\.1 query=\"moshez\" outcome=answered bytes=16 ms=", line
    )
    daemon.stop()
    wait_until(lambda: syslog.lines(tag)[-1].endswith("fingerd: stopped"))


@pytest.mark.root
def test_an_absent_syslog_is_a_warning(detached: Detach, host: Host) -> None:
    daemon = detached("process: {user: nobody}\n", "--syslog", inside=host.inside)
    assert (
        daemon.done.stderr
        == "fingerd: warning: there is no syslog here: nothing is logged until there is one (log.to may name a file)\n"
    )


def test_with_n_it_stays_and_logs_to_standard_error(start: Start) -> None:
    daemon = start(f'listen: "127.0.0.1:0"\n{STATIC}')
    assert daemon.process.poll() is None
    assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"
    daemon.logged('query="moshez"')


def test_without_n_a_log_on_standard_error_stays_connected(folder: Path) -> None:
    config = folder / "fingerd.yaml"
    config.write_text(f"listen: []\n{STATIC}log: {{to: stderr}}\n")
    with (folder / "stderr").open("w") as stderr:
        subprocess.run([*FINGERD, "-c", str(config), "--pidfile", str(folder / "pid")], stderr=stderr, check=True)
    os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: "stopped" in (folder / "stderr").read_text())


def test_the_standard_descriptors_may_be_closed(folder: Path) -> None:
    config = folder / "fingerd.yaml"
    config.write_text(f"listen: []\n{STATIC}process: {{pidfile: {folder}/pid}}\nlog: {{to: {folder}/log}}\n")
    closed = subprocess.run(["sh", "-c", f"{sys.executable} -m fingerd -c {config} <&- >&- 2>&-"], check=False)
    assert closed.returncode == 0
    wait_until(lambda: "listening" in (folder / "log").read_text())
    os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: "stopped" in (folder / "log").read_text())


@pytest.fixture
def config(folder: Path) -> Path:
    path = folder / "fingerd.yaml"
    path.write_text(f'listen: "127.0.0.1:0"\n{STATIC}log: {{to: stderr}}\nprocess: {{pidfile: {folder}/pid}}\n')
    return path


@pytest.mark.parametrize("foreground", [(), ("-n",)], ids=["detached", "foreground"])
def test_a_busy_port_is_reported_with_69(config: Path, foreground: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        done = run("-c", str(config), *foreground)
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1] == f"fingerd: cannot listen on 127.0.0.1:{port}: Address already in use"


WRONG = {
    "chroot": ("--chroot", "process.chroot: there is no directory /nowhere/at/all"),
    "rundir": ("--rundir", "process: there is no directory /nowhere/at/all to run in"),
    "user": ("--uid", "process.user: there is no user /nowhere/at/all"),
    "group": ("--gid", "process.group: there is no group /nowhere/at/all"),
    "log": ("--logfile", "log.to: there is no directory /nowhere/at"),
    "pid file": ("--pidfile", "process.pidfile: there is no directory /nowhere/at"),
}


@pytest.mark.parametrize(("option", "complaint"), WRONG.values(), ids=WRONG)
def test_what_is_missing_is_reported_with_78(config: Path, option: str, complaint: str) -> None:
    done = run("-c", str(config), option, "/nowhere/at/all")
    assert done.returncode == 78
    assert done.stderr.endswith(f": {complaint}\n")


def test_a_missing_configuration_is_reported_with_78() -> None:
    done = run("-c", "/nowhere/fingerd.yaml")
    assert (done.returncode, done.stderr) == (78, "/nowhere/fingerd.yaml: cannot be read: No such file or directory\n")


# fingerd, started by somebody who may do nothing; it is loaded before, since they may not see where it lies.
BY_NOBODY = (
    sys.executable,
    "-c",
    "import locale, os, sys; import fingerd.backends.static; from fingerd.daemon.cli import main; os.setgroups([]);"
    f"os.setresgid({NOBODY}, {NOBODY}, {NOBODY});"
    f"os.setresuid({NOBODY}, {NOBODY}, {NOBODY}); sys.exit(main())",
)
NEEDS_ROOT = {
    "another user": (("--uid", "root"), "only root can become another user (uid 0, gid 0)"),
    "a jail": (("--chroot", "/tmp"), "Unable to change root directory ([Errno 1] Operation not permitted: '/tmp')"),
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
    command = [*BY_NOBODY, "-n", "-c", str(config), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (77, f"fingerd: {complaint}")


@pytest.mark.root
def test_a_port_that_needs_root_is_reported_with_77(config: Path, host: Host) -> None:
    config.write_text(f'listen: "127.0.0.1:79"\n{STATIC}')
    done = host.run(*BY_NOBODY, "-c", str(config))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        77,
        "fingerd: cannot listen on 127.0.0.1:79: Permission denied (ports below 1024 need root)",
    )


@pytest.mark.root
def test_the_user_that_it_is_already_can_be_named(config: Path) -> None:
    config.write_text(f"listen: []\n{STATIC}")
    command = [*BY_NOBODY, "-n", "-c", str(config), "--uid", "nobody"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "listening on nothing" in process.stderr.readline()
        process.terminate()
        assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize(
    "options",
    [("--nosuch",), ("extra",), ("--syslog", "-l", "x"), ("--from", "::1"), ("--query", "x", "--from", "nowhere")],
)
def test_usage_is_64(config: Path, options: tuple[str, ...]) -> None:
    done = run("-c", str(config), *options)
    assert done.returncode == 64
    assert done.stderr.startswith("usage: fingerd")


def test_a_pid_file_may_be_no_link(tmp_path: Path) -> None:
    (tmp_path / "pid").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="cannot write the pid file") as caught:
        PidFile(str(tmp_path / "pid"))
    assert caught.value.exit_code == 78
    assert not (tmp_path / "elsewhere").exists()


def test_a_pid_file_that_its_last_holder_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    real_flock = __import__("fcntl").flock
    removals = iter([path])

    def flock(descriptor: int, operation: int) -> None:
        for stale in removals:
            stale.unlink()
            break
        real_flock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", flock)
    held = PidFile(str(path))
    held.write()
    assert path.read_text() == f"{os.getpid()}\n"
    held.remove()
    os.close(held.fileno())


def test_fewer_descriptors_than_connections_are_a_warning(config: Path) -> None:
    config.write_text(f"listen: []\n{STATIC}")
    few = ("prlimit", "--nofile=400:500", "--")
    with subprocess.Popen([*few, *FINGERD, "-n", "-c", str(config)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = [process.stderr.readline() for _ in range(3 if os.getuid() == 0 else 2)]
        process.terminate()
    assert "limits.connections is 180 instead of 10000: no more descriptors are allowed here (ulimit -n)" in lines[0]


def test_the_soft_limit_of_descriptors_is_raised() -> None:
    code = """if True:
        import resource
        from fingerd.daemon.descriptors import raise_descriptor_limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
        print(raise_descriptor_limit(50, 10), resource.getrlimit(resource.RLIMIT_NOFILE))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "50 (400, 400)\n"
    assert raise_descriptor_limit(1, 1) == 1


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
            "root could be had back",
        ),
    ],
    ids=["not given away", "kept aside", "groups", "to be had back"],
)
def test_root_that_was_not_given_away_is_noticed(before: str, owner: str, complaint: str) -> None:
    code = f"""if True:
        import os
        from fingerd.errors import StartError
        from fingerd.daemon.privileges import Identity
        from fingerd.daemon.privileges import verify_dropped
        {before}
        try:
            verify_dropped({owner})
        except StartError as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == complaint


def test_the_owner_is_who_the_settings_name() -> None:
    assert Identity.of(Process()) == Identity(os.getuid(), os.getgid(), None)


def test_a_daemon_that_dies_while_starting_is_not_taken_for_one_that_serves(config: Path) -> None:
    code = "import os, sys; from fingerd.daemon import cli; cli.serve = lambda *_: os._exit(9); sys.exit(cli.main())"
    done = subprocess.run([sys.executable, "-c", code, "-c", str(config)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (70, "fingerd: died while starting\n")


def test_a_bug_while_starting_is_70(config: Path) -> None:
    code = "import sys; from fingerd.daemon import cli, startup; startup.PidFile = None; sys.exit(cli.main())"
    done = subprocess.run([sys.executable, "-c", code, "-c", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "fingerd: a bug: TypeError(\"'NoneType' object is not callable\")" in done.stderr


def test_a_failed_start_leaves_no_pid_file(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
        assert run("-c", str(config)).returncode == 69
    assert not (config.parent / "pid").exists()


def test_a_pid_file_is_nobody_else_s_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", tmp_path / "pid")
    with pytest.raises(StartError, match="it is no file of its own"):
        PidFile(str(tmp_path / "pid"))
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.root
def test_a_file_in_the_jail_that_has_the_pid_file_s_name_is_left_alone(detached: Detach, folder: Path) -> None:
    inside = folder / "jail" / str(folder).lstrip("/")
    inside.mkdir(parents=True)
    (inside / "fingerd.pid").write_text("precious")
    daemon = detached("", "--chroot", str(folder / "jail"))
    daemon.stop()
    assert (inside / "fingerd.pid").read_text() == "precious"
    assert daemon.pidfile.read_text() == ""


def test_a_log_that_nobody_reads_does_not_keep_it_from_ending(folder: Path) -> None:
    config = folder / "fingerd.yaml"
    config.write_text(f'listen: "127.0.0.1:0"\n{STATIC}limits: {{query_bytes: 60KiB}}\n')
    with subprocess.Popen([*FINGERD, "-n", "-c", str(config)], stderr=subprocess.PIPE) as process:
        assert process.stderr
        line = b""
        while b"listening" not in line:
            line = process.stderr.readline()
        port = int(line.rpartition(b":")[2])
        for _ in range(150):
            ask(("127.0.0.1", port), b"x" * 1000 + b"\r\n")
        process.terminate()
        assert process.wait(TIMEOUT) == 0


def test_one_word_to_stop_is_enough_and_more_do_no_harm(start: Start) -> None:
    daemon = start(f'listen: "127.0.0.1:0"\n{STATIC}')
    while daemon.process.poll() is None:
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    assert daemon.process.returncode == 0


def test_a_shell_that_does_not_wait_is_no_harm(config: Path) -> None:
    config.write_text(f'listen: "127.0.0.1:0"\n{STATIC}log: {{to: {config.parent}/log}}\n')
    code = """if True:
        import os, sys, fingerd.daemon.detach as p
        waiting = p.ParentPipe.fork_and_wait.__func__
        def left(cls):
            reader, writer = os.pipe()
            os.close(reader)
            return cls(writer)
        p.ParentPipe.fork_and_wait = classmethod(left)
        from fingerd.daemon.cli import main
        sys.exit(main(sys.argv[1:]))"""
    with subprocess.Popen([sys.executable, "-c", code, "-c", str(config), "--pidfile", str(config.parent / "pid")]):
        pass
    wait_until(lambda: "listening" in (config.parent / "log").read_text())
    os.kill(int((config.parent / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: "stopped" in (config.parent / "log").read_text())
    assert "Traceback" not in (config.parent / "log").read_text()
