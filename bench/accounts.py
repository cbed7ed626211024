"""What it costs to tell of a host's own accounts: ``python -m bench --accounts``, as root.

The measurement has a host of its own: a mount namespace with its own /etc,
/var, /run, /home and terminals, where accounts are lines of passwd, and
sessions records of utmp at terminals that are there.
"""

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import peers
from bench.hidden import BATCH, HIDDEN, THERE, Times, measure_hidden, names, times_table
from bench.kinds import MEDIUM, SLOW, Kind, debian, run_folder
from bench.load import Run, forget_closed_connections, measure
from bench.peers import SOURCE, NotHereError
from bench.report import origin, table
from bench.servers import running
from fingerd.backends.system.utmp import RECORD, USER_PROCESS

RESULTS = SOURCE / "ACCOUNTS.md"
CLONE_NEWNS = 0x00020000  # linux/sched.h; Python has os.unshare since 3.12 only
CLIENTS = 50
FIRST_UID = 20_000
LISTS, SLOW_LISTS = {CLIENTS: 300}, {CLIENTS: 50}  # queries of a run
OURS = "ours"
BEST_FEW = 2_000  # queries a second that ours has to answer
LEAST_SHARE = 0.9  # of these with 10,000 accounts

OWN_HOST = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs {folder}
for name in etc var; do
    mkdir {folder}/$name {folder}/work-$name
    mount -t overlay -o lowerdir=/$name,upperdir={folder}/$name,workdir={folder}/work-$name overlay /$name
done
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=755 tmpfs /run
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /dev/pts
mkdir -p /var/mail
cp /etc/passwd /etc/passwd.before
"""
CONFIG = """\
listen: "127.0.0.1:{port}"
backend: {{type: system}}
policy: [{{from: any, list: true, show: everything}}]
limits: {{per_client: 2000, reply_bytes: 1MiB}}
log: {{to: "{log}"}}
"""
HEAD = """\
# What it costs to tell of a host's own accounts

Written by `python -m bench --accounts --write`, {origin}. {versions}.

{clients} clients at a time, everything shown, medians of {rounds} rounds. The user who is asked for is the last of
passwd, has an open home with a .plan and a mailbox, and is logged in. pyfingerd is in its native mode, and reads
everything once a second. Debian's looks for the name among real names too. The load generator takes a core of its own.

"""


@dataclass(frozen=True, slots=True)
class Host:
    """What is measured: a host with so many accounts and sessions, asked for its last user or for its list."""

    title: str
    accounts: int
    sessions: int
    is_list: bool = False

    def asked(self, kind: Kind) -> Kind:
        """The server with the query that is put to it here."""
        if self.is_list:
            return replace(kind, query="", expect="User 9", queries=SLOW_LISTS if kind.forks else LISTS)
        return replace(kind, query=_login(self.accounts - 1), expect=f"User {self.accounts - 1}")


FEW, MANY = Host("10 accounts", 10, 1), Host("10,000 accounts", 10_000, 1)
LIST = Host("list of 1,000 sessions", 10_000, 1_000, is_list=True)
HOSTS = (FEW, MANY, LIST)
HIDDEN_QUERIES = 4_000  # for each sort of name
MOST_GUESSED = 0.55

TIMES = f"""\
## Hidden or absent

One client asks a host of 10,000 accounts for names of each sort in turns, {{queries:,}} times each, and takes the time
from its line to the end of the answer. Of the hidden, one half has a `.nofinger`, the other half a uid below `min_uid`.
"Slower" is how often, of all pairs, a query of this sort took longer than one for an absent name: 50 % tells nothing,
0 or 100 % tells all. A patient client goes by medians of {BATCH} queries each.

"""

Runs = Mapping[tuple[str, str], Sequence[Run]]  # by server and host; one a round


def main(rounds: int, quick: bool, write: bool) -> int:
    """Measure, print, and with ``write`` write the table; 1 where a target is missed or an answer of ours lost."""
    kinds = _kinds()
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        _enter_own_host(folder)
        with _terminals(LIST.sessions) as terminals:
            for number in range(rounds):
                for host in HOSTS:
                    _populate(host, terminals)
                    forget_closed_connections(len(kinds) * MEDIUM[CLIENTS])
                    for kind in kinds:
                        run = measure(host.asked(kind), CLIENTS, 0.1 if quick else 1)
                        runs[kind.name, host.title].append(run)
                        what = f"{run.rate:,.0f} queries/s, p99 {run.p99:.1f} ms, {run.cpu:.0f} µs, {run.lost} lost"
                        _say(f"round {number + 1} of {rounds}, {host.title}, {kind.name}: {what}")
        times = _measure_hidden(max(int(HIDDEN_QUERIES * (0.1 if quick else 1)), 1))
        subprocess.run(["umount", folder, "--lazy"], check=True)
    report, met = _document(runs, kinds, rounds, times)
    print(report)
    if write:
        RESULTS.write_text(report)
    return 0 if met else 1


def _kinds() -> list[Kind]:
    """The servers that can be had here."""
    makers: dict[str, Callable[[], Kind]] = {OURS: _ours, "pyfingerd": _pyfingerd, "Debian's": debian}
    kinds = []
    for name, make in makers.items():
        try:
            kinds.append(make())
        except NotHereError as error:
            _say(f"{name} is left out: {error}")
    return kinds


def _ours() -> Kind:
    base = run_folder() / "ours-accounts"

    def command(port: int) -> Sequence[str]:
        base.with_suffix(".log").unlink(missing_ok=True)
        base.with_suffix(".yaml").write_text(CONFIG.format(port=port, log=base.with_suffix(".log")))
        return sys.executable, "-m", "fingerd", "-n", "-c", str(base.with_suffix(".yaml"))

    return Kind(OURS, command, MEDIUM, peers.our_version())


def _pyfingerd() -> Kind:
    python, version = peers.pyfingerd()
    options = ("-m", "pyfingerd", "-t", "native", "-b")
    return Kind("pyfingerd", lambda port: (str(python), *options, f"127.0.0.1:{port}"), SLOW, version)


def _enter_own_host(folder: str) -> None:
    """Move this process, and all that it starts from now on, to a host of its own; NotHereError for who may not."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise NotHereError("only root can have a host of its own")
    subprocess.run(["sh", "-c", OWN_HOST.format(folder=folder)], check=True)


@contextmanager
def _terminals(count: int) -> Iterator[Sequence[str]]:
    """The names of terminals that are there."""
    pairs = [os.openpty() for _ in range(count)]
    try:
        yield [os.ttyname(slave).removeprefix("/dev/") for _, slave in pairs]
    finally:
        for pair in pairs:
            for descriptor in pair:
                os.close(descriptor)


def _populate(host: Host, terminals: Sequence[str]) -> None:
    """Give the host its accounts; the last of them are logged in, with homes and mailboxes."""
    numbers = range(host.accounts)
    passwd = "".join(
        f"{_login(number)}:x:{FIRST_UID + number}:100:User {number},Room {number},555 1,555 2:/home/{_login(number)}:\n"
        for number in numbers
    )
    Path("/etc/passwd").write_text(Path("/etc/passwd.before").read_text() + passwd)
    now = int(time.time())
    utmp = RECORD.pack(2, 0, b"~", b"reboot", b"6.1", now, 0)
    for number, terminal in zip(numbers[-host.sessions :], terminals, strict=False):
        login = _login(number)
        home = Path("/home", login)
        home.mkdir(exist_ok=True)
        (home / ".plan").write_text("To be measured.\n")
        os.chown(home / ".plan", FIRST_UID + number, 100)
        Path("/var/mail", login).write_text("From somebody\n")
        utmp += RECORD.pack(
            USER_PROCESS, os.getpid(), terminal.encode(), login.encode(), b"client.example.org", now - 60, 0
        )
    Path("/run/utmp").write_bytes(utmp)
    Path("/var/log/lastlog").touch()


def _measure_hidden(queries: int) -> Times:
    """How long hidden people take beside absent ones."""
    passwd = Path("/etc/passwd")
    with passwd.open("a") as lines:
        for sort, first in ((HIDDEN, 40_000), (THERE, 41_000)):
            for number, login in enumerate(names(sort)):
                low = sort == HIDDEN and number % 2
                uid = 700 + number if low else first + number
                lines.write(f"{login}:x:{uid}:100:Happy and well:/home/{login}:\n")
                home = Path("/home", login)
                home.mkdir()
                (home / ".plan").write_text("To be measured.\n")
                os.chown(home / ".plan", uid, 100)
                if sort == HIDDEN and not low:
                    (home / ".nofinger").touch()
    forget_closed_connections(4 * queries)
    with running(replace(_ours(), query=names(THERE)[0])) as server:
        return measure_hidden(server, queries)


def _login(number: int) -> str:
    return f"user{number}"


def _document(runs: Runs, kinds: Sequence[Kind], rounds: int, times: Times) -> tuple[str, bool]:
    """The report, and whether ours reaches what it has to."""
    rows = []
    for host in HOSTS:
        for kind in kinds:
            some = runs[kind.name, host.title]
            rate, p99, cpu = (
                statistics.median(getattr(run, figure) for run in some) for figure in ("rate", "p99", "cpu")
            )
            lost = sum(run.lost for run in some)
            rows.append((host.title, kind.name, f"{rate:,.0f}", f"{p99:.1f}", f"{cpu:,.0f}", f"{lost:,}"))
    few, many = (runs[OURS, host.title] for host in (FEW, MANY))
    rate = statistics.median(run.rate for run in few)
    share = statistics.median(more.rate / less.rate for more, less in zip(many, few, strict=True))
    lost = sum(run.lost for host in HOSTS for run in runs[OURS, host.title]) + times.lost
    met = {
        f"queries a second for one user: at least {BEST_FEW:,}": (f"{rate:,.0f}", rate >= BEST_FEW),
        f"of these with 10,000 accounts: at least {LEAST_SHARE:.2f}": (f"{share:.2f}", share >= LEAST_SHARE),
        f"hidden or absent, right guesses by one query's time: at most {MOST_GUESSED:.0%}": (
            f"{times.guessed:.1%}",
            times.guessed <= MOST_GUESSED,
        ),
        "lost or wrong answers: none": (f"{lost:,}", not lost),
    }
    head = HEAD.format(
        origin=origin(),
        versions=", ".join(dict.fromkeys(kind.version for kind in kinds)),
        clients=CLIENTS,
        rounds=rounds,
    )
    columns = ("host", "server", "queries/s", "p99 ms", "CPU µs/query", "lost")
    targets = [(what, figure, "met" if reached else "**missed**") for what, (figure, reached) in met.items()]
    hidden = TIMES.format(queries=HIDDEN_QUERIES) + times_table(times)
    report = f"{head}{table(columns, rows)}\n{hidden}\n{table(('ours has to reach', 'measured', ''), targets)}"
    return report, all(reached for _, reached in met.values())


def _say(line: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
