"""Faults of the surroundings: a message and an exit code for each, never a traceback; a closed pipe ends quietly."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.conftest import STATIC, run
from tests.helpers.daemons import FINGERD, TIMEOUT, Machine, let_everybody_in, wait_until
from tests.helpers.requirements import need

LISTEN = 'listen: "127.0.0.1:0"\n'
FULL = "fingerd: cannot write to standard output: No space left on device\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"{LISTEN}{STATIC}")
    return path


def shell(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a script of bash in which ``fingerd`` is a function; its exit code is that of the first command of a pipe."""
    function = f'fingerd() {{ {" ".join(FINGERD)} "$@"; }}\n'
    command = ["bash", "-c", f"{function}{script}", "bash", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)


PRINTING = {
    "--backends": "--backends",
    "--help": "--help",
    "--version": "--version",
    "--check": "-c $1 --check",
    "--query": "-c $1 --query moshez",
    "--query, long": "-c $2 --query moshez",
}


@pytest.fixture
def long(tmp_path: Path) -> Path:
    path = tmp_path / "long.yaml"
    path.write_text(f"backend: {{type: static, users: {{moshez: {json.dumps('line ' * 40_000)}}}}}\n")
    return path


@pytest.mark.parametrize("options", PRINTING.values(), ids=PRINTING)
def test_a_full_disk_at_standard_output_is_74(options: str, path: Path, long: Path) -> None:
    done = shell(f"fingerd {options} >/dev/full", path, long)
    assert (done.returncode, done.stderr) == (74, FULL)


@pytest.mark.parametrize("options", PRINTING.values(), ids=PRINTING)
@pytest.mark.parametrize("reader", ["true", "head -c 1 >/dev/null"])
def test_a_closed_pipe_ends_quietly(options: str, reader: str, path: Path, long: Path) -> None:
    # The second reader may have read all before it ends.
    done = shell(f"fingerd {options} | {{ {reader}; exec <&-; }}; exit ${{PIPESTATUS[0]}}", path, long)
    assert (done.returncode in (0, 141), done.stderr) == (True, "")
    done = shell(f"(sleep 2; fingerd {options}) | true; exit ${{PIPESTATUS[0]}}", path, long)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("options", PRINTING.values(), ids=PRINTING)
def test_closed_streams_change_nothing(options: str, path: Path, long: Path) -> None:
    for closed in ("2>&-", "<&-", "<&- 2>&-"):
        done, usual = shell(f"fingerd {options} {closed}", path, long), shell(f"fingerd {options}", path, long)
        assert (done.returncode, done.stdout, done.stderr) == (0, usual.stdout, "")


FAILING = {
    "usage": ("--nosuch", 64),
    "no configuration": ("-c /nowhere/at/all --check", 78),
    "a bad configuration": ("-c $2 --check", 78),
    "a bad configuration at the start": ("-n -c $2", 78),
    "no process": ("-c $1 --reload 2147483647", 69),
    "a log that cannot be opened": ("-n -c $1 -l /proc/self/nosuch", 78),
    "a log that cannot be opened, detached": ("-c $1 -l /proc/self/nosuch", 78),
}


@pytest.mark.parametrize(("options", "code"), FAILING.values(), ids=FAILING)
@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-", "2> >(true)"])
def test_an_error_that_cannot_be_printed_has_its_exit_code(
    options: str, code: int, stderr: str, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("backend: 1\n")
    done = shell(f"fingerd {options} {stderr}", path, tmp_path / "bad.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-"])
def test_a_failure_of_a_backend_that_cannot_be_printed_leaves_the_answer(stderr: str, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text("backend: {type: command, argv: [sh, -c, exit 3]}\n")
    done = shell(f"fingerd -c $1 --query x {stderr}", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Internal error in server\n", "")


def test_output_waits_for_a_slow_reader_of_a_non_blocking_pipe(long: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen([*FINGERD, "-c", str(long), "--query", "moshez"], stdout=writer) as process:
        os.close(writer)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        with open(reader, "rb") as pipe:
            assert pipe.read() == b"line " * 40_000 + b"\r\n"
    assert process.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_names_that_the_terminal_cannot_show_are_escaped(encoding: str, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + "/caf\xe9-\u20ac".encode() + b"\xff.yaml"
    Path(os.fsdecode(path)).write_text(STATIC)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([*FINGERD, "-c", path, "--check"], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"no problem found\n")
    done = subprocess.run([*FINGERD, "-c", path + b".", "--check"], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (78, b"")
    assert b"cannot be read: No such file or directory" in done.stderr


# The working directory


def in_deleted_directory(*options: object) -> "subprocess.CompletedProcess[str]":
    return shell('d=$(mktemp -d) && cd "$d" && rmdir "$d" && fingerd "$@"', *options)


ABSOLUTE = {
    "--check": ("--check",),
    "--query": ("--query", "moshez"),
    "--backends": ("--backends",),
    "--version": ("--version",),
}


@pytest.mark.parametrize("options", ABSOLUTE.values(), ids=ABSOLUTE)
def test_a_deleted_working_directory_does_not_matter_to_absolute_paths(options: tuple[str, ...], path: Path) -> None:
    done = in_deleted_directory("-c", path, *options)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_daemon_starts_in_a_deleted_working_directory(path: Path, tmp_path: Path) -> None:
    done = in_deleted_directory("-c", path, "-l", tmp_path / "log", "--pidfile", tmp_path / "pid")
    assert done.returncode == 0, done.stderr
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: "stopped" in (tmp_path / "log").read_text())


RELATIVE = {
    "a log": (("-l", "here.log"), "--logfile: log.to: here.log"),
    "a pid file": (("--pidfile", "pid"), "--pidfile: process.pidfile: pid"),
    "a chroot": (("--chroot", "root"), "--chroot: process.chroot: root"),
}


@pytest.mark.parametrize(("options", "where"), RELATIVE.values(), ids=RELATIVE)
def test_a_relative_path_in_a_deleted_working_directory_is_78(options: tuple[str, ...], where: str, path: Path) -> None:
    done = in_deleted_directory("-n", "-c", path, *options)
    what = "is a relative path, and the working directory was deleted"
    assert (done.returncode, done.stdout, done.stderr) == (78, "", f"{where} {what}\n")


RELATIVE_OPTIONS = {
    "a program": "{type: command, argv: [bin/echo]}",
    "a directory": "{type: files, folder: people}",
    "a secret": "{type: web, prefix: 'http://127.0.0.1/', auth_file: secret}",
    "a story": "{type: scenario, file: story.toml}",
    "a file for an alias": "{type: aliases, backend: {type: empty}, names: {a: ./file}}",
}


@pytest.mark.parametrize("backend", RELATIVE_OPTIONS.values(), ids=RELATIVE_OPTIONS)
def test_a_relative_path_of_a_backend_in_a_deleted_working_directory_is_78(backend: str, path: Path) -> None:
    path.write_text(f"backend: {backend}\n")
    done = in_deleted_directory("-c", path, "--check")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.endswith("is a relative path, and the working directory was deleted\n")
    assert done.stderr.count("\n") == 1


def test_a_relative_configuration_in_a_deleted_working_directory_is_78() -> None:
    done = in_deleted_directory("-c", "fingerd.yaml", "--check")
    assert (done.returncode, done.stderr) == (78, "fingerd.yaml: cannot be read: No such file or directory\n")


# Files and devices


@pytest.mark.root
@pytest.mark.parametrize("options", [(), ("-n",)], ids=["detached", "foreground"])
def test_a_pid_file_or_a_log_on_a_full_disk_is_74(
    options: tuple[str, ...], host: Machine, path: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    assert host.run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "tmpfs", str(full)).returncode == 0
    host.run("sh", "-c", f"cat /dev/zero >{full}/zero")
    done = host.run(*FINGERD, "-c", str(path), *options, "-l", str(tmp_path / "log"), "--pidfile", f"{full}/pid")
    message = f"fingerd: cannot write the pid file {full}/pid: No space left on device"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (74, message)
    host.run("sh", "-c", f"cd {full}; touch 1 2 3 4")
    for option, what in (("--pidfile", "pid file"), ("-l", "log")):
        done = host.run(*FINGERD, "-c", str(path), *options, "-l", str(tmp_path / "log"), option, f"{full}/new")
        message = f"fingerd: cannot write the {what} {full}/new: No space left on device"
        assert (done.returncode, done.stderr.splitlines()[-1]) == (74, message)
    assert "Traceback" not in (tmp_path / "log").read_text()


NO_NULL = {
    "detached": ("-c $1 -l $2/log", 78),
    "foreground": ("-n -c $1", 78),
    "closed streams": ("-n -c $1 <&-", 78),
    "closed output": ("-c $1 --check >&-", 78),
    "closed errors": ("-c $1 --check 2>&-", 78),
    "a check": ("-c $1 --check", 0),
    "a query": ("-c $1 --query moshez", 0),
    "a query of a program": ("-c $3 --query moshez", 0),
}


@pytest.mark.root
@pytest.mark.parametrize(("options", "code"), NO_NULL.values(), ids=NO_NULL)
def test_a_missing_dev_null_is_reported_where_it_is_needed(options: str, code: int, path: Path, tmp_path: Path) -> None:
    need("namespaces")
    program = tmp_path / "program.yaml"
    program.write_text("backend: {type: command, argv: [echo, Happy and well]}\n")
    script = f"mount -t tmpfs tmpfs /dev; {' '.join(FINGERD)} {options}"
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(path), str(tmp_path), str(program)]
    # What measures coverage opens a file of its own, and fails in words of its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        command, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment
    )
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if "running as root" not in line]
    if code and "2>&-" not in options:
        assert lines[-1].removeprefix("fingerd: ").endswith(("/dev/null: No such file or directory", "'/dev/null'"))
        assert len(lines) == 1
    else:
        assert lines == []


# Limits


def exhausted(path: Path, tmp_path: Path, *options: str) -> Callable[[str, int], "subprocess.CompletedProcess[str]"]:
    """Runs the daemon as a user without other processes, with one limit of prlimit(1)."""
    let_everybody_in(tmp_path)
    uid = 61_334
    code = "import sys, os; import fingerd.backends.static, locale; from fingerd.daemon.cli import main\n"
    code += "import resource; kind, limit = sys.argv[1:3]; del sys.argv[1:3]\n"
    code += f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})\n"
    code += "resource.setrlimit(getattr(resource, kind), (int(limit), int(limit))); sys.exit(main())"

    def start(kind: str, limit: int) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", code, kind, str(limit), "-c", str(path), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd="/")

    return start


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "cannot start a process: Resource temporarily unavailable"),
        (("-n",), "cannot start: can't start new thread"),
    ],
    ids=["detached", "foreground"],
)
def test_no_processes_or_threads_is_69(options: tuple[str, ...], message: str, path: Path, tmp_path: Path) -> None:
    done = exhausted(path, tmp_path, *options)("RLIMIT_NPROC", 0)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (69, f"fingerd: {message}")
    assert "Traceback" not in done.stderr


@pytest.mark.root
@pytest.mark.parametrize("options", [(), ("-n",)], ids=["detached", "foreground"])
@pytest.mark.parametrize("limit", [4, 5, 6])
def test_too_few_descriptors_is_69(options: tuple[str, ...], limit: int, path: Path, tmp_path: Path) -> None:
    done = exhausted(path, tmp_path, *options)("RLIMIT_NOFILE", limit)
    assert (done.returncode, "Traceback" in done.stderr) == (69, False), done.stderr
    assert done.stderr.endswith("Too many open files\n")


def test_an_interrupt_ends_a_query_quietly(tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"
    path.write_text(f"backend: {{type: command, argv: [sh, -c, 'echo >{tmp_path}/ran; sleep 600']}}\n")
    process = subprocess.Popen([*FINGERD, "-c", str(path), "--query", "x"], stderr=subprocess.PIPE, text=True)
    wait_until((tmp_path / "ran").exists)
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=TIMEOUT)[1], process.returncode) == ("", 130)


def test_the_default_configuration_that_is_missing_is_reported_with_a_hint() -> None:
    if os.path.exists("/etc/fingerd.yaml"):
        pytest.skip("there is a /etc/fingerd.yaml")
    reason = "cannot be read: No such file or directory"
    for options in ((), ("-n",), ("--check",), ("--query", "x")):
        done = run(*options)
        assert (done.returncode, done.stderr) == (78, f"/etc/fingerd.yaml: {reason} (-c FILE names another)\n")
    assert run("-c", "/nowhere/fingerd.yaml").stderr == f"/nowhere/fingerd.yaml: {reason}\n"
