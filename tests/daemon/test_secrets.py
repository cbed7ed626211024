"""No value of an option that may hold a secret is printed or logged: not by --check, at start, or at a reload."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import FINGERD, TIMEOUT

STATIC = 'listen: "127.0.0.1:0"\nbackend: {type: static, users: {alice: first}}\n'

# A backend of another package, whose errors show what they should not.
LEAKY = """
from dataclasses import dataclass, field
from typing import Annotated
from collections.abc import Mapping
from fingerd.backends import Backend, OptionError

def refuse(scalar):
    raise ValueError(f"{scalar.text!r} is not a number")

@dataclass(frozen=True)
class Leaky(Backend):
    site: str = field(default="", repr=False)
    api_token: str = ""
    option: str = ""
    bug: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    pin: Annotated[str, refuse] = field(default="", repr=False)

    def __post_init__(self):
        if self.bug:
            try:
                int(self.bug)
            except ValueError as error:
                raise KeyError(self.bug) from error
        for name, value in self.headers.items():
            raise OptionError(f"{name}: {value} is not a header", "headers", name)
        if self.site.startswith("http"):
            raise ValueError(f"no host {self.site} ({self.site[7:].split('@')[0]})")
        if self.site:
            raise OptionError(f"no site {self.site}", "site")
        if self.api_token:
            raise OptionError(f"no token {self.api_token}", "api_token")

    def find(self, lookup):
        return ()
"""

# Each has the secret s3cr3t or 8317265 in an option that may hold one, and something that is wrong.
COMMAND = "type: command\n  argv: [echo, '{user}']\n  "
WEB = "type: web\n  prefix: http://127.0.0.1/~\n  "
SQL = 'type: sql\n  query: "SELECT :user AS login"\n  '
BROKEN = {
    # what YAML 1.1 reads as something else
    "a number": COMMAND + "env: {TOKEN: 8317265}",
    "a hexadecimal number": COMMAND + "env: {TOKEN: 0x8317265}",
    "an octal number": COMMAND + "env: {TOKEN: 0o8317265}",
    "a number with a fraction": COMMAND + "env: {TOKEN: 8317265.5}",
    "a time of day": COMMAND + "env: {TOKEN: '8317265', B: 8317265:30}",
    "a number in a header": WEB + "headers: {X-Token: 8317265}",
    "a number as a URL": SQL + "url: 8317265",
    "a number as a prefix": "type: web\n  prefix: 8317265",
    "a number in the URLs of LDAP": "type: ldap\n  base: ''\n  url: [8317265]",
    "a key that is a number": COMMAND + "env: {8317265: x}",
    # aliases, anchors, tags
    "an alias": COMMAND + "env: {TOKEN: *s3cr3t}",
    "an anchor twice": COMMAND + "env: {A: &s3cr3t a, B: &s3cr3t b}",
    "an anchor alone": COMMAND + "env: {A: &s3cr3t }",
    "a tag": COMMAND + "env: {TOKEN: !s3cr3t }",
    "a tag before a text": COMMAND + "env: {TOKEN: !s3cr3t s3cr3t}",
    "a tag with a handle": COMMAND + "env: {TOKEN: !s3cr3t!x y}",
    "a long tag": COMMAND + "env: {TOKEN: !<s3cr3t> y}",
    "a tag on a list": WEB + "headers: !s3cr3t [a]",
    "a tag of YAML's": COMMAND + "env: {TOKEN: !!s3cr3t x}",
    "a tag with bad bytes": COMMAND + "env: {TOKEN: !%ff%s3cr3t x}",
    # braces and lists
    "braces": COMMAND + "env: {TOKEN: {s3cr3t}}",
    "braces as a URL": SQL + "url: {s3cr3t}",
    "braces as the option": COMMAND + "env: {s3cr3t}",
    "a variable as in a shell": COMMAND + "env: {TOKEN=s3cr3t}",
    "a variable as in a shell, in a list": COMMAND + "env: [TOKEN=s3cr3t]",
    "a header as in HTTP": WEB + "headers: {'Authorization: s3cr3t'}",
    "a header as in HTTP, with a value": WEB + "headers: {'Authorization: s3cr3t': x}",
    "a text instead of a mapping": WEB + "headers: 'Authorization: s3cr3t'",
    "a list as a text": SQL + "url: [s3cr3t]",
    "a secret as a key, twice": WEB + "headers: {'b s3cr3t': x, 'b s3cr3t': y}",
    "a merge key": COMMAND + "env: {<<: s3cr3t}",
    "a URL as an option": SQL + "'postgresql://u:s3cr3t@h/db': x",
    "a URL without a space": "{type: sql, query: 'SELECT :user AS login', url:postgresql://u:s3cr3t@h/db}",
    "a URL as the backend": "postgresql://u:s3cr3t@h/db",
    "a URL as the type": "type: postgresql://u:s3cr3t@h/db",
    "a command line": "type: command\n  argv: mysql -ps3cr3t",
    # the syntax of YAML
    "no space after a colon": COMMAND + "env:\n    TOKEN:s3cr3t\n    B: b",
    "a colon in a text": COMMAND + "env:\n    TOKEN: a: s3cr3t",
    "no end of a quote": COMMAND + 'env:\n    TOKEN: "s3cr3t',
    "an unknown escape": COMMAND + 'env:\n    TOKEN: "\\s3cr3t"',
    "a sign at the beginning": COMMAND + "env:\n    TOKEN: @s3cr3t",
    "another sign": COMMAND + "env:\n    TOKEN: `s3cr3t",
    "a directive": COMMAND + "env:\n    TOKEN:\n%s3cr3t 1",
    "no end of a list": COMMAND + "env: {TOKEN: [s3cr3t",
    "another end": COMMAND + "env: {TOKEN: s3cr3t]",
    "a text after a quote": COMMAND + "env: {TOKEN: 'a's3cr3t}",
    "a control character": COMMAND + "env: {TOKEN: s3cr3t\x07}",
    "a block without a line": COMMAND + "env:\n    TOKEN: |s3cr3t",
    "a character too large": COMMAND + 'env: {TOKEN: "s3cr3t\\U00110000"}',
    # what a backend refuses
    "a NUL": COMMAND + 'env: {TOKEN: "s3cr3t\\0"}',
    "a header of two lines": WEB + 'headers: {X: "s3cr3t\\nY: z"}',
    "a name that no variable has": COMMAND + "env: {'s3cr3t b': x}",
    "a slash in a password": "type: web\n  prefix: http://u:s3cr3t/x@h/",
    "a hash in a password": "type: web\n  prefix: http://u:s3cr3t#x@h/",
    "a question mark in a password": "type: web\n  url: 'http://u:s3cr3t?x@h/{user}'",
    "a bracket in a password": "type: web\n  url: 'http://u:[s3cr3t]@h/{user}'",
    "a list with another password": WEB + "list_url: http://u:s3cr3t/x@h/",
    "a password of another script": "type: web\n  prefix: http://u:s3cr3t\u2100@h/",
    "a scheme": "type: web\n  prefix: s3cr3t://h/",
    "no scheme": "type: web\n  prefix: u:s3cr3t@h/",
    "a slash in a password for LDAP": "type: ldap\n  base: ''\n  url: ldap://u:s3cr3t/x@h",
    "a password for LDAP": "type: ldap\n  base: ''\n  url: ldap://u:s3cr3t@h",
    "a database": SQL + "url: 's3cr3t'",
    "a database with a port": SQL + "url: postgresql://u:s3cr3t@h:s3cr3t/db",
    "an @ in a password": SQL + "url: postgresql://u:a@s3cr3t@h/db",
    "a charset of a database": SQL + "url: postgresql://h/db?client_encoding=s3cr3t",
    "SQLite with a password": SQL + "url: sqlite://u:s3cr3t@/x",
    # backends of others
    "another package, declared": "type: leaky\n  site: s3cr3t",
    "another package, a URL": "type: leaky\n  site: http://u:s3cr3t@h",
    "another package, by name": "type: leaky\n  api_token: s3cr3t",
    "another package, a header": "type: leaky\n  headers: {X: s3cr3t}",
    "another package, a converter": "type: leaky\n  pin: s3cr3t",
    "a bug of another package": "type: leaky\n  bug: s3cr3t",
    "another package, a number": "type: leaky\n  api_token: 8317265",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment in which the backend of the other package is installed."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "leaky.py").write_text(LEAKY)
    (folder / "leaky-1.dist-info").mkdir()
    (folder / "leaky-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1\n")
    (folder / "leaky-1.dist-info" / "entry_points.txt").write_text("[fingerd.backends]\nleaky = leaky:Leaky\n")
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path}


def write(path: Path, backend: str) -> None:
    path.write_text(f'listen: "127.0.0.1:0"\nbackend:\n  {backend}\n')


def refused(config: Path, environment: Mapping[str, str], *options: str) -> str:
    """What fingerd prints when it refuses the configuration."""
    command = [*FINGERD, "-c", str(config), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment)
    assert done.returncode in (70, 78), done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("backend", BROKEN.values(), ids=BROKEN)
def test_check_prints_no_secret(backend: str, environment: Mapping[str, str], tmp_path: Path) -> None:
    write(tmp_path / "fingerd.yaml", backend)
    printed = refused(tmp_path / "fingerd.yaml", environment, "--check")
    assert f"{tmp_path}/fingerd.yaml:" in printed or "internal error" in printed
    for secret in ("s3cr3t", "8317265", str(0x8317265)):
        assert secret not in printed


@pytest.mark.parametrize("options", [(), ("-n",), ("--query", "alice"), ("--reload", "1")])
def test_a_start_and_other_actions_print_no_secret(
    options: tuple[str, ...], environment: Mapping[str, str], tmp_path: Path
) -> None:
    write(tmp_path / "fingerd.yaml", BROKEN["a bug of another package"])
    printed = refused(tmp_path / "fingerd.yaml", environment, *options)
    assert "internal error" in printed
    assert "s3cr3t" not in printed
    write(tmp_path / "fingerd.yaml", BROKEN["a number"])
    printed = refused(tmp_path / "fingerd.yaml", environment, *options)
    assert "backend.env.TOKEN: YAML reads this as a number" in printed
    assert "8317265" not in printed


def test_a_reload_logs_no_secret(environment: Mapping[str, str], start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    daemon = start(STATIC)
    for backend in BROKEN.values():
        write(daemon.config, backend)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged("internal error while reloading" if "bug:" in backend else "not reloaded: ")
    daemon.stop()
    log = "\n".join(daemon.log)
    assert "s3cr3t" not in log
    assert "8317265" not in log


FAILING = {
    "a web server": "type: web\n  prefix: http://u:s3cr3t@127.0.0.1:1/~\n  headers: {X: s3cr3t}",
    "a web server with a key": "type: web\n  url: 'http://127.0.0.1:1/{user}?key=s3cr3t'",
    "a host that is no name": "type: web\n  url: 'http://u:s3cr3t@a..b/{user}?key=s3cr3t'",
    "a host with a space": "type: web\n  url: 'http://u:s3cr3t@a b/{user}?key=s3cr3t c'",
    "a database": SQL + "url: postgresql://u:s3cr3t@127.0.0.1:1/db",
    "a file of SQLite": SQL + "url: sqlite:////nowhere/db",
    "an LDAP server": "type: ldap\n  base: ''\n  url: ldap://127.0.0.1:1\n  bind_dn: cn=x\n  password_file: {secret}",
    "a program": "type: command\n  argv: [/nowhere/program, '{user}']\n  env: {TOKEN: s3cr3t}",
    "a program that fails": "type: command\n  argv: ['false', '{user}']\n  env: {TOKEN: s3cr3t}",
}


@pytest.mark.parametrize("backend", FAILING.values(), ids=FAILING)
def test_a_failing_backend_logs_no_secret(backend: str, start: Start, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cr3t\n")
    backend = backend.replace("{secret}", str(tmp_path / "secret"))
    daemon = start(f'listen: "127.0.0.1:0"\nbackend:\n  {backend}\n')
    assert daemon.ask(b"alice\r\n") == b"Internal error in server\r\n"
    daemon.logged("outcome=error")
    config = str(daemon.config)
    query = subprocess.run([*FINGERD, "-c", config, "--query", "alice"], capture_output=True, text=True, check=False)
    assert query.stdout == "Internal error in server\n"
    daemon.stop()
    assert "WARNING" in "\n".join(daemon.log)
    assert "s3cr3t" not in "\n".join(daemon.log) + query.stderr
