"""A machine to install the package on: Debian with systemd as its first process, booted in a container.

It writes to memory only, unless a root of its own is given, so each start
begins with the same state.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.deb.cgroups import end_cgroup, inside, own_cgroups
from tests.deb.roots import CACHE, DIST, ENVIRONMENT, machine_root

CLIENTS = Path(__file__).parent / "clients.py"


class Machine:
    """A booted machine; its commands run as root."""

    def __init__(self, suite: str, disk: Path | None = None) -> None:
        """Boot a suite, or the root file system ``disk``; the directory of the package is mounted at /root/deb."""
        self.suite = suite
        name = f"fingerd-{os.getpid()}-{suite}-{'disk' if disk else 'memory'}"
        # systemd-nspawn creates the machine's cgroups below its own. If machines shared these, one could remove the
        # cgroup of a service that another is about to start.
        self._cgroups = [directory / name for directory in own_cgroups()]
        root = [f"--directory={disk}"] if disk else [f"--directory={machine_root(suite)}", "--volatile=overlay"]
        self._command = [
            *("systemd-nspawn", "--quiet", *root, "--boot", "--private-network", "--console=pipe"),
            f"--machine={name}",
            *("--register=no", "--keep-unit"),  # the host may have no systemd
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),  # nothing is shared with the host
            f"--bind-ro={DIST}:/root/deb",
        ]
        self._boot()

    def _boot(self) -> None:
        self._log = tempfile.TemporaryFile("w+")
        for directory in self._cgroups:
            directory.mkdir()
        self._nspawn = subprocess.Popen(
            inside(self._cgroups, self._command), stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )
        try:
            self._init = self._wait_for_init()
            self.root = Path(f"/proc/{self._init}/root")  # its file system, seen from outside
            self.wait("test", "-S", "/run/systemd/private")
            self.state = self.run("systemctl", "is-system-running", "--wait", check=False).strip()
        except BaseException:
            self._nspawn.kill()
            self._nspawn.wait()
            self._remove_cgroups()
            raise

    def _remove_cgroups(self) -> None:
        for directory in self._cgroups:
            end_cgroup(directory)

    def _wait_for_init(self) -> int:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        end = time.monotonic() + 60
        while time.monotonic() < end and self._nspawn.poll() is None:
            for pid in children.read_text().split():
                # Before init there is a child that prepares the root, and ends.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                        return int(pid)
            time.sleep(0.05)
        self._log.seek(0)
        raise AssertionError(f"systemd-nspawn boots no machine here:\n{self._log.read()}")

    def close(self) -> None:
        """End it at once, for it is not needed any more; an orderly shutdown takes up to 20 seconds."""
        self._end(signal.SIGKILL)

    def _end(self, signal_: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal_)
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._log.close()
        self._remove_cgroups()

    def reboot(self) -> None:
        """Power off, and boot again; only what is on the disk is kept."""
        self._end(signal.SIGRTMIN + 4)
        self._boot()

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command in the machine."""
        inside = ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        return [*inside, "--", "env", "-i", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), *command]

    def run(self, *command: str, check: bool = True, seconds: float = 60) -> str:
        """The standard output and error of a command; raises AssertionError if it fails."""
        return self._run(self.command(*command), check, seconds)

    def network(self, *command: str) -> list[str]:
        """The command line that runs a program of this host, which the machine may lack, in the machine's network."""
        return ["nsenter", f"--target={self._init}", "--net", "--", *command]

    def finger(self, *arguments: str) -> str:
        """The output of Debian's finger(1), asking over the machine's network."""
        return self._run(self.network("finger", *arguments), check=False, seconds=60)

    def _run(self, command: list[str], check: bool, seconds: float) -> str:
        done = subprocess.run(
            command,
            env=ENVIRONMENT,
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

    def wait_for_answer(self, query: str, text: str, seconds: float = 20) -> float:
        """Ask until the answer has the text; returns the seconds that it took."""
        return self.wait_until(lambda: text in self.finger(query), f"{text!r} of {query}", seconds)

    def wait_for_port(self, port: int) -> None:
        """Wait until something listens on a TCP port."""
        self.wait_until(lambda: self.listeners(port), f"a listener on port {port}")

    def listeners(self, port: int) -> str:
        """The sockets that listen on a TCP port, and the names of their processes."""
        command = self.network("ss", "--no-header", "--listening", "--tcp", "--processes", f"sport = :{port}")
        return self._run(command, check=True, seconds=60)

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

    def packages(self) -> set[str]:
        """The packages that are installed, with architectures and versions left out."""
        output = self.run("dpkg-query", "--show", "--showformat=${db:Status-Abbrev}${Package}\n")
        return {line[3:] for line in output.splitlines() if line.startswith("ii ")}

    @contextlib.contextmanager
    def tools(self, name: str) -> Iterator[None]:
        """Further packages for the block (``roots.TOOLS``), which are purged after it."""
        before = self.packages()
        if list(self.root.glob(f"root/tools/{name}/*.deb")):  # else each is there
            self.install(f"/root/tools/{name}/*.deb", "--no-install-recommends")
        try:
            yield
        finally:
            if new := self.packages() - before:
                self.run("dpkg", "--purge", "--force-remove-protected", *sorted(new))
                self.run("systemctl", "daemon-reload")

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


@contextlib.contextmanager
def machine_on_disk(suite: str) -> Iterator[Machine]:
    """A machine of its own, which can be rebooted: its root file system is a copy on the disk."""
    original = machine_root(suite)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        disk = Path(directory, "root")
        subprocess.run(["cp", "--archive", "--reflink=auto", original, disk], check=True)
        machine = Machine(suite, disk)
        try:
            yield machine
        finally:
            machine.close()


@dataclass
class Load:
    """The results of the clients."""

    queries: int = 0
    answers: dict[str, int] | None = None  # each answer, and how often it was received
    lost: list[str] | None = None  # the reasons of queries without an answer
    slowest: float = 0  # seconds

    def __str__(self) -> str:
        return f"{self.queries} queries, {len(self.lost or ())} lost, the slowest took {self.slowest:.2f} s"
