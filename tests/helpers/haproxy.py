"""HAProxy as a balancer, in the foreground."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.requirements import find, need

_CONFIG = """
global
    maxconn 1000
    stats socket {folder}/stats
defaults
    mode tcp
    timeout connect 10s
    timeout client 30s
    timeout server 30s
{options}
listen finger
    bind 127.0.0.1:{port}
{servers}
"""


@contextlib.contextmanager
def haproxy(folder: Path, port: int, servers: Sequence[str], *options: str) -> Iterator[None]:
    """Pass connections to this port of 127.0.0.1 on to servers, each an address and the options of HAProxy's server."""
    need("haproxy")
    folder.mkdir()
    program = find("haproxy")
    assert program
    config = folder / "haproxy.cfg"
    lines = "\n".join(f"    server server{number} {server}" for number, server in enumerate(servers))
    others = "\n".join(f"    {option}" for option in options)
    config.write_text(_CONFIG.format(folder=folder, port=port, servers=lines, options=others))
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen([program, "-db", "-f", str(config)], stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(lambda: _listens(folder) or process.poll() is not None)
            assert process.poll() is None, (folder / "log").read_text()
            yield
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def _listens(folder: Path) -> bool:
    """Whether HAProxy has bound all of its sockets."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(folder / "stats")) == 0
