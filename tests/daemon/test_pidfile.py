"""The pid file: locked while the daemon runs, removed at its end, and never another file."""

import fcntl
import os
import signal
import socket
from pathlib import Path

import pytest

from fingerd.daemon.pidfile import PidFile
from fingerd.errors import StartError
from tests.daemon.conftest import Detach, run
from tests.helpers.daemons import status, wait_until


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
    os.close(held.fileno())


@pytest.mark.root
def test_a_file_in_the_chroot_with_the_path_of_the_pid_file_is_unchanged(detached: Detach, directory: Path) -> None:
    inside = directory / "chroot" / str(directory).lstrip("/")
    inside.mkdir(parents=True)
    (inside / "fingerd.pid").write_text("precious")
    daemon = detached("", "--chroot", str(directory / "chroot"))
    daemon.stop()
    assert (inside / "fingerd.pid").read_text() == "precious"
    assert daemon.pidfile.read_text() == ""
