"""A pgbouncer for tests, in transaction mode: all its clients share one connection to a PostgreSQL server."""

import os
import pwd
import socket
import subprocess
from pathlib import Path

from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.ports import free_port
from tests.helpers.postgresql import PASSWORD, Postgresql
from tests.helpers.requirements import find

CONFIG = """[databases]
* = host=127.0.0.1 port={server} user=postgres password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
logfile = {log}
"""


class Pgbouncer:
    """A running pgbouncer in front of the server, in a directory that its user may read."""

    def __init__(self, server: Postgresql) -> None:
        self.port = free_port()
        config, log = (server.directory / f"pgbouncer-{self.port}.{kind}" for kind in ("ini", "log"))
        config.write_text(CONFIG.format(server=server.port, password=PASSWORD, port=self.port, log=log))
        user = pwd.getpwuid(server.directory.stat().st_uid).pw_name if os.getuid() == 0 else None  # it refuses root
        program = Path(find("pgbouncer") or "/pgbouncer")
        self._process = subprocess.Popen(
            [program, "-q", config], user=user, group=user and pwd.getpwnam(user).pw_gid, cwd=server.directory
        )
        try:
            wait_until(self._accepts)
        except BaseException:
            self.close()
            raise

    def _accepts(self) -> bool:
        assert self._process.poll() is None, "pgbouncer has exited"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def url(self, database: str = "postgres") -> str:
        """The URL of a database behind it."""
        return f"postgresql://anybody@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(TIMEOUT)
