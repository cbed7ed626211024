"""``type: sql`` with many threads, many clients, a million rows, and wide rows."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy (pip install SQLAlchemy)")

from tests.backends.sql.backend import ENDLESS, QUERY, failure_within, find, list_users, opened
from tests.backends.sql.conftest import create
from tests.conftest import Start
from tests.helpers.daemons import ROOT, ask, descriptors, status, wait_until
from tests.helpers.postgresql import PASSWORD, Postgresql


def test_threads_share_at_most_the_configured_connections(url: str) -> None:
    found: list[int] = []
    with opened(url, connections=4) as backend:
        before = descriptors(os.getpid())

        def work() -> None:
            found.extend(len(find(backend, "alice")) for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [1] * 640
        assert before < descriptors(os.getpid()) <= before + 4
        people = [list_users(backend) for _ in range(4)]
        assert all(next(each).login for each in people)
        assert "all connections are in use" in failure_within(2, backend, 0.2)
        people.clear()  # an abandoned list releases its connection
        assert len(find(backend, "alice")) == 1
    assert descriptors(os.getpid()) == before


def test_clients_are_answered_in_time_while_the_server_is_killed_and_restarted(
    server: Postgresql, start: Start, tmp_path: Path
) -> None:
    daemon = start(
        f'listen: "127.0.0.1:0"\nlimits: {{answer_seconds: 3, threads: 8}}\nprocess: {{umask: "022"}}\n'
        f"backend: {{type: sql, url: '{server.url()}', query: '{QUERY}', timeout: 2}}\n"
    )
    address, good, failed = daemon.address, daemon.ask(b"alice\r\n"), b"Internal error in server\r\n"
    assert b"Alice Archer" in good
    answers: list[bytes] = []
    slowest = [0.0]
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            started = time.monotonic()
            answers.append(ask(address, b"alice\r\n"))
            slowest.append(time.monotonic() - started)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            wait_until(lambda: answers[-20:].count(good) == 20)
            server.kill()
            wait_until(lambda: answers[-20:].count(failed) == 20)
            server.start()
        wait_until(lambda: answers[-20:].count(good) == 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {good, failed}
    assert max(slowest) < 4
    assert int(status(daemon.process.pid, "Threads")[0]) <= 3 + 8
    count_connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fingerd'"
    assert 1 <= int(server.run(count_connections)) <= 8
    daemon.stop()
    assert not [line for line in daemon.log if "Traceback" in line or PASSWORD in line]
    assert [
        line for line in daemon.log if f"backend failed: sql postgresql://127.0.0.1:{server.port}/postgres: " in line
    ]
    wait_until(lambda: server.run(count_connections) == "0")


def test_a_frozen_server_delays_no_client_beyond_the_deadline(server: Postgresql, start: Start) -> None:
    daemon = start(
        f'listen: "127.0.0.1:0"\nlimits: {{answer_seconds: 2, threads: 4, per_client: 100}}\n'
        f"backend: {{type: sql, url: '{server.url()}', query: '{QUERY}', timeout: 1}}\n"
    )
    good = daemon.ask(b"alice\r\n")
    server.freeze(True)
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.ask(b"alice\r\n"))) for _ in range(12)]
    started = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        server.freeze(False)
    assert time.monotonic() - started < 5
    assert set(answers) <= {b"Internal error in server\r\n", b"Finger service is busy, try again later\r\n"}
    wait_until(lambda: daemon.ask(b"alice\r\n") == good)


# Large tables


MILLION = 1_000_000
LARGE = {
    "sqlite": f"""CREATE TABLE people (login text PRIMARY KEY, name text) WITHOUT ROWID;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MILLION})
        INSERT INTO people SELECT printf('u%07d', i), 'Name ' || i FROM n;""",
    "postgresql": f"""CREATE DATABASE large;
        \\connect large
        CREATE TABLE people AS SELECT 'u' || lpad(i::text, 7, '0') AS login, 'Name ' || i AS name
        FROM generate_series(1, {MILLION}) i; CREATE INDEX ON people (login)""",
}

MEASURED = """if True:
    import sys, time
    from fingerd.backends import Lookup
    from fingerd.backends.sql import Sql
    from fingerd.ruip.policy import Policy, Rule
    from fingerd.ruip.ruip import AnswerContext, ReplyOptions, Ruip
    from tests.helpers.daemons import status
    url, list_query = sys.argv[1:]
    backend = Sql(url, "SELECT * FROM people WHERE login = :user", list_query)
    unfiltered = Sql(url, "SELECT login, CAST(:user AS text) AS asked FROM people WHERE :user <> ''")
    ruip = Ruip(backend, Policy((Rule(from_=("any",), list=True),)), ReplyOptions(), 1024, 262144)
    answer = lambda line: ruip.answer_line(line, AnswerContext("unix", time.monotonic() + 20, time.time())).reply
    assert b"Name 777777\\r\\n" in answer(b"u0777777"), answer(b"u0777777")
    assert answer(b"u7777777") == b"No such user\\r\\n"
    answer(b"")
    before = int(status("self", "VmHWM")[0])
    for _ in range(5):
        reply = answer(b"")
        assert len(unfiltered.find(Lookup("u", False, "unix", time.monotonic() + 20))) == 100
    assert reply.endswith(b"[answer cut]\\r\\n"), reply[-500:]
    assert b"u0000001" in reply and 250_000 < len(reply) <= 262144
    print(int(status("self", "VmHWM")[0]) - before)
"""


@pytest.mark.parametrize("kind", LARGE)
def test_a_million_rows_are_not_loaded(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "sqlite":
        url = create(tmp_path / "large.db", LARGE[kind])
    else:
        server: Postgresql = request.getfixturevalue("server")
        server.run(LARGE[kind])
        url = server.url(database="large")
    for list_query in ("SELECT login, name FROM people ORDER BY login", ENDLESS.replace("'u'", "'u000000'")):
        result = subprocess.run(
            [sys.executable, "-c", MEASURED, url, list_query], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert result.stderr == ""
        assert int(result.stdout) < 4096  # KiB


WIDE = {
    "sqlite": """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
        SELECT 'u' || i AS login, 'u' AS asked, hex(zeroblob(524288)) AS plan FROM n WHERE '' <> '""",
    "postgresql": """SELECT 'u' || i AS login, 'u' AS asked, repeat('x', 1048576) AS plan
        FROM generate_series(1, 600) i WHERE '' <> '""",
}

WIDE_MEASURED = """if True:
    import sys, time
    from fingerd.backends import Lookup
    from fingerd.backends.sql import Sql
    from tests.helpers.daemons import status
    url, query = sys.argv[1:]
    backend = Sql(url, query + "' || :user", query + "x'")
    lookup = Lookup("u", False, "unix", time.monotonic() + 60)
    before = int(status("self", "VmHWM")[0])
    assert sum(1 for person in backend.list_users(lookup)) == 600
    print(int(status("self", "VmHWM")[0]) - before)
    assert len(backend.find(lookup)) == 100
"""


def test_wide_rows_are_fetched_in_small_batches(url: str) -> None:
    query = WIDE[url.partition(":")[0]]
    result = subprocess.run(
        [sys.executable, "-c", WIDE_MEASURED, url, query], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.stderr == ""
    assert int(result.stdout) < 200 * 1024  # KiB: a third of them all
