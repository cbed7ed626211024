"""``fingerd-plan serve`` as a process, with people in a directory, and what asks it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import Daemon
from tests.helpers.http import Response, parse, send
from tests.plans.conftest import Run

ORIGIN = "https://plans.example.org"
NEW = "new\n"


class PlanServer(Daemon):
    """A process that serves changes of plans."""

    command: tuple[str, ...] = (sys.executable, "-m", "fingerd.plans")
    number = 0  # of the client

    @property
    def source(self) -> str:
        """The address of the client."""
        return f"127.1.{self.number >> 8}.{self.number & 255}" if self.number else ""

    def request(
        self, method: str, target: str, body: bytes | str = b"", token: str = "", source: str = "", **fields: str
    ) -> Response:
        """Its response to a request, which has a body if its method is PUT or POST."""
        body = body.encode() if isinstance(body, str) else body
        lines = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in fields.items()}}
        if method in ("PUT", "POST"):
            lines.setdefault("Content-Length", str(len(body)))
        if method == "POST":
            lines.setdefault("Content-Type", "application/x-www-form-urlencoded")
        if token:
            lines["Authorization"] = f"Bearer {token}"
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        sent = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
        return parse(send(self.address, sent, source=source or self.source), method)

    def put(self, name: str, text: bytes | str, token: str = "", **fields: str) -> Response:
        """Its response where this text is to be the plan."""
        return self.request("PUT", f"/~{name}/plan", text, token, **fields)


StartPlans = Callable[..., PlanServer]


@pytest.fixture(scope="package")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the people, the configuration and the tokens, for all tests."""
    return tmp_path_factory.mktemp("plans")


@pytest.fixture
def people(base: Path) -> Path:
    """A directory with zoe, who has a directory of her own, and quill, who is one file. Nobody has a token."""
    people = base / "people"
    for path in base.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (people / "zoe").mkdir(parents=True)
    (people / "zoe" / "plan").write_text("old\n")
    (people / "quill.txt").write_text("a quill\n")
    configure(base)
    return people


@pytest.fixture
def config(people: Path) -> Path:
    """The configuration with these people."""
    return people.parent / "fingerd.yaml"


def configure(base: Path, options: str = "", rest: str = "", listen: str = '"127.0.0.1:0"') -> Path:
    """The configuration with these options of ``plan``."""
    text = f"backend: {{type: files, folder: {base / 'people'}, file_bytes: 4KiB}}\n{rest}"
    plan = f"plan: {{listen: {listen}, tokens: {base / 'tokens'}{options and ', '}{options}}}\n"
    config = base / "fingerd.yaml"
    config.write_text(f'listen: "127.0.0.1:0"\n{text}{plan}')
    return config


def stop(server: PlanServer) -> None:
    """Stop the server, which has logged no bug."""
    assert server.stop() == 0
    assert not [line for line in server.log if "Traceback" in line or "internal error" in line]


@pytest.fixture
def start(people: Path) -> Iterator[StartPlans]:
    """Starts servers with these options of ``plan``, and stops them after the test."""
    servers: list[PlanServer] = []

    def start(options: str = "", rest: str = "", listen: str = '"127.0.0.1:0"') -> PlanServer:
        servers.append(PlanServer(configure(people.parent, options, rest, listen), "serve"))
        return servers[-1]

    yield start
    for server in servers:
        stop(server)


@pytest.fixture(scope="package")
def shared(base: Path) -> Iterator[PlanServer]:
    """A server for many tests."""
    (base / "people").mkdir(exist_ok=True)
    server = PlanServer(configure(base), "serve")
    yield server
    stop(server)


@pytest.fixture
def server(shared: PlanServer, people: Path) -> PlanServer:
    """A server, whose people are zoe and quill, and which has not seen this client before."""
    shared.number += 1
    return shared


@pytest.fixture
def token(server: PlanServer, run: Run) -> str:
    """A token of zoe's."""
    return new_token(run, "zoe")


def new_token(run: Run, name: str, label: str = "laptop") -> str:
    """A token as the command prints it."""
    done = run("token", "add", name, label)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().removesuffix("\n")
