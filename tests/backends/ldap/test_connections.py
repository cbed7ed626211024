"""Connections of ``type: ldap``: reused, replaced, limited, and used by many threads and clients."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("ldap3", reason="needs ldap3 (pip install ldap3)")

from fingerd.errors import BackendError
from fingerd.protocol.reply import INTERNAL_ERROR
from tests.backends.ldap.conftest import BRINDLE, Make, find, list_users
from tests.conftest import Start
from tests.helpers.daemons import Daemon, ask, descriptors, status, wait_until
from tests.helpers.slapd import PASSWORD, READER, Slapd, needs_slapd


@needs_slapd
def test_connections_are_reused_and_replaced(own_slapd: Slapd, make: Make) -> None:
    before = descriptors(os.getpid())
    backend = make(own_slapd.ldap)
    assert descriptors(os.getpid()) == before  # none is made before a lookup
    assert [find(backend, "brindle") for _ in range(5)] == [[BRINDLE]] * 5
    assert descriptors(os.getpid()) == before + 1
    own_slapd.stop()
    with pytest.raises(BackendError, match="Connection refused"):
        find(backend, "brindle")
    assert descriptors(os.getpid()) == before
    own_slapd.start()
    assert find(backend, "brindle") == [BRINDLE]
    own_slapd.stop()
    own_slapd.start()  # the idle connection is broken
    assert find(backend, "brindle") == [BRINDLE]
    backend.close()
    assert descriptors(os.getpid()) == before


@needs_slapd
def test_waiting_for_a_free_connection_has_a_deadline(slapd: Slapd, make: Make) -> None:
    backend = make(slapd.ldap, list_filter="(uid=*)", connections=1, timeout=0.3)
    people = list_users(backend)
    next(people)
    with pytest.raises(BackendError, match=r"^ldap: no connection was free in time$"):
        find(backend, "brindle")
    people.close()  # type: ignore[attr-defined]
    assert find(backend, "brindle") == [BRINDLE]


@needs_slapd
def test_a_connection_returned_after_close_is_closed(slapd: Slapd, make: Make) -> None:
    before = descriptors(os.getpid())
    backend = make(slapd.ldap, list_filter="(uid=brindle)")
    running = list_users(backend)
    next(running)
    backend.close()
    assert descriptors(os.getpid()) == before + 1
    assert list(running) == []
    assert descriptors(os.getpid()) == before


@needs_slapd
def test_32_threads_search_concurrently(slapd: Slapd, make: Make) -> None:
    backend = make(slapd.ldap, connections=8, timeout=20.0)
    wrong: list[object] = []

    def work(first: int) -> None:
        for number in range(first, first + 10):
            try:
                found = [(person.login, person.name) for person in find(backend, f"u{number}", seconds=30)]
            except Exception as error:
                found = [("", repr(error))]
            if found != [(f"u{number}", f"Member {number}")]:
                wrong.append((number, found))

    threads = [threading.Thread(target=work, args=(10 * number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@needs_slapd
def test_lookups_import_nothing(slapd: Slapd) -> None:
    code = """if True:
        import sys, time
        from fingerd.backends import Lookup, load_type
        plain, tls, ca = sys.argv[1:]
        backends = [load_type("ldap")(url=(url,), base="dc=example,dc=org", ca_file=ca if url == tls else None,
                    list_filter="(uid=brindle)", name_filter="(cn=*{word}*)")
                    for url in (plain, tls, plain.replace("127.0.0.1", "localhost"), "ldap://127.0.0.1:1")]
        class Refuse:
            def find_spec(self, name, *_):
                sys.exit(f"late import of {name}")
        sys.meta_path.insert(0, Refuse())
        for backend in backends:
            try:
                for name in ("Zo\\u00eb", "brindle", "oakenshaw"):
                    lookup = Lookup(name, False, "unix", time.monotonic() + 5, True)
                    print(len(backend.find(lookup)), end=" ")
                print(len(list(backend.list_users(lookup))))
            except Exception as error:
                print(type(error).__name__)
            backend.close()
        del sys.meta_path[0]
    """
    command = [sys.executable, "-c", code, slapd.ldap, slapd.ldaps, str(slapd.ca)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "1 1 1 1\n" * 3 + "ConnectionLostError\n", "")


CONFIG = """\
listen: "127.0.0.1:0"
backend:
  type: ldap
  url: {url}
  base: dc=example,dc=org
  timeout: 1
policy: [{{from: any, show: everything}}]
limits: {{answer_seconds: 4, per_client: 1000, threads: 12}}
"""


def answers_around(daemon: Daemon, seconds: float, event: Callable[[], object]) -> list[bytes]:
    """The answers to eight clients that send queries one after the other, before, during and after an event."""
    answers: list[bytes] = []
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            answers.append(ask(daemon.address, b"brindle\r\n"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    event()
    time.sleep(seconds)
    end.set()
    for thread in threads:
        thread.join()
    return answers


@needs_slapd
def test_a_restart_of_the_server_causes_errors_but_no_leaks(own_slapd: Slapd, start: Start) -> None:
    daemon = start(CONFIG.format(url=own_slapd.ldap))
    pid = daemon.process.pid
    threads = int(status(pid, "Threads")[0])
    good = daemon.ask(b"brindle\r\n")
    assert b"Brindle Oakenshaw" in good
    failed = f"{INTERNAL_ERROR}\r\n".encode()
    assert set(answers_around(daemon, 0.3, lambda: None)) == {good}
    before = descriptors(pid)

    assert set(answers_around(daemon, 0.3, own_slapd.stop)) == {good, failed}
    assert set(answers_around(daemon, 0.2, lambda: None)) == {failed}
    answers = answers_around(daemon, 0.3, own_slapd.start)
    assert (answers[0], answers[-1]) == (failed, good)

    own_slapd.send(signal.SIGSTOP)  # it accepts connections, but never answers
    assert set(answers_around(daemon, 0.3, lambda: None)) <= {good, failed}
    assert daemon.ask(b"brindle\r\n") == failed
    own_slapd.send(signal.SIGCONT)
    wait_until(lambda: daemon.ask(b"brindle\r\n") == good)
    assert set(answers_around(daemon, 0.3, lambda: None)) == {good}

    wait_until(lambda: descriptors(pid) <= before + 8)  # an idle connection for each concurrent client
    assert int(status(pid, "Threads")[0]) <= threads + 12
    own_slapd.stop()
    assert daemon.ask(b"brindle\r\n") == failed
    wait_until(lambda: descriptors(pid) <= before)
    assert daemon.stop() == 0
    assert any("backend failed: ldap ldap://" in line and "Connection refused" in line for line in daemon.log)
    assert not any("Traceback" in line for line in daemon.log)


@needs_slapd
@pytest.mark.root
def test_it_works_in_an_empty_chroot_without_its_certificates_and_password(
    slapd: Slapd, start: Start, tmp_path: Path
) -> None:
    chroot, password = tmp_path / "jail", tmp_path / "password"
    chroot.mkdir()
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    options = f"  ca_file: {slapd.ca}\n  bind_dn: {READER}\n  password_file: {password}\n"
    config = CONFIG.format(url=slapd.ldaps).replace("  timeout: 1\n", options)
    daemon = start(f"{config}process: {{user: nobody, chroot: {chroot}}}\n")
    assert b"555-0102" in daemon.ask(b"brindle\r\n")
    daemon.stop()
    assert PASSWORD not in "".join(daemon.log)
