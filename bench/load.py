"""Puts load on a server: runs of the load generator, and clients beside idle ones."""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.contenders import WITH_IDLE, Contender, ours
from bench.namespaces import fresh_network
from bench.peers import ROOT
from bench.servers import Server, running

MAX_TIME_WAIT = int(Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").read_text()) * 8 // 10
SETTLE_SECONDS = 0.3  # until log lines are written and ended children are counted
WARM_UP_DIVISOR = 20  # a run of N queries is preceded by N / 20 that are not measured
GOOD_QUERIES = 2_000
TURNS = 10  # of several servers
SHARE = 0.5  # of the queries of a run that one turn has: enough for what begins it, with cold caches, to count little

REPORT = re.compile(r"(\d+) req/s  ok (\d+) .* p50 ([\d.]+) ms  p99 ([\d.]+) ms")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the load generator against one server."""

    rate: float  # queries a second
    p50: float  # ms
    p99: float  # ms
    cpu: float  # µs a query, of the server
    memory: float  # MB at the peak
    lost: int  # queries without the right answer


@dataclass(frozen=True, slots=True)
class IdleRun:
    """fingerd with ``idle`` silent clients and ``dripping`` ones, and the load of one good client."""

    idle: int
    dripping: int
    memory: float  # MB
    p99: float  # ms
    cpu_share: float | None  # per cent of one core without queries; None with dripping clients, which are work
    lost: int  # good queries without an answer, and idle clients that were closed


def measure(contender: Contender, clients: int, scale: float = 1) -> Run:
    """Start the server, warm it up and measure one run; ``scale`` below 1 makes the run shorter."""
    queries = planned_queries(contender, clients, scale)
    with running(contender) as server:
        _warm_up(server, clients, queries)
        return _measure(server, clients, queries)


def measure_in_turns(contenders: Sequence[Contender], clients: int, scale: float = 1) -> dict[str, list[Run]]:
    """Start all of the servers, and measure each in short runs, one after the other: what slows the machine, slows all.

    The load generator does not sleep. Else each server would have to wake it, and one that is a little slower far more
    often, at a cost of its own. The runs of each, by its name; those of one turn are in the same place.
    """
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    queries = max(int(planned_queries(contenders[0], clients, scale) * SHARE), clients)
    forget_closed_connections(queries * TURNS * len(contenders))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running(contender)) for contender in contenders]
        for server in servers:
            _warm_up(server, clients, queries)
        for turn in range(TURNS):
            for server in servers[:: 1 if turn % 2 else -1]:
                runs[server.contender.name].append(_measure(server, clients, queries, is_awake=True))
    return runs


def _warm_up(server: Server, clients: int, queries: int) -> None:
    _load(server, min(clients, 50), queries // WARM_UP_DIVISOR, server.contender.names // 2)
    time.sleep(SETTLE_SECONDS)


def _measure(server: Server, clients: int, queries: int, is_awake: bool = False) -> Run:
    """One run against a server that runs."""
    before = server.cpu_seconds()
    rate, p50, p99, good = _load(server, clients, queries, is_awake=is_awake)
    time.sleep(SETTLE_SECONDS)
    cpu = (server.cpu_seconds() - before) / queries * 1e6
    return Run(rate, p50, p99, cpu, server.memory("VmHWM"), queries - good)


def planned_queries(contender: Contender, clients: int, scale: float) -> int:
    """The number of queries in a run."""
    return max(int(contender.queries[clients] * scale), clients)


def measure_with_idle(idle: int, dripping: int, rounds: int, seconds: float) -> IdleRun:
    """fingerd with idle clients; the p99 is the median of ``rounds``, the CPU is measured for ``seconds``."""
    forget_closed_connections(GOOD_QUERIES * rounds)
    with running(ours("ours with idle clients", WITH_IDLE)) as server:
        with idle_clients(server, idle + dripping, dripping) as held:
            cpu_share = None if dripping else _cpu_share(server, seconds)
            loads = [_load(server, 1, GOOD_QUERIES) for _ in range(rounds)]
            memory = server.memory("VmRSS")
        lost = sum(GOOD_QUERIES - good for *_, good in loads) + idle + dripping - held[0]
        return IdleRun(idle, dripping, memory, statistics.median(p99 for _, _, p99, _ in loads), cpu_share, lost)


def forget_closed_connections(queries: int) -> None:
    """Make room in TIME_WAIT, where a closed connection stays for a minute, for so many more connections.

    A full table of them would change the figures.
    """
    if fresh_network():
        return
    deadline = time.monotonic() + 90
    while _time_wait() + queries > MAX_TIME_WAIT and time.monotonic() < deadline:
        time.sleep(1)


def _time_wait() -> int:
    found = re.search(r"^TCP: .* tw (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _load(
    server: Server, clients: int, queries: int, first_name: int = 0, is_awake: bool = False
) -> tuple[float, float, float, int]:
    """Queries a second, p50 and p99 in ms, and the number of right answers; all 0 if the load generator hangs."""
    contender = server.contender
    command = [str(peers.compiled("fingerload")), *map(str, (server.port, clients, queries))]
    command += [contender.query, contender.expect, str(contender.names), str(first_name), str(int(is_awake))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        found = REPORT.match(done.stdout)
    except subprocess.TimeoutExpired:
        found = None
    if not found:
        return 0, 0, 0, 0
    rate, good, p50, p99 = map(float, found.groups())
    return rate, p50, p99, int(good)


def _cpu_share(server: Server, seconds: float) -> float:
    """Per cent of one core that it uses without queries."""
    before, start = server.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu_seconds() - before) / (time.monotonic() - start) * 100


@contextlib.contextmanager
def idle_clients(server: Server, count: int, dripping: int = 0) -> Iterator[list[int]]:
    """Connect idle clients, in a process of their own.

    The block begins when the server has accepted them. After it, the list
    holds how many the server had not closed.
    """
    held = [0]
    time.sleep(SETTLE_SECONDS)  # until the client of the first answer is closed
    before = server.descriptors()
    command = [sys.executable, "-m", "bench.idle", *map(str, (server.port, count, dripping))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
    ) as process:
        assert process.stdout
        process.stdout.readline()
        deadline = time.monotonic() + 10
        while server.descriptors() < before + count and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(SETTLE_SECONDS)
        yield held
        held[0] = int(process.communicate()[0] or 0)
