"""Two daemons behind HAProxy, with the people of a PostgreSQL server, by the recipes of examples/fleet/."""

import contextlib
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.helpers.certificates import Authority
from tests.helpers.daemons import EXAMPLES, Daemon, ask, let_everybody_in, wait_until
from tests.helpers.fronts import haproxy, recipe, server_state
from tests.helpers.ports import free_port
from tests.helpers.postgresql import MISSING, Postgresql, is_installed
from tests.helpers.requirements import need

MEMBERS, MEMBER, STRANGER, BANNED = "127.9.1.0/24", "127.9.1.7", "127.9.2.9", "127.9.3.66"
PASSWORD = "an example"
NAMES = ("one", "two")


class Fleet:
    """The whole of docs/fleet.md on loopback. Clients have addresses in 127.0.0.0/8, the balancer 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        let_everybody_in(folder)
        self.authority = Authority(folder / "authority")
        self.database = Postgresql()
        self.ports = {name: free_port() for name in NAMES}
        self.daemons: dict[str, Daemon] = {}
        self.ended: list[Daemon] = []
        self._stack = contextlib.ExitStack()
        try:
            self._create_people()
            for name in NAMES:
                self.start(name)
            self.port, self.stats = self._stack.enter_context(self.balancer("balancer"))
        except BaseException:
            self.close()
            raise

    def _create_people(self) -> None:
        """As the database of the recipes: with TLS, a password, and examples/postgresql.sql."""
        server = self.database.directory / "server.pem"
        shutil.copy(self.authority.issue("DNS:localhost"), server)
        server.chmod(0o600)
        shutil.chown(server, self.database.directory.stat().st_uid)
        for setting in (f"ssl_cert_file = '{server}'", f"ssl_key_file = '{server}'", "ssl = on"):
            self.database.run(f"ALTER SYSTEM SET {setting}")
        self.database.run("SELECT pg_reload_conf(); CREATE DATABASE people")
        self.database.run((EXAMPLES / "postgresql.sql").read_text(), "people")
        self.database.run(f"ALTER ROLE fingerd PASSWORD '{PASSWORD}'")
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "password").chmod(0o600)

    def start(self, name: str) -> Daemon:
        """Start the daemon of this name, at its port."""
        replaced = {
            '":79"': f'"127.0.0.1:{self.ports[name]}"',
            "[192.0.2.1, 192.0.2.2]": "[127.0.0.1]",
            "@db.example.org/": f"@localhost:{self.database.port}/",
            "/etc/ssl/certs/ca-certificates.crt": str(self.authority.ca),
            "/etc/fingerd/password": str(self.folder / "password"),
            "203.0.113.66": BANNED,
            "198.51.100.0/24": MEMBERS,
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(recipe("fingerd.yaml", replaced))
        self.daemons[name] = Daemon(path)
        return self.daemons[name]

    @contextlib.contextmanager
    def balancer(
        self, name: str, replaced: Mapping[str, str] | None = None, *options: str
    ) -> Iterator[tuple[int, Path]]:
        """A HAProxy in front of both: its port, and the path of its ``stats socket``.

        Its checks count as queries of 127.0.0.1, so it is ended with the test that wants it.
        """
        port, stats = free_port(), self.folder / name / "admin.sock"
        given = {
            "bind :79": f"bind 127.0.0.1:{port}",
            "bind :::79": f"bind ::1:{port}",
            "192.0.2.11:79": f"127.0.0.1:{self.ports['one']}",
            "192.0.2.12:79": f"127.0.0.1:{self.ports['two']}",
            "/run/haproxy/admin.sock": str(stats),
        }
        config = recipe("haproxy.cfg", {**given, **(replaced or {})})
        front = haproxy(self.folder / name, config, port, *options)
        try:
            wait_until(lambda: all(self.is_up(each, stats) for each in NAMES))
            yield port, stats
        finally:
            front.close()

    def is_up(self, name: str, stats: Path | None = None) -> bool:
        """Whether a balancer, by default the first, has had a good answer of this daemon since it was last down."""
        return server_state(stats or self.stats, name) == ("UP", "L7OK")

    def is_down(self, name: str) -> bool:
        """Whether the balancer lets it have no clients; between the two, a check has failed."""
        return server_state(self.stats, name)[0].startswith("DOWN")

    def ask(self, query: bytes, source: str, port: int = 0) -> bytes:
        """The answer that a client at this address gets through the balancer."""
        return ask(("127.0.0.1", port or self.port), query, source=source)

    def lines(self, source: str, number: int) -> list[str]:
        """What the daemons have logged of a client: wait for so many lines, and return all."""

        def logged() -> list[str]:
            daemons = (*self.ended, *self.daemons.values())
            return [line for each in daemons for line in each.logged_so_far() if f"client={source} " in line]

        wait_until(lambda: len(logged()) >= number)
        return logged()

    def stop(self, name: str, number: int = signal.SIGTERM) -> Daemon:
        """Stop a daemon by this signal: its log is complete afterwards."""
        daemon = self.daemons.pop(name)
        daemon.stop(number)
        self.ended.append(daemon)
        return daemon

    def restart(self, name: str) -> None:
        """Start it again, and wait until the balancer asks it again."""
        self.start(name)
        wait_until(lambda: self.is_up(name))

    def close(self) -> None:
        """End all of it; no daemon has logged a bug."""
        self._stack.close()
        for name in list(self.daemons):
            self.stop(name)
        self.database.close()
        assert not [line for daemon in self.ended for line in daemon.log if "Traceback" in line]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    need("haproxy", "openssl")
    if not is_installed():
        pytest.skip(MISSING)
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    yield fleet
    fleet.close()
