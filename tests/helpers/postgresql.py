"""A PostgreSQL server of one's own, in a folder, at a unix socket and a port of loopback."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.helpers.daemons import TIMEOUT
from tests.helpers.requirements import find, lacking

PROGRAMS = Path(find("initdb") or "/initdb").resolve().parent
MISSING = lacking("initdb") or "needs the account postgres, as the server refuses root"
PASSWORD = "correct horse"  # of the user postgres


def is_installed() -> bool:
    """Whether there is a server to start, and somebody to start it as."""
    return find("initdb") is not None and (os.getuid() != 0 or _account() is not None)


def _account() -> str | None:
    """The user to start it as where we are root, whom it refuses."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return None


class Postgresql:
    """A server, started; everybody needs a password over TCP and at its socket."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fingerd-pg-"))
        self._user = _account() if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        self.folder.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        try:
            secret = self.folder / "password"
            secret.write_text(PASSWORD)
            self._run(
                *("initdb", "--no-sync", "--auth=scram-sha-256", f"--pwfile={secret}", "--username=postgres"),
                *("--encoding=UTF8", "--locale=C.UTF-8", f"--pgdata={self.folder}/data"),
            )
            self.start()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [PROGRAMS / program, *arguments],
            user=self._user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ("fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1", "max_connections=120")
        self._process = subprocess.Popen(
            [
                *(PROGRAMS / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder),
                *(part for option in options for part in ("-c", option)),
            ],
            user=self._user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ready: list[str | Path] = [PROGRAMS / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)]
        end = time.monotonic() + TIMEOUT
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None, "the server has ended"
            if time.monotonic() > end:
                self.kill()
                raise AssertionError("the server does not answer")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, whatever it is doing, as a crash does."""
        children = self.children()
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(TIMEOUT / 2)
        except subprocess.TimeoutExpired:  # one that has been frozen does not always listen
            for pid in (self._process.pid, *children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(TIMEOUT)

    def freeze(self, frozen: bool) -> None:
        """Have all of its processes stand still, or go on."""
        for pid in (self._process.pid, *self.children()):
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def children(self) -> list[int]:
        """Its processes but for the first one."""
        return [
            int(pid) for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        ]

    def address(self, user: str = "postgres", password: str = PASSWORD, database: str = "postgres") -> str:
        """What SQLAlchemy calls a database of it, asked over TCP."""
        secret = f":{password.replace(' ', '%20')}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def run(self, statements: str, database: str = "postgres") -> str:
        """What psql prints for these statements."""
        done = subprocess.run(
            [
                *(PROGRAMS / "psql", "-h", self.folder, "-p", str(self.port), "-U", "postgres", "-d", database),
                *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
            ],
            input=statements,
            env={"PGPASSWORD": PASSWORD, "PGCLIENTENCODING": "UTF8"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        """End it, and remove the folder."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)
