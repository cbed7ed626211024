"""What survives exec: ignored and blocked signals, with which a supervisor or a shell may start the daemon."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.daemon.conftest import STATIC
from tests.helpers.daemons import FINGERD, TIMEOUT, hear, status

LISTEN = 'listen: "127.0.0.1:0"\n'
INHERITED = {"SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGCHLD", "SIGUSR1", "SIGWINCH", "SIGALRM"}
IGNORING = f"[signal.signal(signal.Signals[name], signal.SIG_IGN) for name in {INHERITED}]"
BLOCKING = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"

# Signals 32 and 33 are the C library's own, and no program can change what they do.
OF_LIBC = 0b11 << 31


def inherit(what: str) -> tuple[str, ...]:
    """A command that executes its arguments with these signals ignored or blocked."""
    return sys.executable, "-c", f"import os, signal, sys; {what}; os.execvp(sys.argv[1], sys.argv[1:])"


EXEC = {"ignored": inherit(IGNORING), "blocked": inherit(BLOCKING), "both": inherit(f"{IGNORING}; {BLOCKING}")}
inherited = pytest.mark.parametrize("inside", EXEC.values(), ids=EXEC)


def command(script: str) -> str:
    return f"{LISTEN}backend: {{type: command, argv: [sh, -c, {json.dumps(script)}]}}\n"


@inherited
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_reloads_and_stops(inside: tuple[str, ...], number: int, start: Start) -> None:
    daemon = start(f"{LISTEN}{STATIC}", inside=inside)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("configuration reloaded")
    assert daemon.stop(number) == 0


# Each with output or none, at once or after the end of the output.
SCRIPTS = {
    "answer": ("echo fine", b"fine\r\n"),
    "answer, later": ("echo fine; exec >&- 2>&-; sleep 0.1", b"fine\r\n"),
    "failure": ("echo half; exit 3", b"Internal error in server\r\n"),
    "failure, later": ("echo half; exec >&- 2>&-; sleep 0.1; exit 3", b"Internal error in server\r\n"),
    "failure without output": ("exit 3", b"Internal error in server\r\n"),
    "unknown": ("true", b"No such user\r\n"),
}


@inherited
def test_programs_are_waited_for(inside: tuple[str, ...], start: Start, tmp_path: Path) -> None:
    cases = "".join(f"{number}) {script};; " for number, (script, _) in enumerate(SCRIPTS.values()))
    daemon = start(command(f'case "$FINGER_USER" in {cases}esac'), inside=inside)
    for _ in range(5):
        for number, (_, answer) in enumerate(SCRIPTS.values()):
            assert daemon.ask(b"%d\r\n" % number) == answer


@inherited
def test_programs_start_with_no_signal_ignored_or_blocked(inside: tuple[str, ...], start: Start) -> None:
    daemon = start(command("grep -E 'Sig(Blk|Ign)' /proc/self/status"), inside=inside)
    answer = dict(line.split(":\t") for line in daemon.ask(b"x\r\n").decode().splitlines())
    masks = {name: int(mask, 16) & ~OF_LIBC for name, mask in answer.items()}
    assert masks == {"SigBlk": 0, "SigIgn": 0}


@inherited
def test_a_query_without_a_socket_is_answered(inside: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "fingerd.yaml").write_text(command("echo half; exit 3"))
    query = [*inside, *FINGERD, "-c", str(tmp_path / "fingerd.yaml"), "--query", "x"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout) == (0, "Internal error in server\n")
    assert done.stderr == "fingerd: backend failed: command sh: exit status 3\n"


def test_clients_that_wait_to_be_accepted_at_sigterm_are_answered(start: Start) -> None:
    """More than are accepted in one go: when a listener is closed, the kernel resets those that wait."""
    daemon = start(f"{LISTEN}{STATIC}limits: {{per_client: 2000}}\n")
    daemon.process.send_signal(signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(daemon.address, TIMEOUT)) for _ in range(300)]
        for client in clients:
            client.sendall(b"moshez\r\n")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGCONT)
        assert {hear(client) for client in clients} == {b"Happy and well\r\n"}
    assert daemon.stop() == 0


def test_what_python_ignores_stays_ignored(start: Start) -> None:
    daemon = start(f"{LISTEN}{STATIC}", inside=EXEC["both"])
    ignored = int(status(daemon.process.pid, "SigIgn")[0], 16) & ~OF_LIBC
    assert ignored == sum(1 << number - 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))
    assert status(daemon.process.pid, "SigBlk") == ["0" * 16]
