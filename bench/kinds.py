"""The servers that can be measured: how each is started and asked, and how many queries a run of it takes."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.peers import CACHE, NotHereError

LIMIT, OURS, NO_LOG, CREW, SHARED = "limit", "ours", "ours without log", "ours through the crew", "two of ours"
CACHED = "ours from the cache"
TWISTED, PYFINGERD, DEBIAN = "Twisted", "pyfingerd", "Debian's"

# Queries of a run, by clients; each has to stay well under what TIME_WAIT holds.
FAST = {1: 8_000, 50: 30_000, 1_000: 30_000}
MEDIUM = {1: 3_000, 50: 12_000, 1_000: 6_000}
SLOW = {1: 200, 50: 500, 1_000: 1_500}

SHIPPED = "limits: {{per_client: 2000}}\nlog: {{to: '{log}'}}\n"  # the load comes from 200 addresses
WITHOUT_LOG = "limits: {{per_client: 2000}}\nlog: {{to: '{log}', level: warning}}\n"
WITH_IDLE = "limits: {{connections: 12000, per_client: 20000, read_seconds: 5m}}\nlog: {{to: '{log}'}}\n"


STATIC = "{type: static, users: {alice: Happy and well}}"
PATIENT = '''\
"""A backend that knows what static knows but, as far as the server can tell, may have to wait for it."""
from fingerd.backends.static import Static


class Patient(Static):
    """Users in the configuration, asked by the crew."""

    blocking = True
'''
SCENARIO = """\
[["0s"]]
type = "create"
login = "alice"
name = "Happy and well"
home = "/home/alice"
shell = "/bin/sh"
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A server that can be started; ``command`` is what to run for a port."""

    name: str
    command: Callable[[int], Sequence[str]]
    queries: dict[int, int]
    version: str = ""
    query: str = "alice"
    expect: str = "Happy and well"
    path: Path | None = None  # PYTHONPATH
    forks: bool = False  # a process for each query, whose CPU time its parent counts
    processes: int = 1  # more than one of them share a listening socket


def limit() -> Kind:
    program = str(peers.compiled("limit"))
    return Kind(LIMIT, lambda port: (program, str(port)), FAST)


def ours(name: str, more: str, backend: str = STATIC, path: Path | None = None, processes: int = 1) -> Kind:
    """fingerd with an access log, and whatever the configuration's lines in ``more`` say; it is this very Python's."""

    def command(port: int) -> Sequence[str]:
        base = run_folder() / name.replace(" ", "-")
        base.with_suffix(".log").unlink(missing_ok=True)
        listen = f'"127.0.0.1:{port}"' if processes == 1 else "systemd"
        base.with_suffix(".yaml").write_text(
            f"listen: {listen}\nbackend: {backend}\n" + more.format(log=base.with_suffix(".log"))
        )
        return sys.executable, "-m", "fingerd", "-n", "-c", str(base.with_suffix(".yaml"))

    return Kind(name, command, FAST, path=path, processes=processes, version=peers.our_version())


def crew(name: str = CREW, backend: str = "{}") -> Kind:
    """fingerd with a backend that answers at once but does not promise to: the way of all backends that wait."""
    folder = CACHE / "patient"
    info = folder / "fingerd_patient-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (folder / "fingerd_patient.py").write_text(PATIENT)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-patient\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fingerd.backends]\npatient = fingerd_patient:Patient\n")
    return ours(name, SHIPPED, backend.format(STATIC.replace("static", "patient")), folder)


def cached() -> Kind:
    """The same backend behind a cache, which has the answer after the first query."""
    return crew(CACHED, "{{type: cache, backend: {}}}")


def twisted() -> Kind:
    python, version = peers.twisted()
    script = str(peers.SOURCE / "twisted_server.py")
    return Kind(TWISTED, lambda port: (str(python), script, str(port)), FAST, version)


def pyfingerd() -> Kind:
    python, version = peers.pyfingerd()
    scenario = run_folder() / "scenario.toml"
    scenario.write_text(SCENARIO)
    options = ("-m", "pyfingerd", "-t", "scenario", "-s", str(scenario), "-b")  # logs every query, as ours
    return Kind(PYFINGERD, lambda port: (str(python), *options, f"127.0.0.1:{port}"), MEDIUM, version)


def debian() -> Kind:
    command, version = peers.debian()
    fill = "{port}"
    return Kind(
        DEBIAN,
        lambda port: [part.replace(fill, str(port)) for part in command],
        SLOW,
        version,
        query="root",
        expect="Login: root",
        forks=True,
    )


def all_kinds(shared_socket: bool, only: Sequence[str] = ()) -> tuple[list[Kind], list[str]]:
    """The servers that can be measured here, and for each that cannot a line that says why."""
    makers: dict[str, Callable[[], Kind]] = {
        LIMIT: limit,
        OURS: lambda: ours(OURS, SHIPPED),
        NO_LOG: lambda: ours(NO_LOG, WITHOUT_LOG),
        CREW: crew,
        CACHED: cached,
        TWISTED: twisted,
        PYFINGERD: pyfingerd,
        DEBIAN: debian,
    }
    if shared_socket:
        makers[SHARED] = lambda: ours(SHARED, SHIPPED, processes=2)
    kinds: list[Kind] = []
    missing: list[str] = []
    for name, make in makers.items():
        if only and name not in only:
            continue
        try:
            kinds.append(make())
        except NotHereError as error:
            missing.append(f"{name} is left out: {error}")
    return kinds, missing


def run_folder() -> Path:
    """Where configurations and logs lie while the servers run."""
    folder = CACHE / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
