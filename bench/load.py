"""The load on a server and what it showed: the load generator's runs, and good clients beside idle ones."""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.kinds import WITH_IDLE, Kind, ours
from bench.network import fresh_network
from bench.peers import ROOT
from bench.servers import Server, running

MOST_TIME_WAIT = int(Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").read_text()) * 8 // 10
SETTLING = 0.3  # seconds for log lines and ended children to be counted
WARMING = 20  # of so many queries of a run one more is asked before, and not counted
GOOD_QUERIES = 2_000

REPORT = re.compile(r"(\d+) req/s  ok (\d+) .* p50 ([\d.]+) ms  p99 ([\d.]+) ms")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the load against one server."""

    rate: float  # queries a second
    p50: float  # ms
    p99: float  # ms
    cpu: float  # µs a query, of the server
    memory: float  # MB at most
    lost: int  # without the right answer


@dataclass(frozen=True, slots=True)
class Beside:
    """A server that holds ``idle`` silent clients and ``dripping`` ones, and a good client's experience."""

    idle: int
    dripping: int
    memory: float  # MB
    p99: float  # ms
    cpu_share: float | None  # of one core in per cent, with nobody asking; None where dripping is work
    lost: int  # good queries without an answer, and idle clients that were not held


def measure(kind: Kind, clients: int, share: float = 1) -> Run:
    """Start the server, warm it up, and put the load on it; ``share`` makes a run shorter."""
    queries = planned(kind, clients, share)
    with running(kind) as server:
        _load(server, min(clients, 50), queries // WARMING)
        time.sleep(SETTLING)
        before = server.cpu_seconds()
        rate, p50, p99, good = _load(server, clients, queries)
        time.sleep(SETTLING)
        cpu = (server.cpu_seconds() - before) / queries * 1e6
        return Run(rate, p50, p99, cpu, server.memory("VmHWM"), queries - good)


def planned(kind: Kind, clients: int, share: float) -> int:
    """How many queries a run has."""
    return max(int(kind.queries[clients] * share), clients)


def measure_beside_idle(idle: int, dripping: int, rounds: int, seconds: float) -> Beside:
    """fingerd with idle clients: a good one's p99 is the median of ``rounds``, the CPU is watched for ``seconds``."""
    forget_closed_connections(GOOD_QUERIES * rounds)
    with running(ours("ours beside idle", WITH_IDLE)) as server:
        time.sleep(SETTLING)  # the client that saw it answer has to be gone
        before = server.descriptors()
        with _idle_clients(server.port, idle + dripping, dripping) as held:
            end = time.monotonic() + 10
            while server.descriptors() < before + idle + dripping and time.monotonic() < end:
                time.sleep(0.1)
            time.sleep(SETTLING)
            cpu_share = None if dripping else _cpu_share(server, seconds)
            loads = [_load(server, 1, GOOD_QUERIES) for _ in range(rounds)]
            memory = server.memory("VmRSS")
        lost = sum(GOOD_QUERIES - good for *_, good in loads) + idle + dripping - held[0]
        return Beside(idle, dripping, memory, statistics.median(p99 for _, _, p99, _ in loads), cpu_share, lost)


def forget_closed_connections(queries: int) -> None:
    """See to it that so many more connections in TIME_WAIT, where each stays for a minute, do not shift the figures."""
    if fresh_network():
        return
    end = time.monotonic() + 90
    while _time_wait() + queries > MOST_TIME_WAIT and time.monotonic() < end:
        time.sleep(1)


def _time_wait() -> int:
    found = re.search(r"^TCP: .* tw (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _load(server: Server, clients: int, queries: int) -> tuple[float, float, float, int]:
    """Queries a second, p50 and p99 in ms, right answers; all lost where the generator does not end."""
    command = [str(peers.compiled("fingerload")), *map(str, (server.port, clients, queries))]
    try:
        done = subprocess.run(
            [*command, server.kind.query, server.kind.expect], capture_output=True, text=True, check=False, timeout=120
        )
        found = REPORT.match(done.stdout)
    except subprocess.TimeoutExpired:
        found = None
    if not found:
        return 0, 0, 0, 0
    rate, good, p50, p99 = map(float, found.groups())
    return rate, p50, p99, int(good)


def _cpu_share(server: Server, seconds: float) -> float:
    """Per cent of one core that it takes while nobody asks."""
    before, start = server.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu_seconds() - before) / (time.monotonic() - start) * 100


@contextlib.contextmanager
def _idle_clients(port: int, count: int, dripping: int) -> Iterator[list[int]]:
    """Clients of another process; how many the server held to the end is in the list after the block."""
    held = [0]
    command = [sys.executable, "-m", "bench.idle", *map(str, (port, count, dripping))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield held
        held[0] = int(process.communicate()[0] or 0)
