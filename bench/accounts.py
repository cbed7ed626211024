"""What queries for a host's own accounts cost: ``python -m bench --accounts``, as root.

They are measured on a host of its own: a mount namespace with its own /etc,
/var, /run and terminals. Its accounts are lines of passwd, and its sessions
are records of utmp with terminals that exist.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import peers
from bench.contenders import MEDIUM, NOT_REMEMBERED, SLOW, Contender, available, debian, ours
from bench.load import Run, forget_closed_connections, measure
from bench.namespaces import CLONE_NEWNS, HOST_SETUP, unshare
from bench.peers import SOURCE, UnavailableError
from bench.report import log_progress, log_run, origin, table
from bench.servers import running
from bench.timing import BATCH, HIDDEN, PRESENT, ResponseTimes, measure_timing, names, times_table
from fingerd.backends.system.utmp import RECORD, USER_PROCESS

RESULTS = SOURCE / "ACCOUNTS.md"
CLIENTS = 50
HOMES = Path("/run/home")  # not /home: this checkout may be there
PASSWD, ORIGINAL_PASSWD = Path("/etc/passwd"), Path("/etc/passwd.original")
FIRST_UID = 20_000
LISTS, SLOW_LISTS = {CLIENTS: 300}, {CLIENTS: 50}  # queries of a run
OURS, REMEMBERED = "ours", "ours, answers remembered"
MIN_RATE = 2_000  # queries a second of ours with few accounts
MIN_RATIO = 0.9  # of that with 10,000 accounts

SYSTEM = "{type: system}"
CONFIG = """\
policy: [{{from: any, list: true, show: everything}}]
limits: {{per_client: 2000, reply_bytes: 1MiB}}
log: {{to: '{log}'}}
"""
HEAD = """\
# What queries for a host's own accounts cost

Written by `python -m bench --accounts --write`, {origin}. {versions}.

{clients} clients at a time, everything shown, medians of {rounds} rounds. All ask for the last user of passwd, who has
a home with a .plan and a mailbox, and is logged in. pyfingerd is in its native mode, in which it reads everything once
a second. Debian's searches the full names too. "Ours" looks up every query: a header with the client's address keeps
answers from being remembered. As shipped, they are remembered for one second. The load generator uses a core of its
own.

"""


@dataclass(frozen=True, slots=True)
class Host:
    """A host with so many accounts and sessions; clients ask it for its last user, or for its list."""

    title: str
    accounts: int
    sessions: int = 0
    is_list: bool = False
    homes: int = 0  # so many accounts have homes, and all with sessions

    def queried(self, contender: Contender) -> Contender:
        """The server with the query of this host."""
        if self.is_list:
            return replace(contender, query="", expect="User 9", queries=SLOW_LISTS if contender.forks else LISTS)
        return replace(contender, query=_login(self.accounts - 1), expect=f"User {self.accounts - 1}")


FEW, MANY = Host("10 accounts", 10, 1), Host("10,000 accounts", 10_000, 1)
LIST = Host("list of 1,000 sessions", 10_000, 1_000, is_list=True)
HOSTS = (FEW, MANY, LIST)
HIDDEN_QUERIES = 4_000  # for each kind of name
MAX_GUESSED = 0.55

TIMES = f"""\
## Hidden or absent

One client asks a host with 10,000 accounts for names of each kind in turns, {{queries:,}} times each, and measures the
time from its line to the end of the answer. Half of the hidden people have a `.nofinger`, the others a uid below
`min_uid`. "Slower" is the probability that a query of this kind takes longer than one for an absent name: 50 % reveals
nothing, 0 or 100 % reveals all. A patient client compares medians of {BATCH} queries each.

"""

Runs = Mapping[tuple[str, str], Sequence[Run]]  # by server and host; one a round


def main(rounds: int, scale: float, write: bool) -> int:
    """Measure, print, and with ``write`` write the page; 1 if a target is missed or ours lost an answer."""
    contenders, missing = available({OURS: _ours, REMEMBERED: _remembered, "pyfingerd": _pyfingerd, "Debian's": debian})
    for message in missing:
        log_progress(message)
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    with own_host(), _open_terminals(LIST.sessions) as terminals:
        for number in range(rounds):
            for host in HOSTS:
                populate(host, terminals)
                forget_closed_connections(len(contenders) * MEDIUM[CLIENTS])
                for contender in contenders:
                    run = measure(host.queried(contender), CLIENTS, scale)
                    runs[contender.name, host.title].append(run)
                    log_run(f"round {number + 1} of {rounds}, {host.title}, {contender.name}", run)
        times = _measure_timing(max(int(HIDDEN_QUERIES * scale), 1))
    report, met = _document(runs, contenders, rounds, times)
    print(report)
    if write:
        RESULTS.write_text(report)
    return 0 if met else 1


def _ours() -> Contender:
    return replace(ours("ours-accounts", CONFIG + NOT_REMEMBERED, SYSTEM), name=OURS, queries=MEDIUM)


def _remembered() -> Contender:
    return replace(ours("ours-accounts", CONFIG, SYSTEM), name=REMEMBERED, queries=MEDIUM)


def _pyfingerd() -> Contender:
    python, version = peers.pyfingerd()
    options = ("-m", "pyfingerd", "-t", "native", "-b")
    return Contender("pyfingerd", lambda port: (str(python), *options, f"127.0.0.1:{port}"), SLOW, version)


@contextmanager
def own_host() -> Iterator[None]:
    """Move this process to a host of its own, for good. Raises UnavailableError if that is not permitted."""
    with tempfile.TemporaryDirectory() as directory:
        if not unshare(CLONE_NEWNS):
            raise UnavailableError("only root can make mount namespaces")
        subprocess.run(["sh", "-c", HOST_SETUP.format(directory=directory)], check=True)
        shutil.copy(PASSWD, ORIGINAL_PASSWD)
        HOMES.mkdir()
        try:
            yield
        finally:
            subprocess.run(["umount", directory, "--lazy"], check=True)


@contextmanager
def _open_terminals(count: int) -> Iterator[Sequence[str]]:
    """The names of so many terminals."""
    pairs = [os.openpty() for _ in range(count)]
    try:
        yield [os.ttyname(slave).removeprefix("/dev/") for _, slave in pairs]
    finally:
        for pair in pairs:
            for descriptor in pair:
                os.close(descriptor)


def populate(host: Host, terminals: Sequence[str]) -> None:
    """Give the host its accounts; the last of them have homes, mailboxes and sessions."""
    numbers = range(host.accounts)
    lines = (_passwd_line(_login(number), FIRST_UID + number, f"User {number},Room {number}") for number in numbers)
    PASSWD.write_text(ORIGINAL_PASSWD.read_text() + "".join(lines))
    for number in numbers[host.accounts - max(host.homes, host.sessions) :]:
        _make_home(_login(number), FIRST_UID + number)
    now = int(time.time())
    utmp = RECORD.pack(2, 0, b"~", b"reboot", b"6.1", now, 0)
    for number, terminal in zip(numbers[host.accounts - host.sessions :], terminals, strict=False):
        login = _login(number)
        Path("/var/mail", login).write_text("From somebody\n")
        utmp += RECORD.pack(
            USER_PROCESS, os.getpid(), terminal.encode(), login.encode(), b"client.example.org", now - 60, 0
        )
    Path("/run/utmp").write_bytes(utmp)
    Path("/var/log/lastlog").touch()


def _passwd_line(login: str, uid: int, name: str) -> str:
    return f"{login}:x:{uid}:100:{name},555 1,555 2:{HOMES}/{login}:\n"


def _make_home(login: str, uid: int) -> Path:
    home = HOMES / login
    home.mkdir(exist_ok=True)
    (home / ".plan").write_text("To be measured.\n")
    os.chown(home / ".plan", uid, 100)
    return home


def _measure_timing(queries: int) -> ResponseTimes:
    """The response times for hidden and absent people."""
    with PASSWD.open("a") as lines:
        for kind, first in ((HIDDEN, 40_000), (PRESENT, 41_000)):
            for number, login in enumerate(names(kind)):
                is_low = kind == HIDDEN and number % 2
                uid = 700 + number if is_low else first + number
                lines.write(_passwd_line(login, uid, "Happy and well"))
                home = _make_home(login, uid)
                if kind == HIDDEN and not is_low:
                    (home / ".nofinger").touch()
    forget_closed_connections(4 * queries)
    with running(replace(_ours(), query=names(PRESENT)[0])) as server:
        return measure_timing(server, queries)


def _login(number: int) -> str:
    return f"user{number}"


def _document(runs: Runs, contenders: Sequence[Contender], rounds: int, times: ResponseTimes) -> tuple[str, bool]:
    """The report, and whether all targets are met."""
    rows = []
    for host in HOSTS:
        for contender in contenders:
            some = runs[contender.name, host.title]
            rate, p99, cpu = (
                statistics.median(getattr(run, figure) for run in some) for figure in ("rate", "p99", "cpu")
            )
            lost = sum(run.lost for run in some)
            rows.append((host.title, contender.name, f"{rate:,.0f}", f"{p99:.1f}", f"{cpu:,.0f}", f"{lost:,}"))
    few, many = (runs[OURS, host.title] for host in (FEW, MANY))
    rate = statistics.median(run.rate for run in few)
    ratio = statistics.median(more.rate / less.rate for more, less in zip(many, few, strict=True))
    lost = sum(run.lost for host in HOSTS for run in runs[OURS, host.title]) + times.lost
    met = {
        f"queries a second for one user: at least {MIN_RATE:,}": (f"{rate:,.0f}", rate >= MIN_RATE),
        f"of these with 10,000 accounts: at least {MIN_RATIO:.2f}": (f"{ratio:.2f}", ratio >= MIN_RATIO),
        f"hidden or absent, right guesses by one query's time: at most {MAX_GUESSED:.0%}": (
            f"{times.guessed:.1%}",
            times.guessed <= MAX_GUESSED,
        ),
        "lost or wrong answers: none": (f"{lost:,}", not lost),
    }
    head = HEAD.format(
        origin=origin(),
        versions=", ".join(dict.fromkeys(contender.version for contender in contenders)),
        clients=CLIENTS,
        rounds=rounds,
    )
    columns = ("host", "server", "queries/s", "p99 ms", "CPU µs/query", "lost")
    targets = [(what, figure, "met" if reached else "**missed**") for what, (figure, reached) in met.items()]
    hidden = TIMES.format(queries=len(times.by_kind[HIDDEN])) + times_table(times)
    report = f"{head}{table(columns, rows)}\n{hidden}\n{table(('target of ours', 'measured', ''), targets)}"
    return report, all(reached for _, reached in met.values())
