"""No threads, no memory: what fails for want of them works again once they are there, without a restart or a reload."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, Daemon, let_everybody_in

INTERNAL_ERROR = b"Internal error in server\r\n"
# nobody is used by other programs; this uid has no process but the daemon under test.
UID = 61_333
UNPRIVILEGED = f"process: {{user: {UID}, group: {UID}}}\n"
LISTEN = 'listen: "127.0.0.1:0"\n'


def allow_threads(daemon: Daemon, allowed: bool) -> None:
    """Let the daemon start threads, or let every start of one fail."""
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[1] if allowed else 1  # prlimit(1) reads -1 as unlimited
    command = ["prlimit", f"--pid={daemon.process.pid}", f"--nproc={soft}:"]
    subprocess.run(command, user=UID, group=UID, extra_groups=[], check=True, cwd="/")


@pytest.fixture
def without_threads(start: Start, tmp_path: Path) -> Start:
    """Starts daemons with a uid of their own, for which the limit of threads holds, as it does not for root."""
    let_everybody_in(tmp_path)
    return start


@pytest.mark.root
def test_a_search_by_name_works_again_once_its_thread_can_be_started(without_threads: Start) -> None:
    policy = "policy: [{from: any, match: name, show: [login, name]}]\n"
    daemon = without_threads(f"{LISTEN}{UNPRIVILEGED}{policy}backend: {{type: system, min_uid: 0}}\n")
    allow_threads(daemon, False)
    for name in (b"nosuch\r\n", b"another\r\n"):
        assert daemon.ask(name) == INTERNAL_ERROR
        daemon.logged("backend failed: system: can't start new thread")
        daemon.logged("outcome=error")
    allow_threads(daemon, True)
    assert daemon.ask(b"nosuch\r\n") == b"No such user\r\n"


@pytest.mark.root
def test_a_host_is_looked_up_again_once_that_is_possible(without_threads: Start) -> None:
    policy = "policy: [{from: any, forward: [localhost, 127.0.0.0/8]}]\n"
    backend = "backend: {type: web, prefix: 'http://localhost:1/~'}\n"
    daemon = without_threads(f"{LISTEN}{UNPRIVILEGED}{policy}{backend}")
    allow_threads(daemon, False)
    for _ in range(70):  # more than may be looked up at once
        assert daemon.ask(b"alice\r\n") == INTERNAL_ERROR
        assert "can't start new thread" in daemon.logged("backend failed: ")
    allow_threads(daemon, True)
    assert daemon.ask(b"alice\r\n") == INTERNAL_ERROR
    assert "refused" in daemon.logged("backend failed: ")


def run(script: str, *arguments: str) -> str:
    """The output of a Python script."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# Each ends with a print of what must be so once there are threads again.
HARD = "resource.getrlimit(resource.RLIMIT_NPROC)[1]"
BECOME = f"os.setgroups([]); os.setgid({UID}); os.setuid({UID})\n"  # after the imports: it may not see the files
STARTS_FAIL = f"resource.setrlimit(resource.RLIMIT_NPROC, (1, {HARD}))\n"
STARTS_WORK = f"resource.setrlimit(resource.RLIMIT_NPROC, ({HARD}, {HARD}))\n"
RESOLVER = f"""
import os, resource, time
from fingerd.net import resolver
{BECOME}{STARTS_FAIL}
for _ in range(100):
    try:
        resolver.look_up("localhost", 79, "client", time.monotonic() + 10)
    except OSError as error:
        assert str(error) == "can't start new thread", error
{STARTS_WORK}
print(dict(resolver._running), [*map(str, resolver.look_up("localhost", 79, "client", time.monotonic() + 10))][-1])
"""
ACCOUNTS = f"""
import os, resource, time
from fingerd.backends.system import accounts
accounts.LIST_SECONDS = accounts.LIST_COST_FACTOR = 0
{BECOME}
index = accounts._NameServiceIndex()
first = index.logins(time.monotonic() + 10)
{STARTS_FAIL}
for _ in range(3):
    assert index.logins(time.monotonic() + 10) is first  # the last list
{STARTS_WORK}
while index.logins(time.monotonic() + 10) is first:
    pass
print("listed again")
"""
POOL = f"""
import os, resource, threading
from fingerd.server.workers import WorkerPool
{BECOME}
done = threading.Semaphore(0)
pool = WorkerPool(4, lambda number: done.release())
{STARTS_FAIL}
pool.start()
for number in range(8):
    pool.submit(str(number % 2), number)
pool.adjust()
{STARTS_WORK}
for _ in range(8):
    while not done.acquire(timeout=0.01):
        pool.adjust()
print("done")
"""


@pytest.mark.root
@pytest.mark.parametrize(
    ("script", "output"),
    [(RESOLVER, "{} 127.0.0.1"), (ACCOUNTS, "listed again"), (POOL, "going on with 0 threads\ndone")],
    ids=["resolver", "accounts", "pool"],
)
def test_what_failed_without_threads_works_with_them(script: str, output: str) -> None:
    assert run(script).rstrip().endswith(output)
