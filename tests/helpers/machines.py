"""A host with its own accounts and sessions: real ones, made by useradd and login(1), in namespaces."""

import contextlib
import os
import pwd
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from bench.namespaces import HOST_SETUP
from bench.peers import CACHE, UnavailableError, debian
from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.requirements import need

# A host in namespaces: overlays of the machine's /etc and /var, and a /home and a network of its own.
SETUP = f"""{HOST_SETUP}
mount -t tmpfs -o mode=755 tmpfs /home
: > /run/utmp; : > /var/log/lastlog; : > /var/log/wtmp
ip link set lo up
echo ready
exec sleep 600
"""

# Runs login(1) on a new terminal, prints its name, and closes it at the end of standard input.
LOGIN = """
import fcntl, os, pty, select, struct, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("login", ["login", "-p", *sys.argv[1:]])
number, = struct.unpack("i", fcntl.ioctl(terminal, 0x80045430, b"    "))  # TIOCGPTN
print(f"pts/{number}", flush=True)
while 0 not in select.select([0, terminal], [], [])[0]:
    os.read(terminal, 4096)
os.close(terminal)
os.waitpid(pid, 0)
"""


class AccountsHost:
    """A host with accounts, in a mount and a network namespace. Tests are skipped where these cannot be made."""

    def __init__(self, directory: Path) -> None:
        need("root", "namespaces", "ip")
        directory.mkdir(exist_ok=True)
        self._sessions: list[subprocess.Popen[str]] = []
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "--", "sh", "-c", SETUP.format(directory=directory)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert self._keeper.stdout
            assert self._keeper.stdout.readline() == "ready\n"
        except BaseException:
            self.close()
            raise
        self.inside = ("nsenter", f"--target={self._keeper.pid}", "--net", "--mount", "--")
        self.root = Path(f"/proc/{self._keeper.pid}/root")  # its file system, seen from outside

    def run(self, *command: str, check: bool = True) -> str:
        """The output of a command on the host; raises AssertionError if it fails."""
        done = subprocess.run(
            [*self.inside, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
            cwd="/",
        )
        assert not check or done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def add(self, login: str, gecos: str = "", *options: str) -> Path:
        """Add an account with a home of mode 0755; returns the home, seen from outside."""
        self.run("useradd", "--create-home", "--key", "HOME_MODE=0755", "--comment", gecos, *options, login)
        return self.path(f"/home/{login}")

    def path(self, path: str) -> Path:
        """A path of the host, seen from outside."""
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str | bytes, owner: str = "root", mode: int = 0o644) -> Path:
        """Write a file on the host and make its directories."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
        self.run("chown", owner, path)
        return file

    def uid(self, login: str) -> int:
        """The uid of an account."""
        return int(self.run("id", "-u", login))

    def login(self, login: str, client: str = "") -> "Login":
        """Log in on a new terminal, from the host ``client`` if given."""
        options = [*(("-h", client) if client else ()), "-f", login]
        session = subprocess.Popen(
            [*self.inside, sys.executable, "-c", LOGIN, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        self._sessions.append(session)
        assert session.stdout
        login_session = Login(session, session.stdout.readline().strip())
        wait_until(lambda: login_session.terminal in self.run("who"))
        return login_session

    def backdate_logins(self, seconds: float) -> None:
        """Make all records of utmp so much older."""

        def earlier(match: re.Match[str]) -> str:
            when = datetime.fromisoformat(match[1]) - timedelta(seconds=seconds)
            return f"[{when.isoformat(timespec='microseconds').replace('.', ',')}]"

        records = self.run("utmpdump", "/run/utmp").splitlines()[1:]
        self.write_utmp(*(re.sub(r"\[([^][]*)\]$", earlier, record) for record in records))

    def write_utmp(self, *records: str) -> None:
        """Replace utmp; ``records`` are in the format of utmpdump(1)."""
        done = subprocess.run(
            ["utmpdump", "-r"],
            input="".join(f"{record}\n" for record in records).encode(),
            check=True,
            capture_output=True,
        )
        self.write("/run/utmp", done.stdout)

    def in_fingerd(self, query: bytes) -> str:
        """The answer of Debian's finger daemon on the host; raises UnavailableError if it is not available."""
        debian()
        directory = CACHE / "peers" / "debian"
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [str(directory / "usr/sbin/in.fingerd"), "-p", str(directory / "usr/bin/finger")]
            with subprocess.Popen(
                [*self.inside, *command], stdin=theirs.fileno(), stdout=theirs.fileno(), cwd="/"
            ) as process:
                theirs.close()
                ours.settimeout(TIMEOUT)
                ours.sendall(query)
                answer = b"".join(iter(lambda: ours.recv(65536), b""))
                process.wait(TIMEOUT)
        return answer.decode(errors="replace")

    def close(self) -> None:
        """Close all sessions and stop the host."""
        for session in self._sessions:
            Login(session, "").hang_up()
        self._keeper.kill()
        self._keeper.wait()
        if self._keeper.stdout:
            self._keeper.stdout.close()


class Login:
    """An open login session."""

    def __init__(self, process: "subprocess.Popen[str]", terminal: str) -> None:
        self._process = process
        self.terminal = terminal

    def hang_up(self) -> None:
        """Close the terminal; init would record that in utmp."""
        self._process.communicate(timeout=TIMEOUT)


@contextlib.contextmanager
def becoming(login: str) -> Iterator[None]:
    """Use the file permissions of another user in this process; needs root."""
    account = pwd.getpwnam(login)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


__all__ = ["AccountsHost", "Login", "UnavailableError", "becoming"]
