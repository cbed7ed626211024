"""A PostgreSQL server for tests, with a data directory, a unix socket and a loopback port of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.helpers.daemons import TIMEOUT
from tests.helpers.ports import free_port
from tests.helpers.requirements import find, lacking

PROGRAMS = Path(find("initdb") or "/initdb").resolve().parent
MISSING = lacking("initdb") or "needs the account postgres, as the server refuses root"
PASSWORD = "correct horse"  # of the user postgres


def is_installed() -> bool:
    """Whether the server is installed, and a user that may run it exists."""
    return find("initdb") is not None and (os.getuid() != 0 or _account() is not None)


def _account() -> str | None:
    """The user that runs the server if this process is root: the server refuses to run as root."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return None


class Postgresql:
    """A running server; TCP and socket connections need a password."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fingerd-pg-"))
        self._user = _account() if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self.directory, self._user)
        self.directory.chmod(0o755)
        self.port = free_port()
        try:
            secret = self.directory / "password"
            secret.write_text(PASSWORD)
            self._run(
                *("initdb", "--no-sync", "--auth=scram-sha-256", f"--pwfile={secret}", "--username=postgres"),
                *("--encoding=UTF8", "--locale=C.UTF-8", f"--pgdata={self.directory}/data"),
            )
            self.start()
        except BaseException:
            shutil.rmtree(self.directory)
            raise

    def _run(self, program: str, *arguments: str) -> None:
        result = subprocess.run(
            [PROGRAMS / program, *arguments],
            user=self._user,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        options = ("fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1", "max_connections=120")
        self._process = subprocess.Popen(
            [
                *(PROGRAMS / "postgres", "-D", self.directory / "data", "-p", str(self.port), "-k", self.directory),
                *(part for option in options for part in ("-c", option)),
            ],
            user=self._user,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ready: list[str | Path] = [PROGRAMS / "pg_isready", "-q", "-h", self.directory, "-p", str(self.port)]
        end = time.monotonic() + TIMEOUT
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None, "the server has exited"
            if time.monotonic() > end:
                self.kill()
                raise AssertionError("the server does not accept connections")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server immediately, as a crash would."""
        children = self.children()
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(TIMEOUT / 2)
        except subprocess.TimeoutExpired:  # a server that was frozen may ignore SIGQUIT
            for pid in (self._process.pid, *children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(TIMEOUT)

    def freeze(self, frozen: bool) -> None:
        """Stop or continue all processes of the server."""
        for pid in (self._process.pid, *self.children()):
            with contextlib.suppress(ProcessLookupError):  # it has exited meanwhile
                os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def children(self) -> list[int]:
        """The child processes of the server."""
        return [
            int(pid) for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        ]

    def url(self, user: str = "postgres", password: str = PASSWORD, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database, over TCP."""
        secret = f":{password.replace(' ', '%20')}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def run(self, statements: str, database: str = "postgres") -> str:
        """The output of psql for these statements."""
        result = subprocess.run(
            [
                *(PROGRAMS / "psql", "-h", self.directory, "-p", str(self.port), "-U", "postgres", "-d", database),
                *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
            ],
            input=statements,
            env={"PGPASSWORD": PASSWORD, "PGCLIENTENCODING": "UTF8"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def close(self) -> None:
        """End the server, and remove its directory."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory)
