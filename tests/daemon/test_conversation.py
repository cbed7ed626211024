"""What a client reads and what is logged, for queries as RFC 1288 section 2 has them and for all others."""

import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, Daemon, hear, wait_until

STATIC = """
listen: "127.0.0.1:0"
backend:
  type: static
  users: {alice: Happy and well, Zoë: bäh, "a b": inner blank, big: "%s"}
"""
LONG_ANSWER = "All work and no play makes Jack a dull boy. " * 4000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests that only ask it."""
    config = tmp_path_factory.mktemp("conversation") / "fingerd.yaml"
    config.write_text(STATIC % LONG_ANSWER)
    daemon = Daemon(config)
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
def daemon(shared: Daemon) -> Daemon:
    """The shared daemon, its log read up to this test."""
    shared.ask(b"next test\r\n")
    shared.logged('query="next test"')
    return shared


EXCHANGES = {
    "a name": (b"alice\r\n", "Happy and well", "answered"),
    "bare LF": (b"alice\n", "Happy and well", "answered"),
    "verbose": (b"/W alice\r\n", "Happy and well", "answered"),
    "verbose, lower case": (b"/w alice\r\n", "Happy and well", "answered"),
    "verbose behind the name": (b"alice /W\r\n", "Happy and well", "answered"),
    "blanks at both ends": (b" \t alice \t\r\n", "Happy and well", "answered"),
    "inner blank": (b"a b\r\n", "inner blank", "answered"),
    "UTF-8": ("Zoë\r\n".encode(), "bäh", "answered"),
    "telnet negotiation": (b"\xff\xfd\x06alice\xff\xf4\r\n", "Happy and well", "answered"),
    "case matters": (b"Alice\r\n", "No such user", "unknown"),
    "unknown": (b"bob\r\n", "No such user", "unknown"),
    "an option": (b"-l\r\n", "No such user", "unknown"),
    "the list": (b"\r\n", "Finger online user list denied", "refused"),
    "the verbose list": (b"/W\r\n", "Finger online user list denied", "refused"),
    "forwarding": (b"alice@example.org\r\n", "Finger forwarding service denied", "refused"),
    "forwarding of the list": (b"@example.org\r\n", "Finger forwarding service denied", "refused"),
    "a chain of hosts": (b"/W alice@a@b\r\n", "Finger forwarding service denied", "refused"),
    "no host": (b"alice@\r\n", "Malformed query", "malformed"),
    "no host between two": (b"alice@@b\r\n", "Malformed query", "malformed"),
    "NUL": (b"al\0ice\r\n", "Malformed query", "malformed"),
    "escape code": (b"\x1b[2Jalice\r\n", "Malformed query", "malformed"),
    "C1 control": ("al\u009bice\r\n".encode(), "Malformed query", "malformed"),
    "too long": (b"a" * 1025 + b"\r\n", "Query too long", "too-long"),
    "as long as it may be": (b"a" * 1024 + b"\r\n", "No such user", "unknown"),
    "windows-1252": (b"Zo\xeb\r\n", "bäh", "answered"),
    "undefined in windows-1252": (b"Zo\xeb\x81\r\n", "Malformed query", "malformed"),
    "a byte order mark": (b"\xef\xbb\xbfalice\r\n", "Happy and well", "answered"),
    "bare CR": (b"alice\r", "Happy and well", "answered"),
    "CR NUL": (b"alice\r\0", "Happy and well", "answered"),
    "CR and a second line": (b"alice\rbob\r\n", "Happy and well", "answered"),
    "CR CR LF": (b"alice\r\r\n", "Happy and well", "answered"),
    "a second line": (b"alice\r\nbob\r\n", "Happy and well", "answered"),
}


@pytest.mark.parametrize(("query", "answer", "outcome"), EXCHANGES.values(), ids=EXCHANGES)
def test_every_query_is_answered_and_logged(daemon: Daemon, query: bytes, answer: str, outcome: str) -> None:
    reply = daemon.ask(query)
    assert reply == f"{answer}\r\n".encode()
    assert re.search(
        rf"client=127\.0\.0\.1 query=\".*\" outcome={outcome} bytes={len(reply)} ms=\d+\.\d$", daemon.logged("client=")
    )


def test_the_log_line_is_stamped_and_holds_the_query_as_json(daemon: Daemon) -> None:
    daemon.ask(b'\x1b]0;owned\x07 "Zo\xc3\xab"\r\n')
    line = daemon.logged("client=")
    assert line.isascii()
    assert line.isprintable()
    found = re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d client=127.0.0.1 query=(.*) outcome=malformed .*", line
    )
    assert found
    assert json.loads(found[1]) == '\x1b]0;owned\x07 "Zoë"'


def test_a_query_without_a_line_end_is_answered_at_the_end_of_input(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.sendall(b"alice")
        client.shutdown(socket.SHUT_WR)
        assert hear(client) == b"Happy and well\r\n"


@pytest.mark.parametrize(
    "pieces", [(b"alice\r",), (b"alice\r\0",), (b"alice", b"\r"), (b"alice\r", b"\n"), (b"ali", b"ce\r\n")]
)
def test_a_line_end_is_enough_while_the_connection_stays_open(daemon: Daemon, pieces: tuple[bytes, ...]) -> None:
    with daemon.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        assert hear(client) == b"Happy and well\r\n"
    assert 'query="alice" outcome=answered' in daemon.logged("client=")


def test_a_client_that_sends_nothing_and_closes_gets_no_answer(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.shutdown(socket.SHUT_WR)
        assert hear(client) == b""
    assert "outcome=hung-up bytes=0" in daemon.logged("client=")


def test_a_query_may_come_byte_by_byte(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"alice\r\n":
            client.sendall(bytes([byte]))
            time.sleep(0.002)  # so that each is a packet of its own
        assert hear(client) == b"Happy and well\r\n"


def test_a_line_that_is_too_long_is_answered_before_its_end(daemon: Daemon) -> None:
    with daemon.connect() as client, contextlib.suppress(ConnectionError):
        client.sendall(b"a" * 100_000)
        assert hear(client) == b"Query too long\r\n"
    assert "outcome=too-long" in daemon.logged("client=")


@pytest.mark.parametrize("user", ["alice", "big"])
def test_a_client_that_sends_100_kb_after_its_line_reads_all_of_its_answer(daemon: Daemon, user: str) -> None:
    expected = {"alice": b"Happy and well\r\n", "big": LONG_ANSWER.encode() + b"\r\n"}[user]
    with daemon.connect() as client:
        client.sendall(user.encode() + b"\r\n" + b"x" * 100_000)
        assert hear(client) == expected


def test_a_client_that_is_gone_before_the_answer_leaves_a_line_and_no_traceback(start: Start) -> None:
    daemon = start(STATIC % LONG_ANSWER)
    for query in (b"big\r\n", b"ali"):
        client = daemon.connect()
        client.sendall(query)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with a reset
        daemon.logged("client=")
    assert daemon.ask(b"alice\r\n") == b"Happy and well\r\n"
    daemon.stop()
    assert not [line for line in daemon.log if "Traceback" in line or "ERROR" in line]


@pytest.fixture
def impatient(start: Start) -> Daemon:
    return start(STATIC % LONG_ANSWER + "limits: {read_seconds: 0.5, write_seconds: 0.6, reply_bytes: 64MiB}\n")


def test_a_silent_client_is_closed_when_read_seconds_are_over(impatient: Daemon) -> None:
    with impatient.connect() as client:
        begun = time.monotonic()
        assert hear(client) == b""
        assert 0.4 < time.monotonic() - begun < 2
    assert "outcome=timeout bytes=0" in impatient.logged("client=")


def test_dripping_bytes_do_not_prolong_read_seconds(impatient: Daemon) -> None:
    with impatient.connect() as client:
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < TIMEOUT:
                client.sendall(b"a")
                client.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    assert client.recv(1) == b""
                    break
        assert time.monotonic() - begun < 2
    assert 'query="aa' in impatient.logged("outcome=timeout")


def test_a_client_that_never_reads_is_closed_when_write_seconds_are_over(start: Start) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\nlimits: {write_seconds: 0.5, reply_bytes: 64MiB}\nbackend:\n  type: command\n'
        "  argv: [head, -c8000000, /dev/zero]\n  output_bytes: 16MiB\n"
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(daemon.address)
        client.sendall(b"alice\r\n")
        assert "outcome=timeout" in daemon.logged("client=")


def test_a_slow_reader_gets_all_of_a_long_answer(start: Start) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\nlimits: {reply_bytes: 64MiB}\n'
        'backend: {type: command, argv: [seq, "1000000"], output_bytes: 32MiB}\n'
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(TIMEOUT)
        client.connect(daemon.address)
        client.sendall(b"alice\r\n" + b"x" * 50_000)
        client.shutdown(socket.SHUT_WR)
        answer = hear(client)
    assert answer == "".join(f"{number}\r\n" for number in range(1, 1_000_001)).encode()
    assert f"outcome=answered bytes={len(answer)}" in daemon.logged("client=")


def test_an_answer_over_reply_bytes_is_cut_at_a_line_and_says_so(start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nlimits: {reply_bytes: 64}\nbackend: {type: command, argv: [seq, "1000"]}\n')
    answer = daemon.ask(b"alice\r\n")
    assert len(answer) <= 64
    assert answer.startswith(b"1\r\n2\r\n")
    assert answer.endswith(b"\r\n[answer cut]\r\n")


def test_header_and_footer_stand_around_every_answer(start: Start) -> None:
    daemon = start(
        STATIC % "x" + 'reply: {charset: ascii, header: "for {user} at {client}: {other}\\n", footer: "{time}"}\n'
    )
    *lines, time_line, end = daemon.ask(b"Zo\xc3\xab\r\n").split(b"\r\n")
    assert lines == [b"for Zo? at 127.0.0.1: {other}", b"b?h"]
    assert re.fullmatch(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", time_line)
    assert end == b""


POLICY = STATIC % "x" + "policy:\n"


def test_deny_answers_every_query_with_a_refusal(start: Start) -> None:
    daemon = start(POLICY + "  - {from: local, deny: true}\n")
    for query in (b"alice\r\n", b"\r\n", b"a@b\r\n"):
        assert daemon.ask(query) == b"Finger service denied\r\n"
        assert "outcome=denied" in daemon.logged("client=")


def test_deny_silently_closes_without_an_answer_and_a_client_that_no_rule_matches_is_denied(start: Start) -> None:
    daemon = start(POLICY + "  - {from: 127.0.0.0/8, deny: silently}\n")
    with daemon.connect() as client:
        assert hear(client) == b""
    assert "outcome=denied bytes=0" in daemon.logged("client=")
    daemon = start(POLICY + "  - {from: 192.0.2.0/24}\n")
    assert daemon.ask(b"alice\r\n") == b"Finger service denied\r\n"


def test_the_list_is_shown_where_a_rule_allows_it(start: Start) -> None:
    daemon = start(POLICY + "  - {from: any, list: true}\n")
    assert daemon.ask(b"\r\n").split(b"\r\n")[:2] == [b"Login    Name", b"alice    alice"]


def test_the_log_can_be_json_and_keep_less_of_addresses(start: Start) -> None:
    daemon = start(STATIC % "x" + "log: {format: json, addresses: network}\n")
    daemon.ask(b"alice\r\n")
    entry = json.loads(daemon.logged('"client"'))
    assert list(entry) == ["time", "client", "query", "outcome", "bytes", "ms"]
    assert (entry["client"], entry["query"], entry["outcome"], entry["bytes"]) == (
        "127.0.0.0/24",
        "alice",
        "answered",
        16,
    )


def test_a_connection_beyond_per_client_is_closed_at_once(start: Start) -> None:
    daemon = start(STATIC % "x" + "limits: {per_client: 2}\n")
    with daemon.connect() as first, daemon.connect() as second:
        with daemon.connect() as third:
            assert hear(third) == b""
        assert "outcome=limited" in daemon.logged("client=")
        for client in (first, second):
            client.sendall(b"alice\r\n")
            assert hear(client) == b"Happy and well\r\n"
    wait_until(lambda: daemon.ask(b"alice\r\n") == b"Happy and well\r\n")


def test_queries_beyond_the_rate_are_refused(start: Start) -> None:
    daemon = start(STATIC % "x" + "limits: {rate: 2}\n")
    answers = [daemon.ask(b"alice\r\n") for _ in range(3)]
    assert answers == [b"Happy and well\r\n"] * 2 + [b"Too many queries, try again later\r\n"]
    daemon.logged("outcome=limited")


def test_when_all_connections_are_in_use_the_longest_silent_one_is_closed(start: Start) -> None:
    daemon = start(STATIC % "x" + "limits: {connections: 3}\n")
    with daemon.connect() as talker, daemon.connect() as silent:
        for said in (b"al", b""):  # an answer says that all clients before it were accepted, and were read
            assert daemon.ask(b"alice\r\n") == b"Happy and well\r\n"
            daemon.logged("outcome=answered")
            talker.sendall(said)
        with daemon.connect():
            assert daemon.ask(b"alice\r\n") == b"Happy and well\r\n"
            daemon.logged("connection limit (3) reached")
            assert hear(silent) == b""
            assert "outcome=dropped" in daemon.logged("client=")
            talker.sendall(b"ice\r\n")
            assert hear(talker) == b"Happy and well\r\n"
    daemon.logged("below the limit again")


def test_a_denied_client_gets_no_other_answer(start: Start) -> None:
    daemon = start(POLICY + "  - {from: any, deny: true}\nlimits: {rate: 1, query_bytes: 5}\n")
    for query in (b"alice\r\n", b"alice\r\n", b"a" * 100 + b"\r\n", b"a\0\r\n"):
        assert daemon.ask(query) == b"Finger service denied\r\n"


def test_a_reset_leaves_what_was_asked_in_the_log(start: Start) -> None:
    daemon = start(STATIC % "x")
    client = daemon.connect()
    client.sendall(b"secretname")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert "outcome=hung-up" in daemon.logged("client=")


def test_queries_are_answered_although_descriptors_run_out(start: Start) -> None:
    daemon = start(STATIC % "x" + "limits: {threads: 1, connections: 1000}\n", inside=("prlimit", "--nofile=90:90"))
    with contextlib.ExitStack() as clients:
        for _ in range(60):
            clients.enter_context(daemon.connect())
        assert daemon.ask(b"alice\r\n") == b"Happy and well\r\n"
