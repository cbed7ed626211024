"""Detaching: from the terminal, from standard streams, from the shell that waits; and staying in the foreground."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import Start
from tests.daemon.conftest import STATIC, Detach, run
from tests.helpers.daemons import FINGERD, ask, status, wait_until


def test_the_command_returns_when_the_detached_daemon_serves(detached: Detach) -> None:
    daemon = detached()
    assert ask(daemon.address, b"moshez\r\n") == b"Happy and well\r\n"
    assert os.getsid(daemon.pid) not in (daemon.pid, os.getsid(0))
    assert {str(Path(f"/proc/{daemon.pid}/fd/{number}").readlink()) for number in range(3)} == {"/dev/null"}
    daemon.stop()
    assert daemon.log.read_text().splitlines()[-1].endswith("INFO fingerd: stopped")


def test_rundir_and_umask_are_set(detached: Detach, directory: Path) -> None:
    (directory / "run").mkdir()
    daemon = detached("", "--rundir", str(directory / "run"), "--umask", "077")
    assert Path(f"/proc/{daemon.pid}/cwd").readlink() == directory / "run"
    assert status(daemon.pid, "Umask") == ["0077"]


def test_the_defaults_of_rundir_and_umask(detached: Detach) -> None:
    daemon = detached()
    assert Path(f"/proc/{daemon.pid}/cwd").readlink() == Path("/")
    assert status(daemon.pid, "Umask") == ["0027"]


def test_relative_paths_begin_in_the_working_directory_of_the_start(directory: Path) -> None:
    (directory / "relative.yaml").write_text(f"listen: []\n{STATIC}")
    done = run("-c", "relative.yaml", "--pidfile", "here.pid", "-l", "here.log", cwd=directory)
    assert (
        done.returncode,
        done.stderr.replace("fingerd: warning: running as root: set process.user to an unprivileged user\n", ""),
    ) == (0, "")
    pid = int((directory / "here.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: "stopped" in (directory / "here.log").read_text())


def test_n_keeps_it_in_the_foreground_and_logs_to_standard_error(start: Start) -> None:
    daemon = start(f'listen: "127.0.0.1:0"\n{STATIC}')
    assert daemon.process.poll() is None
    assert daemon.ask(b"moshez\r\n") == b"Happy and well\r\n"
    daemon.logged('query="moshez"')


def test_a_detached_daemon_can_log_to_standard_error(directory: Path) -> None:
    config = directory / "fingerd.yaml"
    config.write_text(f"listen: []\n{STATIC}log: {{to: stderr}}\n")
    with (directory / "stderr").open("w") as stderr:
        subprocess.run([*FINGERD, "-c", str(config), "--pidfile", str(directory / "pid")], stderr=stderr, check=True)
    os.kill(int((directory / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: "stopped" in (directory / "stderr").read_text())


def test_the_standard_descriptors_may_be_closed(directory: Path) -> None:
    config = directory / "fingerd.yaml"
    config.write_text(f"listen: []\n{STATIC}process: {{pidfile: {directory}/pid}}\nlog: {{to: {directory}/log}}\n")
    closed = subprocess.run(["sh", "-c", f"{sys.executable} -m fingerd -c {config} <&- >&- 2>&-"], check=False)
    assert closed.returncode == 0
    wait_until(lambda: "listening" in (directory / "log").read_text())
    os.kill(int((directory / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: "stopped" in (directory / "log").read_text())


def test_a_daemon_that_terminates_during_start_up_is_reported_with_70(config: Path) -> None:
    code = "import os, sys; from fingerd.daemon import cli; cli.serve = lambda *_: os._exit(9); sys.exit(cli.main())"
    done = subprocess.run([sys.executable, "-c", code, "-c", str(config)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (70, "fingerd: the daemon terminated during start-up\n")


def test_an_internal_error_during_start_up_is_reported_with_70(config: Path) -> None:
    code = "import sys; from fingerd.daemon import cli, startup; startup.PidFile = None; sys.exit(cli.main())"
    done = subprocess.run([sys.executable, "-c", code, "-c", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "fingerd: internal error, please report: TypeError(\"'NoneType' object is not callable\")" in done.stderr


def test_the_shell_waits_until_a_daemon_that_failed_has_ended(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from pathlib import Path
        from fingerd.daemon.detach import ParentPipe
        parent = ParentPipe.fork_and_wait()
        parent.report(74, "cannot write")
        time.sleep(0.3)
        Path(sys.argv[1]).write_text("ended")"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "end"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (74, "fingerd: cannot write\n")
    assert (tmp_path / "end").read_text() == "ended"


def test_it_serves_if_the_parent_does_not_wait_for_the_report(config: Path) -> None:
    config.write_text(f'listen: "127.0.0.1:0"\n{STATIC}log: {{to: {config.parent}/log}}\n')
    code = """if True:
        import os, sys
        from fingerd.daemon.detach import ParentPipe
        def fork_without_waiting(cls):
            reader, writer = os.pipe()
            os.close(reader)
            return cls(writer)
        ParentPipe.fork_and_wait = classmethod(fork_without_waiting)
        from fingerd.daemon.cli import main
        sys.exit(main(sys.argv[1:]))"""
    with subprocess.Popen([sys.executable, "-c", code, "-c", str(config), "--pidfile", str(config.parent / "pid")]):
        pass
    wait_until(lambda: "listening" in (config.parent / "log").read_text())
    os.kill(int((config.parent / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: "stopped" in (config.parent / "log").read_text())
    assert "Traceback" not in (config.parent / "log").read_text()


def test_repeated_sigterm_is_harmless(start: Start) -> None:
    daemon = start(f'listen: "127.0.0.1:0"\n{STATIC}')
    while daemon.process.poll() is None:
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    assert daemon.process.returncode == 0
