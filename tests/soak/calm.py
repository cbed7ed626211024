"""Before and after the load: warming a daemon up, bringing it to rest, and ending it while it has clients."""

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.helpers.daemons import hear
from tests.soak.book import CREW, GOOD, MOSHEZ, SLOWLY, STICKING, Question, judge
from tests.soak.configurations import DRAIN_SECONDS, THREADS
from tests.soak.daemon import Daemon, NotWellError, Sample

NETWORK = 9  # from where these clients come
REST_SECONDS = 10.0  # until everybody has to be gone
STILL_SECONDS = 2.5  # for which nothing changes: longer than the daemon waits for a client's FIN
SILENT = 20  # clients at the end
END_SECONDS = DRAIN_SECONDS + 5  # for SIGTERM: also the last clients' FIN, and the last log lines


def warm_up(daemon: Daemon) -> None:
    """Everything that is made only once is made: modules, all threads of the crew."""
    daemon.reload()
    if daemon.name == CREW:
        ask(daemon, [SLOWLY] * THREADS)
    for _ in range(2):  # once the web, once the program
        for question in GOOD:
            ask(daemon, [question])
        daemon.reload()


class Rest(NamedTuple):
    """A daemon without clients."""

    sample: Sample
    files: Counter[str]  # what its descriptors are


def at_rest(daemon: Daemon) -> Rest:
    """The daemon without clients, and right after a reload, so that no connection is kept to the web server."""
    daemon.reload()
    if daemon.newest.value % 2:
        daemon.reload()
    end = time.monotonic() + REST_SECONDS
    sample, since = daemon.sample(), time.monotonic()
    while time.monotonic() < min(end, since + STILL_SECONDS):
        time.sleep(0.1)
        before, sample = sample, daemon.sample()
        if (before.descriptors, before.threads) != (sample.descriptors, sample.threads):
            since = time.monotonic()
    return Rest(sample, daemon.open_files())


def ask(daemon: Daemon, questions: Sequence[Question]) -> None:
    """Ask all of them at once, each from another address; NotWellError where an answer is wrong."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number, question in enumerate(questions):
            address = f"127.{NETWORK}.0.{number + 1}"
            client = stack.enter_context(daemon.connect(address))
            client.sendall(b"".join(question.segments))
            clients.append((address, question, client))
        for address, question, client in clients:
            heard = hear(client)
            if judge(daemon.name, question, address, heard, daemon.generations()) is None:
                raise NotWellError(f"{daemon.name}, {question.segments[0][:40]!r}: {heard[:200]!r}")


def end(daemon: Daemon) -> tuple[str, bool]:
    """SIGTERM, with silent clients and running answers: what was seen, and whether it is as it has to be.

    An answer that can be given in ``drain_seconds`` is given; the others' clients are told that the service is busy.
    """
    running = {SLOWLY: "answered", STICKING: "busy"} if daemon.name == CREW else {MOSHEZ: "answered"}
    with contextlib.ExitStack() as stack:
        for number in range(SILENT):
            stack.enter_context(daemon.connect(f"127.{NETWORK}.1.{number + 1}"))
        clients = []
        for number, question in enumerate(running):
            time.sleep(0.2)
            address = f"127.{NETWORK}.2.{number + 1}"
            client = stack.enter_context(daemon.connect(address))
            client.sendall(b"".join(question.segments))
            clients.append((question, address, client))
        time.sleep(0.05)
        code, seconds = daemon.end(END_SECONDS)
        given = {question: _outcome(daemon, question, address, client) for question, address, client in clients}
    ending = "killed" if code is None else f"exit code {code}"
    seen = f"{ending} after {seconds:.1f} s; of what ran, {', '.join(given.values())}"
    return seen, code == 0 and given == running


def _outcome(daemon: Daemon, question: Question, address: str, client: socket.socket) -> str:
    """What the client was told, in the log's word."""
    try:
        judgement = judge(daemon.name, question, address, hear(client), daemon.generations(), also=("busy",))
    except OSError:
        return "lost"
    return judgement[1] if judgement else "wrong"
