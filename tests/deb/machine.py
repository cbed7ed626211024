"""A machine to install the package on: Debian 12 with systemd as its first process, booted in a container.

The root file system is made once, and cached outside of the source tree. A
booted machine writes to memory only, so each start begins with the same state.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fingerd"
SUITE = "bookworm"
# The first of these that is for this suite gives the mirrors.
SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")
DIST = ROOT / "dist"  # the directory of the package

# The machine has no network, so the dependencies of the package are installed beforehand.
PACKAGES = (
    *("systemd", "systemd-sysv", "libpam-systemd", "dbus", "init"),
    *("python3", "python3-cachetools", "python3-daemon", "python3-jeepney", "python3-requests"),
    *("python3-h11", "python3-jinja2"),  # which the package suggests
    *("python3-urllib3", "python3-wcwidth", "python3-webencodings", "python3-yaml"),
    *("ca-certificates", "finger", "iproute2", "netbase"),
    *("apparmor", "dpkg-dev", "logrotate"),
    *("apt-utils", "python3-debian"),  # for autopkgtest
)
# procps, which has kill(1) and ps(1), is not essential, so the package must work without it. autopkgtest depends on
# procps but does not use it here, so it is unpacked without its dependencies.
UNPACKED = "autopkgtest"
OLD = ("fingerd", "openbsd-inetd")  # Debian's fingerd, which ours replaces; in /root/old, with their dependencies
SSH = ("openssh-client", "openssh-server", "curl")  # in /root/ssh, as above, for some checks: they bring procps

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}


def root_file_system() -> Path:
    """The directory of the machine's root file system; making it the first time takes a minute."""
    fetch = "apt-get -q -y -o APT::Sandbox::User=root --download-only install -o Dir::Cache::archives=/root"
    unpack = f"cd /tmp; apt-get -q download {UNPACKED}; dpkg-deb --extract {UNPACKED}_*.deb /; rm {UNPACKED}_*"
    hooks = (
        "echo finger-machine > $1/etc/hostname",
        f"mkdir -p $1/root/old/partial && chroot $1 {fetch}/old {' '.join(OLD)}",
        f"mkdir -p $1/root/ssh/partial && chroot $1 {fetch}/ssh --no-install-recommends {' '.join(SSH)}",
        f"chroot $1 sh -ec '{unpack}'",
    )
    return cached_root("machine", PACKAGES, hooks)


def cached_root(name: str, packages: Sequence[str], hooks: Sequence[str] = (), variant: str = "apt") -> Path:
    """A root file system with these packages, made by mmdebstrap: a directory, or an archive by the name's suffix."""
    sources = next((path for path in map(Path, SOURCES) if path.exists() and SUITE in path.read_text()), None)
    recipe = repr((SUITE, variant, packages, hooks, sources and sources.read_text()))
    stem, dot, suffix = name.partition(".")
    path = CACHE / f"{stem}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}{dot}{suffix}"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob(f"{stem}-*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            new = Path(directory, f"root{dot}{suffix}")
            print(f"making {path}", flush=True)
            command = [
                *("mmdebstrap", "--quiet", "--mode=root", f"--variant={variant}"),
                f"--include={','.join(packages)}",
                '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror may be a snapshot
                '--aptopt=Acquire::Languages "none"',
                *(f"--customize-hook={hook}" for hook in hooks),
                *(SUITE, str(new), *([str(sources)] if sources else [])),
            ]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env={**os.environ, **ENVIRONMENT})
            new.rename(path)
    return path


class Machine:
    """A booted machine; its commands run as root."""

    def __init__(self, packages: Path = DIST) -> None:
        """Boot; the directory of the package is mounted at /root/deb."""
        self._log = tempfile.TemporaryFile("w+")
        self._nspawn = subprocess.Popen(
            [
                *("systemd-nspawn", "--quiet", f"--directory={root_file_system()}", "--volatile=overlay"),
                *("--boot", f"--machine=fingerd-{os.getpid()}", "--private-network", "--console=pipe"),
                *("--register=no", "--keep-unit"),  # the host may have no systemd
                *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),  # nothing is shared with the host
                f"--bind-ro={packages}:/root/deb",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._init = self._wait_for_init()
            self.wait("test", "-S", "/run/systemd/private")
            self.state = self.run("systemctl", "is-system-running", "--wait", check=False).strip()
        except BaseException:
            self._nspawn.kill()
            self._nspawn.wait()
            raise
        self.root = Path(f"/proc/{self._init}/root")  # its file system, seen from outside

    def _wait_for_init(self) -> int:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        end = time.monotonic() + 30
        while time.monotonic() < end and self._nspawn.poll() is None:
            if found := children.read_text().split():
                return int(found[0])
            time.sleep(0.05)
        self._log.seek(0)
        raise AssertionError(f"systemd-nspawn boots no machine here:\n{self._log.read()}")

    def close(self) -> None:
        """Power off."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGRTMIN + 4)
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._log.close()

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command in the machine."""
        inside = ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        return [*inside, "--", "env", "-i", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), *command]

    def run(self, *command: str, check: bool = True, seconds: float = 60) -> str:
        """The standard output and error of a command; raises AssertionError if it fails."""
        done = subprocess.run(
            self.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def status(self, *command: str) -> int:
        """The exit status of a command."""
        return subprocess.run(self.command(*command), capture_output=True, timeout=60, check=False).returncode

    def wait(self, *command: str, seconds: float = 20) -> float:
        """Run a command until it succeeds; returns the seconds that it took."""
        return self.wait_until(lambda: self.status(*command) == 0, " ".join(command), seconds)

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = 20) -> float:
        """Wait for a condition; returns the seconds that it took."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() < start + seconds, f"not within {seconds} seconds: {what}\n{self.journal()}"
            time.sleep(0.05)
        return time.monotonic() - start

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of root's."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def read(self, path: str) -> str:
        """The text of a file."""
        return (self.root / path.lstrip("/")).read_text()

    def processes(self, name: str) -> list[int]:
        """The pids, in the machine, of the processes with this name."""
        found = []
        for comm in (self.root / "proc").glob("[0-9]*/comm"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended in the meantime
                if comm.read_text() == f"{name}\n":
                    found.append(int(comm.parent.name))
        return found

    def exists(self, path: str) -> bool:
        """Whether a path exists."""
        return os.path.lexists(self.root / path.lstrip("/"))

    def copy(self, path: Path, to: str) -> None:
        """Copy a file of the source tree into the machine."""
        self.write(to, path.read_text(), path.stat().st_mode & 0o777)

    def install(self, package: str = "/root/deb/fingerd_*_all.deb", *options: str) -> None:
        """Install a package with apt."""
        self.run("sh", "-c", f"exec apt-get install -q -y {' '.join(options)} {package}")

    def drop_in(self, unit: str, source: str | Path) -> None:
        """Add a drop-in to a unit: an example file, or a text."""
        name, text = (source.name, source.read_text()) if isinstance(source, Path) else ("check.conf", source)
        self.write(f"/etc/systemd/system/{unit}.d/{name}", text)
        self.run("systemctl", "daemon-reload")

    def configure(self, text: str, restart: bool = True) -> None:
        """Write the configuration of the service."""
        self.write("/etc/fingerd.yaml", text)
        if restart:
            self.run("systemctl", "restart", "fingerd.service")

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def journal(self, unit: str = "fingerd*", lines: int = 60) -> str:
        """The last lines that a unit has logged since the boot."""
        return self.run("journalctl", "--quiet", "--no-pager", f"--lines={lines}", "--unit", unit, check=False)

    def cursor(self) -> str:
        """The present end of the journal, for ``wait_for_lines``."""
        self.run("journalctl", "--sync")
        output = self.run("journalctl", "--quiet", "--lines=0", "--show-cursor")
        return output.strip().removeprefix("-- cursor: ")

    def wait_for_lines(self, cursor: str, text: str, minimum: int = 1) -> list[tuple[str, str]]:
        """Wait for so many lines of fingerd's units with the text after the cursor; the unit and message of each."""
        found: list[tuple[str, str]] = []

        def are_logged() -> bool:
            self.run("journalctl", "--sync")
            # The whole journal: with --unit, journalctl may skip the first line after the cursor.
            output = self.run("journalctl", "--quiet", "--output=json", f"--after-cursor={cursor}", check=False)
            entries = map(json.loads, output.splitlines())
            lines = [(entry.get("_SYSTEMD_UNIT", ""), str(entry.get("MESSAGE"))) for entry in entries]
            found[:] = [(unit, line) for unit, line in lines if unit.startswith("fingerd") and text in line]
            return len(found) >= minimum

        self.wait_until(are_logged, f"{minimum} times {text!r} in the journal")
        return found

    @contextlib.contextmanager
    def load(self) -> Iterator["Load"]:
        """Clients that send queries within the block; their results are set after it."""
        self.copy(Path(__file__).parent / "clients.py", "/root/clients.py")
        clients = subprocess.Popen(
            self.command("python3", "/root/clients.py"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        load = Load()
        time.sleep(0.4)
        try:
            yield load
            time.sleep(0.4)
        finally:
            output, _ = clients.communicate(timeout=60)
        load.queries, load.answers, load.lost, load.slowest = json.loads(output)


Report = Callable[..., None]  # prints what a check has observed


@dataclass
class Load:
    """The results of the clients."""

    queries: int = 0
    answers: dict[str, int] | None = None  # each answer, and how often it was received
    lost: list[str] | None = None  # the reasons of queries without an answer
    slowest: float = 0  # seconds

    def __str__(self) -> str:
        return f"{self.queries} queries, {len(self.lost or ())} lost, the slowest took {self.slowest:.2f} s"


def missing_requirements(*tools: str) -> str:
    """The requirements that are missing here; empty if none is."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in tools if not shutil.which(tool)]
    return f"needs {', '.join(missing)} (README.md names the packages)" if missing else ""
