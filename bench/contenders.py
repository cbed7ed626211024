"""The servers that can be measured: how each is started and queried, and how many queries a run sends to it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import peers
from bench.peers import CACHE, ROOT, UnavailableError

LIMIT, OURS, NO_LOG, POOL, SHARED = "limit", "ours", "ours without log", "ours through the pool", "two of ours"
CACHED = "ours from the cache"
TWISTED, PYFINGERD, DEBIAN = "Twisted", "pyfingerd", "Debian's"

# Queries of a run, by number of clients. TIME_WAIT must have room for all of their connections.
FAST = {1: 8_000, 50: 30_000, 1_000: 30_000}
MEDIUM = {1: 3_000, 50: 12_000, 1_000: 6_000}
SLOW = {1: 200, 50: 500, 1_000: 1_500}

SHIPPED = "limits: {{per_client: 2000}}\nlog: {{to: '{log}'}}\n"  # the load comes from 200 addresses
# The header differs from client to client, so that no answer is remembered.
NOT_REMEMBERED = "reply: {{header: '{{client}}'}}\n"
WITHOUT_LOG = "limits: {{per_client: 2000}}\nlog: {{to: '{log}', level: warning}}\n"
WITH_IDLE = "limits: {{connections: 12000, per_client: 20000, read_seconds: 5m}}\nlog: {{to: '{log}'}}\n"

STATIC = "{type: static, users: {alice: Happy and well}}"
BLOCKING = '''\
"""``type: blocking``: the answers of ``static``, given by a worker thread each time."""
from fingerd.backends.static import Static


class Blocking(Static):
    """Users in the configuration."""

    blocking = True
    repeatable_seconds = 0.0
    instant = constant = False  # the same in older checkouts, with which this one may be compared
'''
SCENARIO = """\
[["0s"]]
type = "create"
login = "alice"
name = "Happy and well"
home = "/home/alice"
shell = "/bin/sh"
"""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that can be started; ``command`` is the command line for a port."""

    name: str
    command: Callable[[int], Sequence[str]]
    queries: dict[int, int]
    version: str = ""
    query: str = "alice"
    expect: str = "Happy and well"
    names: int = 0  # "%d" in the query is replaced by 0 to names - 1 in turn
    path: Path | None = None  # a directory for PYTHONPATH
    checkout: Path = ROOT  # the working directory, where Python finds fingerd first
    forks: bool = False  # a process for each query, whose CPU time its parent counts
    processes: int = 1  # several share a listening socket


def limit() -> Contender:
    program = str(peers.compiled("limit"))
    return Contender(LIMIT, lambda port: (program, str(port)), FAST)


def ours(
    name: str,
    more: str,
    backend: str = STATIC,
    path: Path | None = None,
    processes: int = 1,
    listen: str = "127.0.0.1:{port}",
) -> Contender:
    """fingerd, run by this Python, with an access log; ``more`` is the rest of its configuration."""

    def command(port: int) -> Sequence[str]:
        base = run_directory() / name.replace(" ", "-")
        base.with_suffix(".log").unlink(missing_ok=True)
        address = listen.format(port=port) if processes == 1 else "systemd"
        quoted = address if address.startswith("{") else f'"{address}"'
        base.with_suffix(".yaml").write_text(
            f"listen: {quoted}\nbackend: {backend}\n" + more.format(log=base.with_suffix(".log"), port=port)
        )
        return sys.executable, "-m", "fingerd", "-n", "-c", str(base.with_suffix(".yaml"))

    return Contender(name, command, FAST, path=path, processes=processes, version=peers.our_version())


def pool(name: str = POOL, backend: str = "{}") -> Contender:
    """fingerd with a blocking backend that never waits: what a query costs that passes through the worker pool."""
    directory = install_backend("blocking", "fingerd_blocking:Blocking")
    (directory / "fingerd_blocking.py").write_text(BLOCKING)
    return ours(name, SHIPPED, backend.format(STATIC.replace("static", "blocking")), directory)


def cached() -> Contender:
    """fingerd with the same backend behind ``cache``, which has the answer after the first query."""
    return pool(CACHED, "{{type: cache, backend: {}}}")


def install_backend(name: str, target: str) -> Path:
    """Make a distribution that provides the backend ``name``; returns the directory for PYTHONPATH."""
    directory = CACHE / name
    info = directory / f"fingerd_{name}-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fingerd-{name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[fingerd.backends]\n{name} = {target}\n")
    return directory


def twisted() -> Contender:
    python, version = peers.twisted()
    script = str(peers.SOURCE / "twisted_server.py")
    return Contender(TWISTED, lambda port: (str(python), script, str(port)), FAST, version)


def pyfingerd() -> Contender:
    python, version = peers.pyfingerd()
    scenario = run_directory() / "scenario.toml"
    scenario.write_text(SCENARIO)
    options = ("-m", "pyfingerd", "-t", "scenario", "-s", str(scenario), "-b")  # logs every query, as ours does
    return Contender(PYFINGERD, lambda port: (str(python), *options, f"127.0.0.1:{port}"), MEDIUM, version)


def debian() -> Contender:
    command, version = peers.debian()
    placeholder = "{port}"
    return Contender(
        DEBIAN,
        lambda port: [part.replace(placeholder, str(port)) for part in command],
        SLOW,
        version,
        query="root",
        expect="Login: root",
        forks=True,
    )


def all_contenders(shared_socket: bool, only: Sequence[str] = ()) -> tuple[list[Contender], list[str]]:
    """The servers that are available here, and a message for each that is not."""
    makers: dict[str, Callable[[], Contender]] = {
        LIMIT: limit,
        OURS: lambda: ours(OURS, SHIPPED),
        NO_LOG: lambda: ours(NO_LOG, WITHOUT_LOG),
        POOL: pool,
        CACHED: cached,
        TWISTED: twisted,
        PYFINGERD: pyfingerd,
        DEBIAN: debian,
    }
    if shared_socket:
        makers[SHARED] = lambda: ours(SHARED, SHIPPED, processes=2)
    return available({name: make for name, make in makers.items() if not only or name in only})


def available(makers: Mapping[str, Callable[[], T]]) -> tuple[list[T], list[str]]:
    """What the functions return, and a message for each that raises UnavailableError."""
    made: list[T] = []
    missing: list[str] = []
    for name, make in makers.items():
        try:
            made.append(make())
        except UnavailableError as error:
            missing.append(f"{name} is left out: {error}")
    return made, missing


def run_directory() -> Path:
    """The directory of configurations and logs of running servers."""
    directory = CACHE / "run"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
