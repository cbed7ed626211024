"""RFC 1288 3.1 and 3.2: malformed input, what is shown to which client, and the log."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.helpers.daemons import FINGERD, TIMEOUT, Daemon, ask, hear
from tests.rfc1288.conftest import EXACT, MINIMAL, OFFICE_A, OFFICE_B, OPEN, SHIPPED, check

MALFORMED = {
    "NUL": (b"sur\0ak\r\n", b"Malformed query\r\n"),
    "escape": (b"\x1b]0;title\x07\r\n", b"Malformed query\r\n"),
    "C1": ("sur\x9bak\r\n".encode(), b"Malformed query\r\n"),
    "no host": (b"surak@\r\n", b"Malformed query\r\n"),
    "space in a host": (b"surak@a b\r\n", b"Malformed query\r\n"),
    "too long": (b"x" * 1100 + b"\r\n", b"Query too long\r\n"),
    "much too long": (b"x" * 300_000, b"Query too long\r\n"),
    "TLS": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(range(11, 200)) + b"\r\n", b"Malformed query\r\n"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", b"No such user\r\n"),
    "a format": (b"%s%n%x\r\n", b"No such user\r\n"),
    "a shell": (b"surak; id\r\n", b"No such user\r\n"),
    "a path": (b"../../../etc/passwd\r\n", b"No such user\r\n"),
    "an option": (b"-l surak\r\n", b"No such user\r\n"),
    "not UTF-8": (b"sur\xe9ak\r\n", b"No such user\r\n"),
}

PROGRAM = """\
#!/bin/sh
case "$1" in
  slow) sleep 60 ;;
  loud) yes | head -c 9000000 ;;
  bad) echo secret; echo cause >&2; exit 3 ;;
  *) printf '%s,' "$#" "$@"; echo; env; id -u ;;
esac
"""


def test_r42_a_volley_of_garbage_changes_nothing(rfc_daemon: Daemon) -> None:
    before = rfc_daemon.ask(b"surak\r\n")
    for number in range(60):
        assert ask(rfc_daemon.address, os.urandom(1 + number * 20) + b"\n").endswith(b"\r\n")
    assert rfc_daemon.ask(b"surak\r\n") == before
    assert rfc_daemon.process.poll() is None


@pytest.mark.parametrize("what", MALFORMED)
def test_r43_malformed_input_gets_fixed_words(rfc_daemon: Daemon, what: str) -> None:
    query, answer = MALFORMED[what]
    assert rfc_daemon.ask(query) == answer
    assert b"Ron Surak" in rfc_daemon.ask(b"surak\r\n")


def test_r43_who_is_slow_or_silent_is_closed_while_others_are_answered(rfc_daemon: Daemon) -> None:
    started = time.monotonic()
    with rfc_daemon.connect() as silent, rfc_daemon.connect() as dripping:
        while time.monotonic() - started < 1:
            dripping.sendall(b"x")
            assert b"Ron Surak" in rfc_daemon.ask(b"surak\r\n")
            time.sleep(0.2)
        silent.settimeout(TIMEOUT)
        assert hear(silent) == b""  # after read_seconds, 2 here
        assert hear(dripping) == b""


def test_r44_without_a_decision_the_list_and_forwarding_are_refused(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: static, users: {zoe: {name: Zoe, home_phone: 555-0102}}}\n')
    assert daemon.ask(b"\r\n") == b"Finger online user list denied\r\n"
    assert daemon.ask(b"zoe@host\r\n") == b"Finger forwarding service denied\r\n"
    assert b"555" not in daemon.ask(b"/W zoe\r\n")


def test_r44_the_administrator_sees_beforehand_what_each_client_would_be_told(start: Start, tmp_path: Path) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\nbackend: {type: static, users: {zoe: {name: Zoe, office: Kiln}}}\n'
        "policy: [{from: 127.0.0.2, show: minimal}, {from: any, show: everything, list: true}]\n"
    )
    for source in ("127.0.0.1", "127.0.0.2"):
        for line in ("zoe", "/W zoe", "", "zoe@host"):
            query = [*FINGERD, "-c", str(tmp_path / "fingerd-0.yaml"), "--query", line, "--from", source]
            shown = subprocess.run(query, capture_output=True, check=True, timeout=TIMEOUT).stdout
            assert shown == daemon.ask(line.encode() + b"\r\n", source=source)


def test_r45_atoms_are_told_one_by_one_as_the_three_administrators_of_the_rfc_want(rfc_daemon: Daemon) -> None:
    a, b, c = (rfc_daemon.ask(b"/W pirmann\r\n", source=source) for source in (OFFICE_A, OFFICE_B, MINIMAL))
    for atom, answers in (
        (b"David Pirmann", (a, b, c)),
        (b"016 Hill", (a, b)),
        (b"x2443", (a, b)),
        (b"989-8482", (a,)),
        (b"Last login", (a,)),
        (b"/bin/tcsh", ()),
        (b"/dimacs/u1/pirmann", ()),
        (b"Work Schedule", ()),
        (b"larf", ()),
    ):
        assert [atom in answer for answer in (a, b, c)] == [answer in answers for answer in (a, b, c)], atom
    assert c == b"In real life: David Pirmann\r\n"


def test_r46_a_file_that_a_user_can_change_gives_away_nothing_else(start: Start, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    people = tmp_path / "people"
    people.mkdir()
    for name in ("link", "hard", "pipe", "big", "ansi"):
        (people / name).mkdir()
        (people / name / "name").write_text(f"Somebody {name}")
    (people / "link" / "plan").symlink_to(secret)
    (people / "linked.txt").symlink_to(secret)
    os.mkfifo(people / "pipe" / "plan")
    (people / "big" / "plan").write_text("a line of it\n" * 100_000)
    (people / "ansi" / "plan").write_bytes(b"\x1b[2J\x07 \x9b 1\xc2\x9bm")
    daemon = start(f'listen: "127.0.0.1:0"\nbackend: {{type: files, folder: {people}}}\n')
    for user in (b"link", b"linked", b"pipe", b"../secret", str(secret).encode()):
        answer = daemon.ask(b"/W " + user + b"\r\n")
        assert b"secret" not in answer
        assert answer.endswith(b"\r\n")
    big = daemon.ask(b"/W big\r\n")
    assert len(big) < 100_000
    assert b"[answer cut]" in big
    ansi = daemon.ask(b"ansi\r\n").decode()
    assert not set(ansi) & set("\x1b\x07\x9b")


def test_r47_a_program_cannot_be_turned_against_the_system(start: Start, tmp_path: Path) -> None:
    program, ran = tmp_path / "program", tmp_path / "ran"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    daemon = start(
        'listen: "127.0.0.1:0"\nlimits: {reply_bytes: 64KiB}\n'
        f'backend: {{type: command, argv: ["{program}", "{{user}}"], timeout: 1, output_bytes: 32KiB}}\n',
        inside=("env", "SECRET=hidden"),
    )
    for name in (f"zoe; touch {ran}", f"$(touch {ran})", f"`touch {ran}`", f"| touch {ran}", "a  b *"):
        answer = daemon.ask(name.encode() + b"\r\n")
        assert answer.startswith(f"1,{name},\r\n".encode())  # one argument, unchanged
        assert b"SECRET" not in answer
    assert not ran.exists()
    assert daemon.ask(b"--help\r\n") == b"No such user\r\n"
    assert daemon.ask(b"bad\r\n") == b"Internal error in server\r\n"
    assert daemon.ask(b"slow\r\n") == b"Internal error in server\r\n"
    loud = daemon.ask(b"loud\r\n")
    assert loud.endswith(b"[answer cut]\r\n")
    assert len(loud) <= 64 << 10


@pytest.mark.root
def test_r47_a_program_is_not_run_as_root(start: Start, tmp_path: Path) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\nbackend: {type: command, argv: [id, -u]}\nprocess: {user: nobody}\nlog: {to: stderr}\n'
    )
    assert daemon.ask(b"zoe\r\n") == b"65534\r\n"


def test_r48_names_cannot_be_guessed_where_the_list_is_refused(rfc_daemon: Daemon, tmp_path: Path) -> None:
    for word in (b"ron", b"Ron", b"r", b"spin", b"*", b"spinne?", b"%", b"RON SPINNER"):
        assert rfc_daemon.ask(word + b"\r\n", source=SHIPPED) == b"No such user\r\n"
        assert rfc_daemon.ask(word + b"\r\n", source=EXACT) == b"No such user\r\n"
    assert b"Ron Spinner" in rfc_daemon.ask(b"ron\r\n", source=OPEN)
    path = tmp_path / "guess.yaml"
    path.write_text("backend: {type: static, users: {}}\npolicy: [{from: any, match: name}]\n")
    assert "RFC 1288 3.2.6" in check(path)


def test_r49_every_query_is_logged_refusals_too(start: Start) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\nlog: {to: stderr, format: json}\nbackend: {type: static, users: {zoe: Zoe}}\n'
    )
    for query, outcome in (
        ("zoe", "answered"),
        ("zoe@host", "refused"),
        ("", "refused"),
        ("zed", "unknown"),
        ("z\x1b", "malformed"),
    ):
        daemon.ask(query.encode() + b"\r\n")
        line = json.loads(daemon.logged('"outcome"'))
        assert (line["client"], line["query"], line["outcome"]) == ("127.0.0.1", query, outcome)


def test_r53_the_server_does_not_filter_a_query_into_another_one(rfc_daemon: Daemon) -> None:
    with socket.create_connection(rfc_daemon.address, TIMEOUT) as client:
        client.sendall(b"sur\0ak\r\n")
        assert hear(client) == b"Malformed query\r\n"
    assert rfc_daemon.ask("surak\u200b\r\n".encode()) == b"No such user\r\n"
