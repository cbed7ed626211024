"""Real servers for the tests: fingerd as a process or in a thread, and machines of namespaces to run them on."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue

from fingerd import FingerServer, load_config
from tests.helpers.requirements import need

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
FINGERD = (sys.executable, "-m", "fingerd")
TIMEOUT = 30.0  # seconds that a test waits for anything: several run side by side


def wait_until(condition: Callable[[], object], seconds: float = TIMEOUT) -> None:
    """Wait until the condition holds; raises AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} seconds: {condition}"
        time.sleep(0.01)


def ask(address: tuple[str, int] | str, query: bytes, hang_up: bool = False, source: str = "") -> bytes:
    """The server's whole answer to these bytes, up to its FIN; raises ConnectionResetError at a reset."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT)
        if source:
            client.bind((source, 0))
        client.connect(address)
        client.sendall(query)
        if hang_up:
            client.shutdown(socket.SHUT_WR)
        return hear(client)


def hear(client: socket.socket) -> bytes:
    """What the server sends from now on, up to its FIN."""
    heard = bytearray()
    while data := client.recv(65536):
        heard += data
    return bytes(heard)


def is_open(address: tuple[str, int] | str) -> bool:
    """Whether something accepts connections at this address, or at the path of a unix socket."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        return client.connect_ex(address) == 0


def let_everybody_in(folder: Path) -> None:
    """Make the folder and its parents searchable for all users: pytest's are not, and a daemon drops root."""
    for parent in (folder, *folder.parents):
        if parent != Path("/") and parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o711)


class Daemon:
    """A fingerd process in the foreground, which logs to its standard error."""

    command: tuple[str, ...] = (*FINGERD, "-n")

    def __init__(self, config: Path, *options: str, inside: Sequence[str] = ()) -> None:
        self.config = config
        self.process = subprocess.Popen(
            [*inside, *self.command, "-c", str(config), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.listening = self.logged("listening on").partition("listening on ")[2]
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._lines.put(line.rstrip("\n"))

    def logged(self, text: str, seconds: float = TIMEOUT) -> str:
        """Wait for the next log line that contains the text, and return it."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(end - time.monotonic(), 0))
            except Empty:
                raise AssertionError(f"no log line with {text!r} in {self.log}") from None
            self.log.append(line)
            if text in line:
                return line

    def logged_so_far(self) -> list[str]:
        """All lines that have been read until now."""
        with contextlib.suppress(Empty):
            while True:
                self.log.append(self._lines.get_nowait())
        return self.log

    @property
    def address(self) -> tuple[str, int]:
        """The address on which it listens."""
        found = re.search(r":(\d+)\b", self.listening)
        assert found, self.listening
        return "127.0.0.1", int(found[1])

    def ask(self, query: bytes, source: str = "") -> bytes:
        """Its answer to a client, which may have another loopback address as its source."""
        return ask(self.address, query, source=source)

    def connect(self) -> socket.socket:
        """A client that has sent nothing yet."""
        return socket.create_connection(self.address, timeout=TIMEOUT)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it with this signal, and return its exit code. ``log`` has all its lines afterwards."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(TIMEOUT * 2)
        self._reader.join(TIMEOUT)
        if self.process.stderr:
            self.process.stderr.close()
        self.logged_so_far()
        return code


class Machine:
    """Network and mount namespaces for one test: a machine whose port 79 and /dev/log are free.

    The test is skipped if namespaces or ip(8) are missing.
    """

    def __init__(self, folder: Path) -> None:
        need("root", "namespaces", "ip")
        (folder / "dev").mkdir()
        script = f"ip link set lo up && cd {folder}/dev && " + " && ".join(
            f"touch {name} && mount --bind /dev/{name} {name}" for name in ("null", "urandom", "zero")
        )
        script += f" && mount --rbind {folder}/dev /dev && echo ready && exec sleep 600"
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True
        )
        try:
            assert self._keeper.stdout
            assert self._keeper.stdout.readline() == "ready\n"
        except BaseException:
            self.close()
            raise
        self.inside = ("nsenter", f"--target={self._keeper.pid}", "--net", "--mount", "--")

    def run(self, *command: str, seconds: float = TIMEOUT) -> "subprocess.CompletedProcess[str]":
        """Run a command on the machine, and wait for its end."""
        return subprocess.run(
            [*self.inside, *command], capture_output=True, text=True, timeout=seconds, check=False, cwd="/"
        )

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command on the machine."""
        return subprocess.Popen([*self.inside, *command], stdin=subprocess.DEVNULL, cwd="/")

    def close(self) -> None:
        """Remove the namespaces."""
        self._keeper.kill()
        self._keeper.wait()
        if self._keeper.stdout:
            self._keeper.stdout.close()


@contextlib.contextmanager
def running(server: FingerServer) -> Iterator[FingerServer]:
    """Serve in a thread."""
    thread = threading.Thread(target=server.serve_forever)
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(TIMEOUT)
            assert not thread.is_alive()


def with_address(config: str) -> str:
    """The configuration, on a free port of loopback if it names no address for Finger."""
    return config if re.search(r"^\{?listen:", config, re.MULTILINE) else f'listen: "127.0.0.1:0"\n{config}'


@contextlib.contextmanager
def serving(config: str, **replaced: object) -> Iterator[FingerServer]:
    """A server in a thread of this process, on a free port of loopback; ``replaced`` sets its attributes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fingerd.yaml")
        path.write_text(with_address(config))
        server = FingerServer(load_config(str(path)))
    for name, value in replaced.items():
        setattr(server, name, value)
    with running(server):
        yield server
    server.close_backends()


def descriptors(pid: int) -> int:
    """The number of descriptors that the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def status(pid: int, field: str) -> list[str]:
    """The values of a field of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, values = line.partition(":")
        if name == field:
            return values.split()
    raise LookupError(field)
