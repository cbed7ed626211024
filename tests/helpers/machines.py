"""A host with accounts of its own: real ones, made with useradd, and real sessions, made by login(1)."""

import contextlib
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.peers import CACHE, NotHereError, debian
from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.requirements import need

# Its own /etc and /var over those of the machine, its own /home, /run and terminals, and no network.
SETUP = """
set -e
mount -t tmpfs tmpfs {folder}
for name in etc var; do
    mkdir {folder}/$name {folder}/work-$name
    mount -t overlay -o lowerdir=/$name,upperdir={folder}/$name,workdir={folder}/work-$name overlay /$name
done
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=755 tmpfs /run
mount -t devpts -o newinstance,ptmxmode=0666,mode=600 devpts /dev/pts
mkdir -p /var/mail
: > /run/utmp; : > /var/log/lastlog; : > /var/log/wtmp
ip link set lo up
echo ready
exec sleep 600
"""

# Runs login(1) on a terminal, says which one, and hangs up when its own input ends.
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
    """Namespaces of the test's own. The test is skipped where namespaces or ip(8) are missing."""

    def __init__(self, folder: Path) -> None:
        need("root", "namespaces", "ip")
        folder.mkdir(exist_ok=True)
        self._sessions: list[subprocess.Popen[str]] = []
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "--", "sh", "-c", SETUP.format(folder=folder)],
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
        self.root = Path(f"/proc/{self._keeper.pid}/root")  # its files, as they are seen from here

    def run(self, *command: str, check: bool = True) -> str:
        """What a command there says; AssertionError where it fails."""
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
        """Make an account with a home of mode 0755; its home, as it is seen from here."""
        self.run("useradd", "--create-home", "--key", "HOME_MODE=0755", "--comment", gecos, *options, login)
        return self.path(f"/home/{login}")

    def path(self, path: str) -> Path:
        """Where a file of the host is seen from here."""
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str | bytes, owner: str = "root", mode: int = 0o644) -> Path:
        """Write a file there, with its folders."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
        self.run("chown", owner, path)
        return file

    def uid(self, login: str) -> int:
        """The number of an account there."""
        return int(self.run("id", "-u", login))

    def login(self, login: str, client: str = "") -> "Login":
        """Log somebody in on a new terminal; where they come from is ``client``."""
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
        made = Login(session, session.stdout.readline().strip())
        wait_until(lambda: made.terminal in self.run("who"))
        return made

    def write_utmp(self, *records: str) -> None:
        """Make the file anew with the tool of util-linux; a record is what utmpdump(1) prints, brackets and all."""
        done = subprocess.run(
            ["utmpdump", "-r"],
            input="".join(f"{record}\n" for record in records).encode(),
            check=True,
            capture_output=True,
        )
        self.write("/run/utmp", done.stdout)

    def in_fingerd(self, query: bytes) -> str:
        """What Debian's own finger daemon answers there; NotHereError where it cannot be had."""
        debian()
        folder = CACHE / "peers" / "debian"
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [str(folder / "usr/sbin/in.fingerd"), "-p", str(folder / "usr/bin/finger")]
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
        """End it, and all who are logged in."""
        for session in self._sessions:
            Login(session, "").hang_up()
        self._keeper.kill()
        self._keeper.wait()
        if self._keeper.stdout:
            self._keeper.stdout.close()


class Login:
    """Somebody who is logged in."""

    def __init__(self, process: "subprocess.Popen[str]", terminal: str) -> None:
        self._process = process
        self.terminal = terminal

    def hang_up(self) -> None:
        """End it, as when a terminal is closed; what says so in utmp would be init."""
        self._process.communicate(timeout=TIMEOUT)


@contextlib.contextmanager
def becoming(login: str) -> Iterator[None]:
    """Have the rights of another user to files, in this thread; for who is root."""
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


__all__ = ["AccountsHost", "Login", "NotHereError", "becoming"]
