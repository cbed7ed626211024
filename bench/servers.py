"""A server while it runs: started on a free port, asked until it answers, and what it has used of the machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.kinds import Kind, run_folder
from bench.peers import ROOT, NotHereError

TIMEOUT = 20.0  # seconds until a server has to answer its first query
TICKS = os.sysconf("SC_CLK_TCK")

# Makes the socket the first that LISTEN_FDS means, for the process that it becomes.
INHERIT = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs."""

    kind: Kind
    port: int
    processes: tuple["subprocess.Popen[bytes]", ...]

    def cpu_seconds(self) -> float:
        """The CPU time that it has used so far."""
        return sum(_cpu_seconds(process.pid, self.kind.forks) for process in self.processes)

    def memory(self, field: str) -> float:
        """MB of ``VmHWM``, the most that was in memory at once, or of ``VmRSS``, what is there now."""
        return sum(_memory(process.pid, field) for process in self.processes)

    def descriptors(self) -> int:
        """How many it has open."""
        return sum(len(os.listdir(f"/proc/{process.pid}/fd")) for process in self.processes)


@contextlib.contextmanager
def running(kind: Kind) -> Iterator[Server]:
    """The server on a free port of loopback, until the block ends; NotHereError where it does not come to answer."""
    environment = dict(os.environ)
    if kind.path:
        environment["PYTHONPATH"] = str(kind.path)
    complaints = run_folder() / f"complaints of {kind.name}"
    with socket.socket() as listener, open(complaints, "wb") as errors:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        command = list(kind.command(port))
        passed: tuple[int, ...] = ()
        if kind.processes > 1:
            listener.listen(4096)
            passed = (listener.fileno(),)
            command = [sys.executable, "-c", INHERIT, str(listener.fileno()), *command]
        else:
            listener.close()
        started = [
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
                pass_fds=passed,
            )
            for _ in range(kind.processes)
        ]
    try:
        server = Server(kind, port, tuple(started))
        _await_answer(server, complaints)
        yield server
    finally:
        for process in started:
            _end(process)


def _await_answer(server: Server, complaints: Path) -> None:
    end = time.monotonic() + TIMEOUT
    while server.kind.expect.encode() not in _answer(server):
        if time.monotonic() > end or any(process.poll() is not None for process in server.processes):
            said = complaints.read_text(errors="replace").strip().splitlines() or ["it does not answer"]
            raise NotHereError(said[-1])
        time.sleep(0.05)


def _answer(server: Server) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=2) as client:
            client.sendall(f"{server.kind.query}\r\n".encode())
            return b"".join(iter(lambda: client.recv(65536), b""))
    except OSError:
        return b""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it and what it has started."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _cpu_seconds(pid: int, forks: bool) -> float:
    """Of all its threads, which must not have ended, in ns; or, with its ended children, in ticks of 10 ms."""
    if forks:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _memory(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)
