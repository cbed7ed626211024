"""One fingerd for most clauses. Who asks it from which address of loopback is under which rule is written here."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, Daemon

OPEN, SHIPPED, OFFICE_A, OFFICE_B, MINIMAL, UNIQUE, EXACT, LISTED = (f"127.0.1.{number}" for number in range(1, 9))

CONFIG = f"""
listen: "127.0.0.1:0"
backend: {{type: colony}}
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

# A backend of another package, as the people of RFC 1288 section 4 need one who are logged in.
COLONY = '''\
"""``type: colony``: the people in the examples of RFC 1288, some of them logged in."""

import time
from dataclasses import dataclass

from fingerd.backends import Backend
from fingerd.people import LastLogin, Person, Session

MINUTE, HOUR, DAY = 60, 3600, 86400


def session(terminal, idle=None, host=""):
    return (Session(terminal, host, since=time.time() - DAY, idle=idle),)


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
        sessions=session("p3", 4 * DAY + 1, "monster.example.org"),
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
class Colony(Backend):
    searches_names = True

    def find(self, ask):
        name = ask.username
        return [each for each in people() if each.login == name or (ask.by_name and each.matches_name(name))]

    def list_users(self, ask):
        return (each for each in people() if each.sessions)
'''


@pytest.fixture(scope="session")
def colony(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A fingerd that knows the people of the RFC's examples, each rule for an address of its own."""
    folder = tmp_path_factory.mktemp("colony")
    info = folder / "fingerd_colony-1.dist-info"
    info.mkdir()
    (folder / "fingerd_colony.py").write_text(COLONY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-colony\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fingerd.backends]\ncolony = fingerd_colony:Colony\n")
    (folder / "fingerd.yaml").write_text(CONFIG)
    path = os.pathsep.join(filter(None, (str(ROOT), str(folder), os.environ.get("PYTHONPATH"))))
    daemon = Daemon(folder / "fingerd.yaml", inside=("env", f"PYTHONPATH={path}", "TZ=UTC"))
    yield daemon
    daemon.stop()


def check(path: Path) -> str:
    """What ``fingerd --check`` says of a configuration that can be used."""
    done = subprocess.run(
        [*FINGERD, "-c", str(path), "--check"], capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
