"""Runs a server on a free port, waits for its first answer, and reads how much CPU and memory it uses."""

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

from bench.contenders import Contender, run_directory
from bench.peers import UnavailableError
from tests.helpers.ports import free_port

TIMEOUT = 20.0  # seconds until a server has to answer its first query
POLL_SECONDS = 0.005
TICKS = os.sysconf("SC_CLK_TCK")

# Passes the socket as the first one of LISTEN_FDS to the program that it executes.
INHERIT = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    contender: Contender
    port: int
    processes: tuple["subprocess.Popen[bytes]", ...]
    start_seconds: float  # from starting the process to the end of its first answer

    def cpu_seconds(self) -> float:
        """The CPU time that it has used so far."""
        return sum(_cpu_seconds(process.pid, self.contender.forks) for process in self.processes)

    def memory(self, field: str) -> float:
        """MB of ``VmHWM``, the peak of its resident memory, or of ``VmRSS``, its present resident memory."""
        return sum(_memory(process.pid, field) for process in self.processes)

    def descriptors(self) -> int:
        """The number of its open descriptors."""
        return sum(len(os.listdir(f"/proc/{process.pid}/fd")) for process in self.processes)


@contextlib.contextmanager
def running(contender: Contender) -> Iterator[Server]:
    """Run the server on a free port of loopback until the block ends. Raises UnavailableError if it does not answer."""
    environment = dict(os.environ)
    if contender.path:
        environment["PYTHONPATH"] = str(contender.path)
    stderr = run_directory() / f"stderr of {contender.name}"
    port = free_port()
    with socket.socket() as listener, open(stderr, "wb") as errors:
        command = list(contender.command(port))
        passed: tuple[int, ...] = ()
        if contender.processes > 1:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(4096)
            passed = (listener.fileno(),)
            command = [sys.executable, "-c", INHERIT, str(listener.fileno()), *command]
        started_at = time.monotonic()
        processes = tuple(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=contender.checkout,
                env=environment,
                start_new_session=True,
                pass_fds=passed,
            )
            for _ in range(contender.processes)
        )
    try:
        _await_answer(contender, port, processes, stderr)
        yield Server(contender, port, processes, time.monotonic() - started_at)
    finally:
        for process in processes:
            _stop(process)


def _await_answer(
    contender: Contender, port: int, processes: tuple["subprocess.Popen[bytes]", ...], stderr: Path
) -> None:
    deadline = time.monotonic() + TIMEOUT
    query = contender.query.replace("%d", "0")
    while contender.expect.encode() not in ask(port, query):
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            lines = stderr.read_text(errors="replace").strip().splitlines() or ["no answer"]
            raise UnavailableError(lines[-1])
        time.sleep(POLL_SECONDS)


def ask(port: int, query: str) -> bytes:
    """The whole answer to a query, which is sent with a line end; empty if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(os.fsencode(f"{query}\r\n").replace(b"\1", b"\0"))  # as fingerload does
            return b"".join(iter(lambda: client.recv(65536), b""))
    except OSError:
        return b""


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Terminate the process group."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _cpu_seconds(pid: int, forks: bool) -> float:
    """The sum of its threads, none of which may have ended, in ns; or, with its ended children, in ticks of 10 ms."""
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
