"""podman with a store of its own, and an image of Debian that mmdebstrap makes: no registry is asked.

It runs as root, and needs neither systemd nor cgroups of version 2. Images are built in a chroot with the host's
network, for apt. runc runs the containers, each in a network with nothing but loopback.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fingerd"
PROGRAMS = {"mmdebstrap": "mmdebstrap", "nsenter": "util-linux", "podman": "podman", "runc": "runc"}
SUITE, BASE, IMAGE = "bookworm", "localhost/debian:bookworm-slim", "localhost/fingerd"
SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")
# As Debian's images have it: no package starts a service.
POLICY = r"""printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d" """
# podman's own limits may be more than this machine allows.
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
# Health checks at intervals need systemd.
HOST = (*LIMITS, "--health-interval=disable", "--network=none")
TIMEOUT = 20


def missing() -> str:
    """What this machine lacks; empty if nothing."""
    packages = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if packages:
        return f"needs {' '.join(packages)} (Debian: apt install {' '.join(packages)})"
    return "" if os.geteuid() == 0 else "needs root"


def base() -> Path:
    """The archive of Debian's minimal system, made once and cached outside of the source tree."""
    sources = next((path for path in map(Path, SOURCES) if path.exists() and SUITE in path.read_text()), None)
    recipe = repr((SUITE, POLICY, sources and sources.read_text()))
    path = CACHE / f"slim-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.tar"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"making {path}", flush=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            new = Path(folder, "base.tar")
            command = [
                *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--customize-hook={POLICY}"),
                '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror may be a snapshot
                *(SUITE, str(new), *([str(sources)] if sources else [])),
            ]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            new.rename(path)
    return path


class Podman:
    """podman with a store in a folder that is removed with it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fingerd-container-"))
        store, state = self._folder / "store", self._folder / "state"
        self.command = (
            "podman",
            f"--root={store}",
            f"--runroot={state}",
            "--cgroup-manager=cgroupfs",
            "--runtime=runc",
        )

    def run(self, *words: str, check: bool = True, seconds: float = TIMEOUT) -> "subprocess.CompletedProcess[str]":
        """Run a command of podman; raises AssertionError if it fails."""
        done = subprocess.run(
            [*self.command, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def build(self) -> None:
        """Make the image as `make container` does, of the package that is in dist/."""
        self.run("import", str(base()), BASE, seconds=300)
        options = "--isolation=chroot --network=host --pull=never"
        command = ["make", "-o", "deb", "container", f"ENGINE={' '.join(self.command)}", f"BUILD={options}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    def close(self) -> None:
        """Remove all containers and images."""
        self.run("rm", "--all", "--force", "--time=0", check=False, seconds=60)
        self.run("system", "reset", "--force", check=False, seconds=60)
        shutil.rmtree(self._folder, ignore_errors=True)


class Container:
    """A container of the image that runs."""

    def __init__(self, podman: Podman, *options: str, arguments: tuple[str, ...] = ()) -> None:
        self._podman = podman
        done = podman.run("run", "--detach", *HOST, *options, IMAGE, *arguments)
        self.name = done.stdout.strip()
        self.pid = int(self.inspect("{{.State.Pid}}"))

    def inspect(self, what: str) -> str:
        """A fact about it, as a template of Go says."""
        return self._podman.run("inspect", "--format", what, self.name).stdout.strip()

    def exec(self, *command: str) -> str:
        """The output of a command in the container; raises AssertionError if it fails."""
        return self._podman.run("exec", self.name, *command).stdout

    def pyfinger(self, *arguments: str) -> str:
        """What a client in the container prints."""
        return self.exec("pyfinger", *arguments)

    def health(self) -> int:
        """The exit code of its health check: 0 is healthy."""
        return self._podman.run("healthcheck", "run", self.name, check=False).returncode

    def log(self) -> str:
        """All that it has written."""
        done = self._podman.run("logs", self.name)
        return done.stdout + done.stderr

    def wait_for(self, text: str) -> None:
        """Wait for a text in its log."""
        wait_until(lambda: text in self.log(), f"{text!r} in the log", self.log)

    def signal(self, name: str) -> None:
        """Send a signal to process 1."""
        self._podman.run("kill", "--signal", name, self.name)

    def stop(self) -> int:
        """Stop it as `podman stop` does, by SIGTERM; its exit code."""
        self._podman.run("stop", f"--time={TIMEOUT}", self.name, seconds=2 * TIMEOUT)
        return int(self.inspect("{{.State.ExitCode}}"))


def wait_until(condition: Callable[[], object], what: str, shown: Callable[[], object]) -> None:
    """Wait for a condition; ``shown`` is for the message of the AssertionError that is raised after TIMEOUT."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, f"not within {TIMEOUT} seconds: {what}\n{shown()}"
        time.sleep(0.05)
