"""Start-up: what makes it fail, with which exit code; and the limit of descriptors."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fingerd.daemon.descriptors import raise_descriptor_limit
from tests.daemon.conftest import STATIC, run
from tests.helpers.daemons import FINGERD


@pytest.mark.parametrize(
    "options",
    [("--nosuch",), ("extra",), ("--syslog", "-l", "x"), ("--from", "::1"), ("--query", "x", "--from", "nowhere")],
)
def test_usage_is_64(config: Path, options: tuple[str, ...]) -> None:
    done = run("-c", str(config), *options)
    assert done.returncode == 64
    assert done.stderr.startswith("usage: fingerd")


@pytest.mark.parametrize("foreground", [(), ("-n",)], ids=["detached", "foreground"])
def test_a_busy_port_is_reported_with_69(config: Path, foreground: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        done = run("-c", str(config), *foreground)
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1] == f"fingerd: cannot listen on 127.0.0.1:{port}: Address already in use"


MISSING = {
    "chroot": ("--chroot", "process.chroot: there is no directory /nowhere/at/all"),
    "rundir": ("--rundir", "process: there is no directory /nowhere/at/all to run in"),
    "user": ("--uid", "process.user: there is no user /nowhere/at/all"),
    "group": ("--gid", "process.group: there is no group /nowhere/at/all"),
    "log": ("--logfile", "log.to: there is no directory /nowhere/at"),
    "pid file": ("--pidfile", "process.pidfile: there is no directory /nowhere/at"),
}


@pytest.mark.parametrize(("option", "complaint"), MISSING.values(), ids=MISSING)
def test_a_missing_object_is_reported_with_78(config: Path, option: str, complaint: str) -> None:
    done = run("-c", str(config), option, "/nowhere/at/all")
    assert done.returncode == 78
    assert done.stderr.endswith(f": {complaint}\n")


def test_a_missing_configuration_is_reported_with_78() -> None:
    done = run("-c", "/nowhere/fingerd.yaml")
    assert (done.returncode, done.stderr) == (78, "/nowhere/fingerd.yaml: cannot be read: No such file or directory\n")


def test_too_few_descriptors_reduce_the_connections_with_a_warning(config: Path) -> None:
    config.write_text(f"listen: []\n{STATIC}")
    few = ("prlimit", "--nofile=400:500", "--")
    with subprocess.Popen([*few, *FINGERD, "-n", "-c", str(config)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = [process.stderr.readline() for _ in range(3 if os.getuid() == 0 else 2)]
        process.terminate()
    assert (
        "limits.connections is reduced from 10000 to 436: the limit of open descriptors is too low (ulimit -n)"
        in lines[0]
    )


def test_the_soft_limit_of_descriptors_is_raised() -> None:
    code = """if True:
        import resource
        from fingerd.daemon.descriptors import raise_descriptor_limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
        print(raise_descriptor_limit(50, 10), resource.getrlimit(resource.RLIMIT_NOFILE))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "50 (400, 400)\n"
    assert raise_descriptor_limit(1, 1) == 1
