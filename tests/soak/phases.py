"""The phases before and after the load: warm up a daemon, wait until it is idle, and stop it while it has clients."""

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.helpers.daemons import hear
from tests.soak.configurations import DRAIN_SECONDS, THREADS
from tests.soak.daemon import Daemon, Sample, SoakError
from tests.soak.queries import GOOD_QUERIES, HANGING_QUERY, PLAIN_QUERY, POOL, SLOW_QUERY, Query, match_answer

NETWORK = 9  # 127.NETWORK.0.0/16: the addresses of these clients
IDLE_TIMEOUT = 10.0
STABLE_SECONDS = 2.5  # without a change; longer than the daemon waits for a client's FIN
SILENT_CLIENTS = 20  # at SIGTERM
EXIT_TIMEOUT = DRAIN_SECONDS + 5  # includes waiting for the last clients' FIN, and writing the last log lines


def warm_up(daemon: Daemon) -> None:
    """Make the daemon import its modules and start all its worker threads."""
    daemon.reload()
    if daemon.name == POOL:
        ask(daemon, [SLOW_QUERY] * THREADS)
    for _ in range(2):  # once with web, once with command
        for query in GOOD_QUERIES:
            ask(daemon, [query])
        daemon.reload()


class IdleState(NamedTuple):
    """A daemon without clients."""

    sample: Sample
    files: Counter[str]  # its descriptors


def wait_until_idle(daemon: Daemon) -> IdleState:
    """Wait until no client is left. Reloads the daemon first, so that it has no connection to the web server."""
    daemon.reload()
    if daemon.newest.value % 2:
        daemon.reload()
    deadline = time.monotonic() + IDLE_TIMEOUT
    sample, since = daemon.sample(), time.monotonic()
    while time.monotonic() < min(deadline, since + STABLE_SECONDS):
        time.sleep(0.1)
        before, sample = sample, daemon.sample()
        if (before.descriptors, before.threads) != (sample.descriptors, sample.threads):
            since = time.monotonic()
    return IdleState(sample, daemon.open_files())


def ask(daemon: Daemon, queries: Sequence[Query]) -> None:
    """Send all queries at once, each from another address. Raises SoakError if an answer is wrong."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number, query in enumerate(queries):
            address = f"127.{NETWORK}.0.{number + 1}"
            client = stack.enter_context(daemon.connect(address))
            client.sendall(b"".join(query.segments))
            clients.append((address, query, client))
        for address, query, client in clients:
            answer = hear(client)
            if match_answer(daemon.name, query, address, answer, daemon.generations()) is None:
                raise SoakError(f"{daemon.name}, {query.segments[0][:40]!r}: {answer[:200]!r}")


def shut_down(daemon: Daemon) -> tuple[str, bool]:
    """Send SIGTERM while there are silent clients and running answers; returns a description, and whether it is right.

    An answer that takes less than ``drain_seconds`` is given; the other clients are told that the service is busy.
    """
    running = {SLOW_QUERY: "answered", HANGING_QUERY: "busy"} if daemon.name == POOL else {PLAIN_QUERY: "answered"}
    with contextlib.ExitStack() as stack:
        for number in range(SILENT_CLIENTS):
            stack.enter_context(daemon.connect(f"127.{NETWORK}.1.{number + 1}"))
        clients = []
        for number, query in enumerate(running):
            time.sleep(0.2)
            address = f"127.{NETWORK}.2.{number + 1}"
            client = stack.enter_context(daemon.connect(address))
            client.sendall(b"".join(query.segments))
            clients.append((query, address, client))
        time.sleep(0.05)
        code, seconds = daemon.terminate(EXIT_TIMEOUT)
        outcomes = {query: _outcome(daemon, query, address, client) for query, address, client in clients}
    exit_text = "killed" if code is None else f"exit code {code}"
    detail = f"{exit_text} after {seconds:.1f} s; running answers: {', '.join(outcomes.values())}"
    return detail, code == 0 and outcomes == running


def _outcome(daemon: Daemon, query: Query, address: str, client: socket.socket) -> str:
    """The outcome that the client's answer stands for."""
    try:
        match = match_answer(daemon.name, query, address, hear(client), daemon.generations(), also=("busy",))
    except OSError:
        return "lost"
    return match[1] if match else "wrong"
