"""The pid file: locked while the daemon runs, removed at its end, and never another file."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fingerd.daemon.pidfile import PidFile
from fingerd.errors import StartError
from tests.daemon.conftest import NOBODY, STATIC, Detach, run
from tests.helpers.daemons import FINGERD, Machine, ask, status, wait_until
from tests.helpers.requirements import need, needs


def test_the_pid_file_contains_the_pid_and_is_removed_at_the_end(detached: Detach) -> None:
    daemon = detached()
    assert daemon.pidfile.read_text() == f"{daemon.pid}\n"
    daemon.stop()
    assert not daemon.pidfile.exists()


def test_a_second_daemon_fails_and_names_the_first(detached: Detach, directory: Path) -> None:
    daemon = detached()
    second = run(
        "-c", str(directory / "fingerd.yaml"), "--pidfile", str(daemon.pidfile), "-l", str(directory / "second.log")
    )
    assert second.returncode == 69
    assert second.stderr.splitlines()[-1] == f"fingerd: another fingerd holds {daemon.pidfile} (pid {daemon.pid})"
    assert daemon.pidfile.read_text() == f"{daemon.pid}\n"


def test_a_pid_file_left_by_a_crash_is_reused(detached: Detach) -> None:
    daemon = detached()
    os.kill(daemon.pid, signal.SIGKILL)
    wait_until(lambda: status(daemon.pid, "State")[0] == "Z" if Path(f"/proc/{daemon.pid}").exists() else True)
    again = detached()
    assert again.pid != daemon.pid


def test_a_daemon_that_is_killed_is_replaced_every_time(directory: Path) -> None:
    """With a unix socket, too, and with a client that has not been answered."""
    path, pidfile, config = directory / "socket", directory / "fingerd.pid", directory / "fingerd.yaml"
    config.write_text(f"listen: unix:{path}\n{STATIC}")
    pids = set()
    for _ in range(4):
        done = run("-c", str(config), "--pidfile", str(pidfile), "-l", str(directory / "log"))
        assert done.returncode == 0, done.stderr
        pid = int(pidfile.read_text())
        pids.add(pid)
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                assert ask(str(path), b"moshez\r\n") == b"Happy and well\r\n"
        finally:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_running(pid))
    assert len(pids) == 4


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    return Path(f"/proc/{pid}").exists() and status(pid, "State")[0] != "Z"


def test_a_failed_start_leaves_no_pid_file(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
        assert run("-c", str(config)).returncode == 69
    assert not (config.parent / "pid").exists()


def test_a_pid_file_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pid").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="cannot write the pid file") as caught:
        PidFile(str(tmp_path / "pid"))
    assert caught.value.exit_code == 78
    assert not (tmp_path / "elsewhere").exists()


def test_a_pid_file_with_another_link_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", tmp_path / "pid")
    with pytest.raises(StartError, match="not a regular file with one link"):
        PidFile(str(tmp_path / "pid"))
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_pid_file_that_its_previous_holder_removes_meanwhile_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    real_flock = fcntl.flock
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
    for descriptor in held.descriptors():
        os.close(descriptor)


@pytest.mark.parametrize("kind", ["fifo", "directory", "socket"])
def test_a_pid_file_that_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    with pytest.raises(StartError, match="cannot write the pid file") as caught:
        PidFile(str(path))
    assert caught.value.exit_code == 78


@pytest.mark.root
@pytest.mark.parametrize("detach", [False, True], ids=["foreground", "detached"])
def test_a_full_disk_is_reported_with_74(detach: bool, directory: Path, host: Machine) -> None:
    disk = directory / "disk"
    disk.mkdir()
    host.run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk))
    host.run("sh", "-c", f"head -c 4096 /dev/zero > {disk}/full")
    config = directory / "fingerd.yaml"
    config.write_text(f"listen: []\n{STATIC}log: {{to: stderr}}\nprocess: {{pidfile: {disk}/pid}}\n")
    done = host.run(*FINGERD, *([] if detach else ["-n"]), "-c", str(config), "--uid", "nobody")
    error = f"fingerd: cannot write the pid file {disk}/pid: No space left on device"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (74, error)


@pytest.mark.root
def test_a_pid_file_that_the_user_may_not_remove_stays_without_the_lock(detached: Detach) -> None:
    daemon = detached("", "--uid", "nobody")
    daemon.stop()
    assert daemon.pidfile.read_text() == f"{daemon.pid}\n"
    assert detached("", "--uid", "nobody").pid != daemon.pid


@needs("pkill")
def test_pkill_stops_a_running_daemon_only(detached: Detach, tmp_path: Path) -> None:
    stop = ("pkill", "-LF")
    daemon = detached()
    assert subprocess.run([*stop, str(daemon.pidfile)], check=False).returncode == 0
    wait_until(lambda: not daemon.is_running)
    with subprocess.Popen(["sleep", "100"]) as other:
        (tmp_path / "stale").write_text(f"{other.pid}\n")
        assert subprocess.run([*stop, str(tmp_path / "stale")], stderr=subprocess.DEVNULL, check=False).returncode != 0
        assert other.poll() is None
        other.kill()


def test_a_pid_file_of_the_user_in_a_directory_of_another_is_emptied(tmp_path: Path) -> None:
    # As the kernel does it for another owner of the directory: the file may be written, but not removed.
    code = f"""if True:
        import os
        from fingerd.daemon.pidfile import PidFile
        os.chmod({str(tmp_path)!r}, 0o711)
        for folder in {[str(parent) for parent in tmp_path.parents[:-1]]!r}:
            os.chmod(folder, os.stat(folder).st_mode | 0o711)
        open({str(tmp_path / "pid")!r}, "w").close()
        os.chown({str(tmp_path / "pid")!r}, {NOBODY}, {NOBODY})
        os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
        held = PidFile({str(tmp_path / "pid")!r})
        held.write()
        print(open({str(tmp_path / "pid")!r}).read() == f"{{os.getpid()}}\\n")
        held.remove()"""
    need("root")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert (tmp_path / "pid").read_text() == ""


@pytest.mark.root
def test_a_file_in_the_chroot_with_the_path_of_the_pid_file_is_unchanged(detached: Detach, directory: Path) -> None:
    inside = directory / "chroot" / str(directory).lstrip("/")
    inside.mkdir(parents=True)
    (inside / "fingerd.pid").write_text("precious")
    daemon = detached("", "--chroot", str(directory / "chroot"))
    daemon.stop()
    assert (inside / "fingerd.pid").read_text() == "precious"
    assert daemon.pidfile.read_text() == f"{daemon.pid}\n"
