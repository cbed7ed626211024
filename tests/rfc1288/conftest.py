"""One fingerd for most clauses. The policy has a rule for each of some loopback addresses."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, Daemon

OPEN, SHIPPED, OFFICE_A, OFFICE_B, MINIMAL, UNIQUE, EXACT, LISTED = (f"127.0.1.{number}" for number in range(1, 9))

CONFIG = f"""
listen: "127.0.0.1:0"
backend: {{type: examples}}
policy:
  - {{from: {OPEN}, show: everything, list: true, match: name}}
  - {{from: {OFFICE_A}, show: [name, office, office_phone, home_phone, sessions, last_login], list: true}}
  - {{from: {OFFICE_B}, show: [name, office, office_phone], list: true}}
  - {{from: {MINIMAL}, show: minimal, list: true}}
  - {{from: {UNIQUE}, list: true, match: unique}}
  - {{from: {EXACT}, list: true, match: login}}
  - {{from: {LISTED}, show: everything, list: true, users_per_query: 2}}
  - from: any
limits: {{read_seconds: 2, per_client: 500}}
log: {{to: stderr}}
"""

# A backend in another package, because the people in the examples of RFC 1288 section 4 have sessions.
BACKEND = '''\
"""``type: examples``: the people in the examples of RFC 1288, some of them with sessions."""

import time
from dataclasses import dataclass

from fingerd.backends import Backend
from fingerd.people import LastLogin, Person, Session

MINUTE, HOUR, DAY = 60, 3600, 86400


def session(terminal, idle=None, host="", days=1):
    return (Session(terminal, host, since=time.time() - days * DAY, idle=idle),)


def people():
    yield Person(
        "rinehart", name="Mark J. Rinehart", office="019 Hill", office_phone="x3166", home_phone="989-0000",
        job="Operations", directory="/u1/rinehart", shell="/bin/tcsh", sessions=session("p0", HOUR + 11 * MINUTE + 1),
        project="RUIP", plan="Sleep.",
    )
    yield Person(
        "greenfie", name="Stephen J. Greenfield", office="542 Hill", office_phone="x3074", sessions=session("p1", 0)
    )
    yield Person(
        "rapatel", name="Rocky - Rakesh Patel", office="028 Hill", office_phone="x2287",
        sessions=session("p3", 4 * DAY + 1, "monster.example.org", days=5),
    )
    yield Person(
        "cherniss", name="Zoë Çherniss", office="127 Psychol", sessions=session("p7", 5 * MINUTE + 1), plan="Grüße"
    )
    yield Person(
        "pirmann", name="David Pirmann", office="016 Hill", office_phone="x2443", home_phone="989-8482",
        directory="/dimacs/u1/pirmann", shell="/bin/tcsh", sessions=(), project="larf",
        last_login=LastLogin(time.time() - 40 * DAY, "ttyp0", "romulus.rutgers."),
        plan="Work Schedule, Summer 1990\\n    Monday    5pm - 12am\\n",
    )
    yield Person("spinner", name="Ron Spinner", office="Ops Cubby,", office_phone="x2443", sessions=(), plan="oh")
    yield Person("surak", name="Ron Surak", office="000 OMB Dou,", office_phone="x9256", sessions=(), plan="")
    yield Person("etter", name="Ron Etter", sessions=(), last_login=LastLogin(None), plan="")


@dataclass(frozen=True)
class Examples(Backend):
    searches_names = True

    def find(self, lookup):
        name = lookup.username
        return [each for each in people() if each.login == name or (lookup.by_name and each.matches_name(name))]

    def list_users(self, lookup):
        return (each for each in people() if each.sessions)
'''


@pytest.fixture(scope="session")
def rfc_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A fingerd with the people of the RFC's examples, and a rule for each of the addresses above."""
    directory = tmp_path_factory.mktemp("examples")
    info = directory / "fingerd_examples-1.dist-info"
    info.mkdir()
    (directory / "fingerd_examples.py").write_text(BACKEND)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-examples\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fingerd.backends]\nexamples = fingerd_examples:Examples\n")
    (directory / "fingerd.yaml").write_text(CONFIG)
    path = os.pathsep.join(filter(None, (str(ROOT), str(directory), os.environ.get("PYTHONPATH"))))
    daemon = Daemon(directory / "fingerd.yaml", inside=("env", f"PYTHONPATH={path}", "TZ=UTC"))
    yield daemon
    daemon.stop()


def check(path: Path) -> str:
    """The output of ``fingerd --check`` for a valid configuration."""
    done = subprocess.run(
        [*FINGERD, "-c", str(path), "--check"], capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
