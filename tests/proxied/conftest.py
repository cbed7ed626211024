"""fingerd behind a balancer, which is whoever connects from 127.0.0.1."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Start
from tests.helpers.daemons import Daemon, ask

PROXIED = 'listen: {address: "127.0.0.1:0", proxies: [127.0.0.1]}\n'
STATIC = "backend: {type: static, users: {zoe: {name: Zoe Quill, plan: Reading}}}\n"

Behind = Callable[..., Daemon]


@pytest.fixture
def behind(start: Start) -> Iterator[Behind]:
    """Starts daemons that expect a header; none has logged a traceback or an internal error at the end of the test."""
    daemons: list[Daemon] = []

    def behind(config: str = "", listen: str = PROXIED, backend: str = STATIC) -> Daemon:
        daemons.append(start(listen + backend + config))
        return daemons[-1]

    yield behind
    for daemon in daemons:
        assert daemon.stop() == 0
        assert not [line for line in daemon.log if "Traceback" in line or "internal error" in line]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for tests that leave it as it is. It answers with the client's address before the rest."""
    path = tmp_path_factory.mktemp("shared") / "fingerd.yaml"
    path.write_text(f"{PROXIED}{STATIC}reply: {{header: 'for {{client}}'}}\n")
    daemon = Daemon(path)
    yield daemon
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line or "internal error" in line]


def exchange(daemon: Daemon, sent: bytes, hang_up: bool = False, source: str = "") -> bytes:
    """What a connection gets; nothing where it is reset."""
    try:
        return ask(daemon.address, sent, hang_up, source)
    except (ConnectionResetError, BrokenPipeError):
        return b""


def fields(line: str) -> dict[str, str]:
    """The fields of an access line."""
    found = re.fullmatch(
        r'(?:\S+ )?client=(?P<client>\S+) query=(?P<query>".*") outcome=(?P<outcome>\S+) bytes=\d+ ms=[\d.]+'
        r"(?: via=(?P<via>\S+))?",
        line,
    )
    assert found, line
    return {name: value or "" for name, value in found.groupdict().items()}


def outcome_of(daemon: Daemon) -> tuple[str, str, str]:
    """Client, outcome and balancer of the next connection in the log."""
    found = fields(daemon.logged("client="))
    return found["client"], found["outcome"], found["via"]
