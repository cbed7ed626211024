"""What a large configuration costs: ``python -m bench --reload``.

fingerd starts with it and reloads it, while a client asks fifty times a second.
"""

import json
import os
import signal
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.contenders import SHIPPED, Contender, ours, run_directory
from bench.peers import SOURCE, UnavailableError
from bench.report import log_progress, origin, table, targets_table
from bench.servers import Server, running
from bench.targets import Target

RESULTS = SOURCE / "RELOAD.md"
USERS = 50_000
NAME = "a large configuration"
RELOADS = 3  # of a round
INTERVAL = 0.02  # seconds between two queries
IDLE_SECONDS = 2.0
RELOAD_SECONDS = 60.0  # that a reload may take before it is given up
PLAN = "Works on number {number} of many things that are to be done here."

MAX_START, MAX_WAIT_MS = 3.0, 100.0
HEAD = """\
# What a large configuration costs

Written by `python -m bench --reload --write`, {origin}. {version}.

{users:,} users of `static` with name, office and plan, {size:.1f} MB of YAML. The start is the CPU time until the first
answer. A client asks for one of them every {interval:.0f} ms, each time on a new connection; the longest it waited is
told before, during and after {reloads} reloads. Memory is what is resident after the start, and after the last reload.
The peak includes the old configuration, the new one, and the file's nodes.

"""


@dataclass(frozen=True, slots=True)
class Round:
    """One fresh process: seconds of CPU time and of reloads, MB, and milliseconds that the client waited."""

    start_cpu: float
    reload_seconds: float  # of the longest
    memory: tuple[float, float, float]  # after the start, after the reloads, the peak
    waits: tuple[float, float, float]  # the longest before, during and after the reloads
    lost: int


def main(rounds: int, write: bool) -> int:
    """Measure, print, and with ``write`` write the page; 1 if an answer was lost."""
    contender = replace(ours(NAME, SHIPPED, _backend(USERS)), query="user7", expect="First7")
    measured = []
    for number in range(rounds):
        with running(contender) as server:
            measured.append(_measure(server))
        log_progress(f"round {number + 1} of {rounds}: {measured[-1]}")
    report = document(measured, contender)
    print(report)
    if write:
        RESULTS.write_text(report)
    return 1 if any(each.lost for each in measured) else 0


def _backend(users: int) -> str:
    """The backend, in one line for each user; the text is a format of ``ours``."""
    lines = (
        f'    user{number}: {{name: "First{number} Last{number % 4999}", office: "Room {number % 300}", '
        f"plan: {json.dumps(PLAN.format(number=number))}}}\n"
        for number in range(users)
    )
    return "\n  type: static\n  users:\n" + "".join(lines)


def _measure(server: Server) -> Round:
    start_cpu, after_start = server.cpu_seconds(), server.memory("VmRSS")
    client = _Client(server)
    before = client.longest_until(_later(IDLE_SECONDS))
    durations, during, after = [], [], []
    for number in range(RELOADS):
        begun = time.monotonic()
        os.kill(server.processes[0].pid, signal.SIGHUP)
        during.append(client.longest_until(partial(_are_logged, number + 1)))
        durations.append(time.monotonic() - begun)
        after.append(client.longest_until(_later(IDLE_SECONDS)))
    memory = after_start, server.memory("VmRSS"), server.memory("VmHWM")
    return Round(start_cpu, max(durations), memory, (before, max(during), max(after)), client.lost)


def _log() -> Path:
    return run_directory() / f"{NAME.replace(' ', '-')}.log"


def _are_logged(reloads: int) -> bool:
    return _log().read_text().count("configuration reloaded") >= reloads


def _later(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


class _Client:
    """Asks again and again, and counts wrong answers."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.lost = 0

    def longest_until(self, is_over: Callable[[], bool]) -> float:
        """The longest wait for an answer in milliseconds, until then."""
        longest, end = 0.0, time.monotonic() + RELOAD_SECONDS
        while not is_over():
            if time.monotonic() > end:
                raise UnavailableError("the reload does not end")
            begun = time.monotonic()
            longest = max(longest, self._ask())
            time.sleep(max(begun + INTERVAL - time.monotonic(), 0))
        return longest

    def _ask(self) -> float:
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", self._server.port), timeout=10) as client:
            client.sendall(f"{self._server.contender.query}\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        self.lost += self._server.contender.expect.encode() not in answer
        return (time.monotonic() - begun) * 1_000


def document(rounds: list[Round], contender: Contender) -> str:
    """The page: medians of all rounds, and the targets."""
    size = _log().with_suffix(".yaml").stat().st_size / 1e6
    head = HEAD.format(
        origin=origin(),
        version=contender.version,
        users=USERS,
        size=size,
        interval=INTERVAL * 1_000,
        reloads=RELOADS,
    )
    start = statistics.median(each.start_cpu for each in rounds)
    reload = statistics.median(each.reload_seconds for each in rounds)
    after_start, after_reloads, peak = (
        statistics.median(figures) for figures in zip(*(each.memory for each in rounds), strict=True)
    )
    before, during, after = (
        statistics.median(figures) for figures in zip(*(each.waits for each in rounds), strict=True)
    )
    lost = sum(each.lost for each in rounds)
    rows = [
        ("CPU time of the start, s", f"{start:.2f}"),
        ("a reload, s", f"{reload:.2f}"),
        ("memory after the start, MB", f"{after_start:.0f}"),
        ("memory after the reloads, MB", f"{after_reloads:.0f}"),
        ("peak of the memory, MB", f"{peak:.0f}"),
        ("longest wait before, ms", f"{before:.1f}"),
        ("longest wait during a reload, ms", f"{during:.1f}"),
        ("longest wait after a reload, ms", f"{after:.1f}"),
    ]
    bounds = [
        Target("CPU time of the start", "<", MAX_START, start, " s"),
        Target("longest wait during a reload", "≤", MAX_WAIT_MS, during, " ms"),
        Target("longest wait after a reload", "≤", MAX_WAIT_MS, after, " ms"),
        Target("lost or wrong answers", "≤", 0, lost),
    ]
    return "\n".join((head + table(("what", f"median of {len(rounds)}"), rows), targets_table(bounds)))
