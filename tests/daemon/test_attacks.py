"""The attacks on finger daemons since 1988, each tried on a real process, one number for each.

After every attack three things hold: a good client is answered; each
connection of the attack is logged in one line, with the right outcome and
without terminal controls; and all descriptors are closed.
"""

import contextlib
import json
import os
import pwd
import random
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import Start
from tests.helpers.daemons import FINGERD, ROOT, TIMEOUT, Daemon, Machine, descriptors, hear, status, wait_until

# What each attack is, and the tests in other files that cover it too.
ATTACKS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "an over-long line",
        (
            "test_a_line_that_is_too_long_is_answered_before_its_end",
            "test_every_query_is_answered_and_logged",
        ),
    ),
    2: (
        "a file's name as a user's",
        (
            "test_11_tells_the_page_of_the_user",
            "test_it_knows_no_hostile_name_and_finds_a_login_in_many_threads_at_once",
            "test_nothing_of_a_name_reaches_the_server_but_one_segment",
        ),
    ),
    3: (
        "links and files of users, read by root",
        (
            "test_a_link_does_not_make_root_give_away_another_file",
            "test_a_pid_file_that_is_a_symbolic_link_is_refused",
            "test_uid_drops_root_for_good",
            "test_12_binds_port_79_and_gives_root_away",
        ),
    ),
    4: ("format strings", ("test_what_is_put_into_a_header_is_not_looked_at_again",)),
    5: (
        "a shell's characters",
        ("test_10_names_are_one_argument_or_reach_no_program",),
    ),
    6: ("programs of users", ()),
    7: ("connections that go out", ()),
    8: (
        "an option as a user's name",
        ("test_a_name_that_begins_with_a_dash_runs_nothing",),
    ),
    9: (
        "queries that are to be forwarded",
        (
            "test_a_name_with_a_private_address_is_refused",
            "test_no_query_returns_to_the_host_that_sends_it",
            "test_the_size_and_the_time_of_an_answer_are_bounded",
        ),
    ),
    10: ("names that match more than one user", ()),
    11: (
        "guessing names",
        ("test_queries_beyond_the_rate_are_refused",),
    ),
    12: (
        "escape sequences for a terminal",
        ("test_every_line_of_any_answer_ends_with_crlf_and_has_no_control_character",),
    ),
    13: (
        "NUL, eight bits, bad UTF-8, telnet",
        ("test_any_bytes_are_a_query_that_survives_encoding_or_an_error",),
    ),
    14: (
        "forged log lines",
        (
            "test_every_byte_can_be_decoded_from_the_log",
            "test_clients_that_overdo_it_are_found_and_others_are_not",
        ),
    ),
    15: (
        "lines that never come, or drip",
        (
            "test_a_silent_client_is_closed_when_read_seconds_are_over",
            "test_dripping_bytes_do_not_prolong_read_seconds",
            "test_when_all_connections_are_in_use_the_longest_silent_one_is_closed",
        ),
    ),
    16: (
        "answers that are not read",
        (
            "test_a_client_that_never_reads_is_closed_when_write_seconds_are_over",
            "test_a_slow_reader_gets_all_of_a_long_answer",
        ),
    ),
    17: (
        "storms of resets",
        ("test_a_client_that_is_gone_before_the_answer_leaves_a_line_and_no_traceback",),
    ),
    18: (
        "no descriptors, no threads",
        (
            "test_queries_are_answered_although_descriptors_run_out",
            "test_accepting_pauses_while_there_are_no_descriptors",
            "test_the_pool_goes_on_where_no_thread_can_be_started",
        ),
    ),
    19: (
        "more than one line",
        ("test_a_client_that_sends_100_kb_after_its_line_reads_all_of_its_answer",),
    ),
    20: (
        "large answers to small queries, and loops",
        (
            "test_an_answer_over_reply_bytes_is_cut_at_a_line_and_says_so",
            "test_a_huge_page_is_cut_and_not_loaded",
        ),
    ),
    21: (
        "zombies and orphans",
        (
            "test_a_program_that_exceeds_its_timeout_is_killed_with_its_children",
            "test_programs_of_a_replaced_configuration_end_with_the_daemon",
        ),
    ),
    22: (
        "errors that disclose internals",
        (
            "test_09_the_cause_of_a_failure_is_in_the_log_only",
            "test_an_unexpected_error_in_a_backend_is_logged_with_one_traceback",
        ),
    ),
    23: (
        "users whose names are words of YAML",
        ("test_a_broken_file_is_refused_with_every_problem_and_its_place",),
    ),
    24: (
        "clients that stay when the daemon stops",
        ("test_running_queries_get_drain_seconds_and_incomplete_requests_are_dropped",),
    ),
}

ATTACKER = "127.0.0.66"
GOOD = (b"alice\r\n", b"Happy and well\r\n")
ANSWERED, UNKNOWN = GOOD[1], b"No such user\r\n"
MALFORMED, TOO_LONG = b"Malformed query\r\n", b"Query too long\r\n"
NO_LIST, NO_FORWARDING = b"Finger online user list denied\r\n", b"Finger forwarding service denied\r\n"
INVALID, BUSY = b"Internal error in server\r\n", b"Finger service is busy, try again later\r\n"
OUTCOMES = {
    ANSWERED: "answered",
    UNKNOWN: "unknown",
    MALFORMED: "malformed",
    TOO_LONG: "too-long",
    NO_LIST: "refused",
    NO_FORWARDING: "refused",
}

LISTEN = 'listen: "127.0.0.1:0"\n'
STATIC = LISTEN + "backend: {type: static, users: {alice: Happy and well, bob: b}}\nlimits: {per_client: 1000}\n"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "
ACCESS = re.compile(STAMP + r'client=(\S+) query=("(?:[^"\\]|\\.)*") outcome=([a-z-]+) bytes=(\d+) ms=\d+\.\d')
RECORD = re.compile(STAMP + r"(INFO|WARNING) [a-z.]+: .*")

Case = tuple[bytes, bytes]  # what an attacker sends, and what it receives


class Line(NamedTuple):
    """The access line of one connection."""

    client: str
    query: str
    outcome: str
    sent: int


class Target:
    """A daemon under attack, and the checks of what must hold afterwards."""

    def __init__(self, daemon: Daemon, good: Case = GOOD) -> None:
        self.daemon = daemon
        self.pid = daemon.process.pid
        self.warnings: list[str] = []
        self._good = good
        self.ask_well()
        self.descriptors = descriptors(self.pid)  # without any client's

    def connect(self, source: str = ATTACKER) -> socket.socket:
        """A connection of an attacker, which has sent nothing."""
        return socket.create_connection(self.daemon.address, TIMEOUT, source_address=(source, 0))

    def ask(self, query: bytes, source: str = ATTACKER) -> bytes:
        """The answer to an attacker."""
        with self.connect(source) as client:
            client.sendall(query)
            if b"\n" not in query:
                client.shutdown(socket.SHUT_WR)
            return hear(client)

    def ask_well(self) -> None:
        """Check that a good client is answered, and that nothing else is logged."""
        query, reply = self._good
        assert self.daemon.ask(query) == reply
        (line,) = self.lines(1)
        assert (line.client, line.query) == ("127.0.0.1", logged_as(query))

    def lines(self, count: int) -> list[Line]:
        """The next ``count`` access lines; warnings between them are kept in ``warnings``."""
        begun = len(self.daemon.log)
        for _ in range(count):
            self.daemon.logged("client=")
        found = []
        for text in self.daemon.log[begun:]:
            assert text.isprintable(), ascii(text)
            access = ACCESS.fullmatch(text)
            if access:
                assert text.isascii()
                assert len(access[2]) <= 1000
                found.append(Line(access[1], json.loads(access[2]), access[3], int(access[4])))
            else:
                assert RECORD.fullmatch(text), text
                self.warnings.append(text)
        assert len(found) == count
        return found

    def survive(self, connections: int) -> list[Line]:
        """The access lines of an attack's connections; checks that everything else is as before."""
        lines = self.lines(connections)
        assert {line.client for line in lines} <= {ATTACKER}
        self.ask_well()
        wait_until(lambda: descriptors(self.pid) == self.descriptors)
        return lines

    def survive_queries(self, cases: Iterable[Case], outcomes: dict[bytes, str] = OUTCOMES) -> None:
        """Check that each query gets its answer, and is logged with the outcome of that answer."""
        cases = list(cases)
        for query, reply in cases:
            assert self.ask(query) == reply, query
        expected = Counter((logged_as(query)[:80], outcomes[reply], len(reply)) for query, reply in cases)
        lines = self.survive(len(cases))
        assert Counter((line.query[:80], line.outcome, line.sent) for line in lines) == expected

    def stop(self) -> None:
        """Stop the daemon; checks that it logs only its end."""
        begun = len(self.daemon.log)
        assert self.daemon.stop() == 0
        assert [RECORD.sub(r"\1", line) for line in self.daemon.log[begun:]] == ["INFO"]


def logged_as(query: bytes) -> str:
    """The first line as the text that is logged."""
    line = re.split(rb"[\r\n]", query)[0]
    for charset in ("utf-8", "windows-1252"):
        with contextlib.suppress(UnicodeDecodeError):
            return line.decode(charset)
    return line.decode("latin-1")  # it has bytes that are no text


def reset(client: socket.socket) -> None:
    """Close with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacks")


@pytest.fixture(scope="module")
def static(folder: Path) -> Iterator[Target]:
    """A daemon that knows alice and bob."""
    config = folder / "static.yaml"
    config.write_text(STATIC)
    target = Target(Daemon(config))
    yield target
    target.stop()


@pytest.fixture(scope="module")
def command(folder: Path) -> Iterator[Target]:
    """A daemon that runs a program, which prints its arguments."""
    program = folder / "arguments"
    log = folder / "arguments.log"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {log}\nprintf '%s <%s>\\n' $# \"$1\"\n")
    program.chmod(0o755)
    config = folder / "command.yaml"
    config.write_text(LISTEN + f'backend: {{type: command, argv: ["{program}", "{{user}}"]}}\n')
    target = Target(Daemon(config), (b"alice\r\n", b"1 <alice>\r\n"))
    yield target
    target.stop()


def test_every_attack_is_covered_here_or_elsewhere() -> None:
    assert list(ATTACKS) == list(range(1, 25))
    numbers = re.findall(r"^def test_(\d\d)(?:_and_(\d\d))?_", Path(__file__).read_text(), re.MULTILINE)
    here = {int(number) for pair in numbers for number in pair if number}
    tests = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^def (\w+)", path.read_text(), re.MULTILINE)
    }
    for number, (what, elsewhere) in ATTACKS.items():
        assert number in here or elsewhere, what
        assert tests.issuperset(elsewhere)


def test_01_over_long_line(static: Target) -> None:
    """The Morris worm of 1988 put 536 bytes into the 512 of gets(); later daemons fell to sscanf and sprintf."""
    worm = b"\x01" * 400 + b"\xdd\x8f/sh\0\xdd\x8f/bin\xd0^Z\xdd\0\xdd\0\xdd^Z\xdd\x03\xd0^\\\xbc;" + b"\0" * 94
    lengths = [1, 511, 512, 513, *range(1020, 1024), 1024, 1025, 1026, 1027, 2048, 4096, 8192, 65535, 500_000]
    static.survive_queries(
        [
            (worm + b"\n", MALFORMED),
            *(
                (b"a" * length + end, UNKNOWN if length <= 1024 else TOO_LONG)
                for length in lengths
                for end in (b"\r\n", b"\n", b"")
            ),
            *((fill * 5000, TOO_LONG) for fill in (b"\0", b"@", b" ", b"\xff", b"\xff\xf4", b"/W ", "é".encode())),
            *((fill * 5000 + b"\r\n", TOO_LONG) for fill in (b"%n", b"\xff\xfa", b'"', b"\x1b[2J")),
            *((b"alice\r" + b"x" * 5000 + end, ANSWERED) for end in (b"", b"\r\n")),
            (b"\r" * 5000, NO_LIST),
        ]
    )


def test_01_over_long_line_costs_no_memory(static: Target) -> None:
    """Of all that is sent, no more than one line is kept."""
    before = int(status(static.pid, "VmHWM")[0])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(static.connect()) for _ in range(40)]
        for _ in range(9):
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    client.sendall(b"a" * 100_000)
        for client in clients:
            with contextlib.suppress(ConnectionError):
                assert hear(client) == TOO_LONG
    assert {line.outcome for line in static.survive(40)} == {"too-long"}
    assert int(status(static.pid, "VmHWM")[0]) - before < 8_000  # kB, of 36,000 that were sent


FILES = [
    *("/etc/passwd", "//etc/shadow", "../../etc/passwd", "../" * 50 + "etc/passwd", "file:///etc/passwd"),
    *("..%2f..%2fetc%2fpasswd", "..\\..\\boot.ini", "/dev/zero", "/dev/stdin", "/proc/self/environ", "/"),
    *("~", "~root", "~/.plan", "~root/.plan", ".plan", ".", "..", "...", "./alice", "alice/", "alice/../alice"),
    *("alice/.", "alice.txt", "fingerd.yaml", "./static.yaml", "\u2025/\u2025/etc/passwd", "/W/etc/passwd"),
]


def test_02_file_name_as_user(static: Target, command: Target, folder: Path) -> None:
    """FreeBSD's fingerd of 2000 sent any file whose name was queried, CVE-2000-0915: here names are keys."""
    names = [*FILES, str(folder / "static.yaml"), os.path.relpath(folder / "static.yaml")]
    queries = [name.encode() for name in names]
    static.survive_queries([(prefix + query + b"\r\n", UNKNOWN) for query in queries for prefix in (b"", b"/W ")])
    replies = {query: b"1 <" + query + b">\r\n" for query in queries}
    command.survive_queries(
        [(query + b"\r\n", reply) for query, reply in replies.items()], dict.fromkeys(replies.values(), "answered")
    )


def test_03_and_06_links_and_programs_of_users(start: Start, tmp_path: Path) -> None:
    """GNU fingerd ran .fingerrc as root and read whatever .plan was a link to, CVE-1999-1165; cfingerd ran programs."""
    home, secret, witness = tmp_path / "home", tmp_path / "secret", tmp_path / "witness"
    home.mkdir()
    secret.write_text("a secret\n")
    for name in (".plan", ".project", ".nofinger", ".pgpkey"):
        (home / name).symlink_to(secret)
    for name in (".fingerrc", ".fingerdrc", "nobody", "finger"):
        (home / name).write_text(f"#!/bin/sh\ntouch {witness}\necho a secret\n")
        (home / name).chmod(0o755)
    inside = ("env", f"HOME={home}", f"PATH={home}:{os.environ['PATH']}")
    target = Target(start(STATIC, "--rundir", str(home), inside=inside))
    names = ["nobody", "root", "home", "~", ".plan", ".fingerrc", "./nobody", "|nobody", "finger", pwd.getpwuid(0)[0]]
    target.survive_queries([(f"{name}\r\n".encode(), UNKNOWN) for name in names])
    assert not witness.exists()


FORMATS = [
    *("%s%n", "%s" * 100, "%n" * 100, "%08x.%08x.%08x", "%", "%%", "%(asctime)s", "%(message)s", "%99999d", "%1$s"),
    *("{}", "{0}", "{", "}", "{{", "{0.__class__}", "{client.__class__.__init__}", "{user}", "{time}", "{client}"),
    *("{user!r}", "{client:>999999999}", "$user", "${user}", "$$", "\\N{BULLET}", "\\x1b[2J", "\\", "\\n", "\\0"),
]


def test_04_format_strings(start: Start) -> None:
    """decfingerd CVE-2002-2091, cfingerd through syslog CVE-2001-0609, PFinger through a plan CVE-2001-1215."""
    plan = "%s%n {user} {client.__class__} %(message)s"
    config = (
        f'reply: {{header: "{{user}} at {{client}} {{x}}"}}\nbackend:\n  type: static\n  users: {{alice: "{plan}"}}\n'
    )
    good = f"alice at 127.0.0.1 {{x}}\r\n{plan}\r\n".encode()
    target = Target(start(LISTEN + config), (b"alice\r\n", good))
    replies = {name: f"{name} at {ATTACKER} {{x}}\r\n".encode() + UNKNOWN for name in FORMATS}
    target.survive_queries(
        [(f"{name}\r\n".encode(), reply) for name, reply in replies.items()],
        dict.fromkeys(replies.values(), "unknown"),
    )


def test_04_format_strings_in_the_log_of_failures(start: Start) -> None:
    """The standard error of a program is logged as it is, except terminal controls."""
    program = 'case "$1" in alice) echo fine ;; *) printf "no %s\\n" "$1" >&2; exit 3 ;; esac'
    argv = ["sh", "-c", program, "sh", "{user}"]
    target = Target(
        start(LISTEN + f"backend: {{type: command, argv: {json.dumps(argv)}}}\n"), (b"alice\r\n", b"fine\r\n")
    )
    names = [*FORMATS, "a\u2028b", "a\u2029b", 'x" outcome=answered']
    target.survive_queries([(f"{name}\r\n".encode(), INVALID) for name in names], {INVALID: "error"})
    causes = [line.partition("command sh: exit status 3: no ")[2] for line in target.warnings if "failed" in line]
    assert sorted(causes) == sorted(" ".join(name.split()) for name in names)


def test_05_shell_characters(command: Target, folder: Path) -> None:
    """DG/UX fingerd gave names to a shell, CVE-1999-0152; so did many scripts around finger(1)."""
    witness = folder / "witness"
    run = f"touch {witness}"
    names = [
        *(f"$({run})", f"`{run}`", f";{run}", f"|{run}", f"||{run}", f"&&{run}", f"&{run}&", f"alice;{run};", "(id)"),
        *(f"'; {run}; '", f'"; {run}; "', f"$IFS{run}", f"\\\\;{run}", f">{witness}", f"<{witness}", f">>{witness}"),
        *("$(id)", "`id`", "|id", ";id", "*", "?", "[a-z]*", "~", "!!", "#", "$0", "$*", "{a,b}", "a  b", "a\tb", "'"),
    ]
    replies = {name: f"1 <{name}>\r\n".encode() for name in names}
    command.survive_queries(
        [(f"{name}\r\n".encode(), reply) for name, reply in replies.items()],
        dict.fromkeys(replies.values(), "answered"),
    )
    assert not witness.exists()


@pytest.mark.root
def test_07_and_09_no_connection_goes_out(start: Start, host: Machine) -> None:
    """cfingerd asked every client's ident server who it was, and could be overrun by the answer, CVE-2013-1049."""
    daemon = start(STATIC, inside=host.inside)
    queries = [b"alice", b"bob@127.0.0.1", b"@localhost", b"bob@a.example@127.0.0.1", b"-l bob@localhost", b"", b"\0"]
    client = (
        f"import socket\nfor query in {queries!r}:\n"
        f"    with socket.create_connection({daemon.address!r}, 10) as client:\n"
        "        client.sendall(query + b'\\r\\n')\n"
        "        print(client.recv(100))\n"
    )
    before = packets(host)
    done = host.run(sys.executable, "-c", client)
    assert done.stdout.splitlines() == list(
        map(repr, [ANSWERED, NO_FORWARDING, NO_LIST, NO_FORWARDING, UNKNOWN, NO_LIST, MALFORMED])
    )
    after = packets(host)
    assert after["Tcp ActiveOpens"] - before["Tcp ActiveOpens"] == len(queries)  # those of the client
    assert after["Udp OutDatagrams"] == before["Udp OutDatagrams"]


def packets(host: Machine) -> dict[str, int]:
    """The kernel's counters on this machine, by protocol and name."""
    lines = [line.split() for line in host.run("cat", "/proc/net/snmp").stdout.splitlines()]
    return {
        f"{names[0].rstrip(':')} {name}": int(value)
        for names, values in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names[1:], values[1:], strict=True)
    }


def test_08_option_as_user(command: Target, folder: Path) -> None:
    """BSD's fingerd gave -l and other names that begin with a dash to finger(1), which took them for options."""
    names = [
        *(b"-l", b"-", b"--", b"-s", b"-lmspho", b"--help", b"--version", b"-l alice", b"-f/etc/passwd", b"-\xc3\xa9"),
        *(b" -l", b"\t-l", b"  \t --help ", b"/W -l", b"/w\t--help", b"-l /W", b"/W /W -l"),
        *(b"\xff\xf4-l", b"\xff\xfd\x06 -l", b"\xff\xfa\x18\0vt100\xff\xf0--help", b"-\xff\xf4l"),
    ]
    command.survive_queries([(name + b"\r\n", UNKNOWN) for name in names])
    given = (folder / "arguments.log").read_text().splitlines()
    assert "alice" in given
    assert not [name for name in given if name.startswith("-")]


def test_09_bounce(static: Target) -> None:
    """user@a@b hides the client and crosses firewalls, CVE-1999-0106; many @ crashed daemons, CVE-1999-0105."""
    refused = [
        *(b"alice@a", b"alice@a@b", b"@a", b"@a@b", b"/W @a", b"/W alice@a@b@c", b"alice@127.0.0.1", b"a b@c"),
        *(b"@localhost" * 100, b"@a" * 500, b"a" + b"@h" * 511, b"alice@[::1]", b"alice@0x7f.1", b"@../../x"),
        *(b"alice@$(id)", b"alice@`id`", b"alice@;id", b"alice@-l", b"-l@a", b"alice @ a", b"@\xc3\xa9", b"@*"),
    ]
    malformed = [b"@", b"@@", b"alice@", b"@" * 1000, b"@" * 1024, b"alice@@b", b"a@b@", b"a@b c", b"a@ @b", b"@\t"]
    static.survive_queries(
        [
            *((query + b"\r\n", NO_FORWARDING) for query in refused),
            *((query + b"\r\n", MALFORMED) for query in malformed),
            (b"@" * 1025 + b"\r\n", TOO_LONG),
        ]
    )


def test_10_magic_names(static: Target) -> None:
    """0, . and search.** listed accounts of SunOS and others, CVE-1999-0197, -0198 and -0259: here no name does."""
    names = [
        *("0", ".", "**", "*", "?", "search.**", "search.*", "al*", "alic?", "[a-z]*", "^.*$", ".*", "%", "_", "al%"),
        *("ali", "alicea", "ALICE", "Alice", "alice bob", "alice,bob", "alice;bob", "all", "everyone", "users", "who"),
        *("' OR 1=1 --", "(uid=*)", "*)(uid=*", "${jndi:ldap://x/a}", "\u0430lice", "\uff41lice", "alice\u200b"),
        *("-1", "65536", "null", "None", "undefined", "__class__", "type", "__proto__", "alice/W", "/Walice"),
    ]
    static.survive_queries([(f"{name}\r\n".encode(), UNKNOWN) for name in names])
    lists = [b"", b" ", b"\t", b"/W", b"/w", b"/W /W", b" /W ", b"/W \t/w", b"\xff\xf4", b"\xff\xfd"]
    static.survive_queries([(query + b"\r\n", NO_LIST) for query in lists])


def test_11_accounts_of_the_host(static: Target) -> None:
    """The accounts of a host help to guess passwords, CVE-1999-0612."""
    names = {account.pw_name for account in pwd.getpwall()} - {"alice", "bob"} | {"no-such-account", "root ", "Root"}
    static.survive_queries([(prefix + name.encode() + b"\r\n", UNKNOWN) for name in names for prefix in (b"", b"/W ")])


def test_12_terminal_escapes_in_queries(static: Target) -> None:
    """What a client sends must not control the terminal of another client, or of a reader of the log."""
    controls = [bytes([code]) for code in (*range(9), 11, 12, *range(14, 32), 127)]
    controls += [chr(code).encode() for code in range(128, 160)]
    controls += [bytes([code]) for code in (0x81, 0x8D, 0x8F, 0x90, 0x9D)]
    sequences = [
        b"\x1b[2J",
        b"\x1b]0;owned\x07",
        b"\x1bP$q\x1b\\",
        b"\xc2\x9b31m",
        b"\x1b[6n",
        b"\x0e",
        b"\b" * 80,
    ]
    static.survive_queries(
        [
            *((b"al" + control + b"ice\r\n", MALFORMED) for control in controls + sequences),
            *((control + b"\r\n", MALFORMED) for control in controls + sequences),
            *((b"alice@" + control + b"\n", MALFORMED) for control in controls + sequences),
            *((b"al" + bytes([code]) + b"ice\r\n", UNKNOWN) for code in (0x80, 0x85, 0x92, 0x9B, 0x9F)),  # windows-1252
            (b"\x9b31m\r\n", UNKNOWN),
        ]
    )


def test_12_terminal_escapes_in_answers(start: Start, tmp_path: Path) -> None:
    """Nor may what a program prints."""
    texts = {
        "escapes": (b"\x1b[31mred\x1b]0;owned\x07\n", b"?[31mred?]0;owned?\r\n"),
        "c0": (bytes(range(32)) + b"\x7f\n", b"?" * 9 + b"\t\r\n??\r\n" + b"?" * 18 + b"?\r\n"),
        "c1": ("a\x9bb\x85c\xadé\n".encode(), "a?b?c\xadé\r\n".encode()),
        "bytes": (b"a\x9bb\x85c\xe9\n", "a›b…cé\r\n".encode()),
        "lines": (b"a\rb\r\nc\nd\x0be\x0cf", b"a\r\nb\r\nc\r\nd?e?f\r\n"),
    }
    for name, (text, _) in texts.items():
        (tmp_path / name).write_bytes(text)
    program = 'cd "$1" && [ -e "$2" ] && cat "$2" || true'
    argv = ["sh", "-c", program, "sh", str(tmp_path), "{user}"]
    target = Target(start(LISTEN + f"backend: {{type: command, argv: {json.dumps(argv)}}}\n"), (b"alice\r\n", UNKNOWN))
    target.survive_queries(
        [(f"{name}\r\n".encode(), reply) for name, (_, reply) in texts.items()],
        {reply: "answered" for _, reply in texts.values()},
    )


def test_13_odd_bytes_and_telnet(static: Target) -> None:
    """Old daemons cut names at NUL, dropped the eighth bit, and did not handle what telnet clients send."""
    static.survive_queries(
        [
            *((query + b"\r\n", MALFORMED) for query in (b"\0", b"alice\0", b"\0alice", b"alice\0\r", b"al\0\0ice")),
            *((query + b"\r\n", ANSWERED) for query in (b"\xff\xf4alice", b"alice\xff\xf4", b"\xff\xfd\x06alice")),
            *((query + b"\r\n", ANSWERED) for query in (b"al\xff\xfb\x18ice", b"\xff\xfa\x18\0xterm\xff\xf0alice")),
            *(
                (query + b"\r\n", ANSWERED)
                for query in (b"alice\xff", b"alice\xff\xfa\x18", b"alice\xff\xfd", b"\xffalice")
            ),
            *((query + b"\r\n", UNKNOWN) for query in (b"alice\xff\xff", b"al\xff\xfbice", b"\xe9lise", b"\xe1lice")),
            # overlong forms, surrogates, code points beyond the last one, half characters: all are windows-1252
            *((query + b"\r\n", UNKNOWN) for query in (b"\xc0\xafetc", b"\xc1\xa1lice", b"\xf5\xbf\xbf\xbf", b"\xc3")),
            *(
                (query + b"\r\n", UNKNOWN)
                for query in (b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\x80alice", b"\xc0\x9b")
            ),
            *(
                (query + b"\r\n", MALFORMED)
                for query in (b"\xed\xa0\x81", b"\xf0\x9f\x90", b"\xc0\x81alice", b"\xc0\x9d")
            ),
            *((query + b"\r\n", UNKNOWN) for query in (b"a\xc2\xadlice", b"\xf4\x8f\xbf\xbf", b"al\xef\xbb\xbfice")),
            *((query + b"\r\n", ANSWERED) for query in (b"\xef\xbb\xbfalice", b"alice\r\0", b"alice\r", b"alice\r\r")),
        ]
    )


def test_13_urgent_data(static: Target) -> None:
    """Telnet's Synch is urgent data: a byte that is read apart. It is no part of a line, and the loop does not spin."""
    with contextlib.ExitStack() as stack:
        before, within, after, silent = (
            [stack.enter_context(static.connect()) for _ in range(10)] for _ in ("before", "within", "after", "silent")
        )
        for client in (*before, *within, *silent):
            if client in within:
                client.sendall(b"ali")
            client.send(b"!", socket.MSG_OOB)
        used = processor_seconds(static.pid)
        time.sleep(1)
        assert processor_seconds(static.pid) - used < 0.3
        for clients, line in ((before, b"alice\r\n"), (within, b"ce\r\n"), (after, b"alice\r\n")):
            for client in clients:
                client.sendall(line)
        for client in after:
            with contextlib.suppress(ConnectionError):  # it may be closed already
                client.send(b"!", socket.MSG_OOB)
        assert [hear(client) for client in (*before, *within, *after)] == [ANSWERED] * 30
    assert Counter(line.outcome for line in static.survive(40)) == {"answered": 30, "hung-up": 10}


@pytest.mark.parametrize("seed", range(4))
def test_13_random_bytes(static: Target, seed: int) -> None:
    """Any bytes are a query: each gets one of the documented answers, and an access line."""
    draw = random.Random(seed)
    pieces = [
        b"alice",
        b"@",
        b" ",
        b"/W",
        b"\xff",
        b"\xff\xfa",
        b"\xff\xf0",
        b"\0",
        b"\x1b[",
        b"\t",
        b"\xc3",
        b"\xa9",
        b"%",
    ]
    queries = []
    for _ in range(150):
        length = draw.choice([1, 2, 5, 20, 200, 1023, 1024, 1030])
        some = draw.randbytes(length) if draw.random() < 0.5 else b"".join(draw.choices(pieces, k=length))[:1500]
        queries.append(some.replace(b"\n", b"") + draw.choice([b"\r\n", b"\n", b"\r\nmore", b"\r"]))
    replies = [static.ask(query) for query in queries]
    assert set(replies) <= set(OUTCOMES)
    lines = static.survive(len(queries))
    assert Counter((line.outcome, line.sent) for line in lines) == Counter(
        (OUTCOMES[reply], len(reply)) for reply in replies
    )


FORGERIES = [
    b'alice" outcome=answered bytes=16 ms=0.1',
    b"alice\\",
    b'alice\\" outcome=answered',
    b'"' * 1024,
    b"\\" * 1024,
    "alice\u2028client=192.0.2.7".encode(),
    "alice\u2029client=192.0.2.7".encode(),
    "\u202ealice\u2066\u2069\u200b\ufeff".encode(),
    "\U0001f600".encode() * 256,
    b"\xe9" * 1024,
    b"\\u001b[2J",
    b"%0d%0aclient=192.0.2.7",
    b"2026-01-01T00:00:00+00:00 client=192.0.2.7 query=",
    b"</script><script>alert(1)</script>",
    b"=cmd|' /C calc'!A0",
    b'{"client": "192.0.2.7"}',
]
BROKEN_LINES = [
    b"bob\x1b\rclient=192.0.2.7",
    b"alice\x0bx",
    b"alice\x0cx",
    "alice\x85x".encode(),
    b"alice\x81x",
    b"\x1b[1A\x1b[2K",
]


def test_14_log_forging(static: Target, start: Start) -> None:
    """A name that ends a log line, or changes its look, would forge entries about other clients."""
    cases = [(query + b"\r\n", UNKNOWN) for query in FORGERIES]
    cases += [(query + b"\r\n", MALFORMED) for query in BROKEN_LINES]
    cases.append((b"alice\rclient=192.0.2.7\r\n", ANSWERED))
    static.survive_queries(cases)
    daemon = start(STATIC + "log: {format: json}\n")
    for query, reply in cases:
        assert daemon.ask(query) == reply
    assert daemon.stop() == 0
    lines = [line for line in daemon.log if '"outcome"' in line]
    assert all(line.isascii() and line.isprintable() for line in lines)
    entries = [json.loads(line) for line in lines]
    assert all(list(entry) == ["time", "client", "query", "outcome", "bytes", "ms"] for entry in entries)
    assert Counter((entry["query"][:80], entry["outcome"]) for entry in entries) == Counter(
        (logged_as(query)[:80], OUTCOMES[reply]) for query, reply in cases
    )


def test_15_slow_lines(start: Start) -> None:
    """Slowloris, 2009: a client that sends nothing, or a byte now and then, is closed after read_seconds."""
    target = Target(start(STATIC.replace("{per", "{read_seconds: 1, per")))
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        silent = {stack.enter_context(target.connect()) for _ in range(60)}
        dripping = {stack.enter_context(target.connect()) for _ in range(60)}
        answered = 0
        while silent | dripping and time.monotonic() < begun + TIMEOUT:
            for client in dripping:
                with contextlib.suppress(ConnectionError):
                    client.sendall(b"a")
            assert target.daemon.ask(b"alice\r\n") == ANSWERED
            answered += 1
            for client in select.select(silent | dripping, [], [], 0.05)[0]:
                with contextlib.suppress(ConnectionError):
                    assert client.recv(1) == b""
                assert time.monotonic() - begun >= 1
                silent.discard(client)
                dripping.discard(client)
        assert not silent | dripping
        assert time.monotonic() - begun < 5
    lines = target.lines(120 + answered)
    assert Counter((line.client, line.outcome) for line in lines) == {
        (ATTACKER, "timeout"): 120,
        ("127.0.0.1", "answered"): answered,
    }
    assert len([line for line in lines if line.query.startswith("aa")]) == 60
    target.survive(0)


def test_16_slow_readers(start: Start) -> None:
    """The same for answers: a client that reads little or nothing is closed after write_seconds."""
    program = 'case "$1" in big) yes all work and no play | head -c 8000000 ;; *) echo Happy and well ;; esac'
    argv = json.dumps(["sh", "-c", program, "sh", "{user}"])
    limits = "limits: {write_seconds: 1, reply_bytes: 64MiB}\n"
    target = Target(start(LISTEN + limits + f"backend: {{type: command, argv: {argv}, output_bytes: 32MiB}}\n"))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(6)]
        begun = time.monotonic()
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.bind((ATTACKER, 0))
            client.connect(target.daemon.address)
            client.settimeout(TIMEOUT)
            client.sendall(b"big\r\n")
        over = threading.Event()

        def sip() -> None:
            while not over.wait(0.05):
                for client in clients[:3]:
                    with contextlib.suppress(OSError):
                        client.recv(1000)

        sipping = threading.Thread(target=sip)
        sipping.start()
        try:
            lines = target.lines(1)
            assert time.monotonic() - begun >= 1
            lines += target.lines(5)
        finally:
            over.set()
            sipping.join()
    assert Counter((line.client, line.query, line.outcome) for line in lines) == {(ATTACKER, "big", "timeout"): 6}
    assert all(line.sent < 8_000_000 for line in lines)
    target.survive(0)


def half_a_line_sent(client: socket.socket) -> None:
    client.sendall(b"ali")


def line_sent(client: socket.socket) -> None:
    client.sendall(b"alice\r\n")


def end_sent(client: socket.socket) -> None:
    client.sendall(b"alice")
    client.shutdown(socket.SHUT_WR)


def more_sent(client: socket.socket) -> None:
    client.sendall(b"alice\r\n" + b"x" * 10_000)


def answer_begun(client: socket.socket) -> None:
    line_sent(client)
    client.recv(1)


def answer_received(client: socket.socket) -> None:
    line_sent(client)
    hear(client)


STAGES: dict[Callable[[socket.socket], object], set[str]] = {
    socket.socket.getpeername: {"hung-up"},
    half_a_line_sent: {"hung-up"},
    line_sent: {"answered", "hung-up"},
    end_sent: {"answered", "hung-up"},
    more_sent: {"answered", "hung-up"},
    answer_begun: {"answered"},
    answer_received: {"answered"},
}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_17_reset_storm(static: Target, stage: Callable[[socket.socket], object]) -> None:
    """Scanners connect and reset by the hundred: each is logged, and none leaves a traceback or a descriptor."""
    for _ in range(200):
        client = static.connect()
        stage(client)
        reset(client)
    assert {line.outcome for line in static.survive(200)} <= STAGES[stage]


def test_17_reset_while_a_program_runs(start: Start) -> None:
    """A reset during an answer is not noticed before its end; the program ends, and the client is logged."""
    argv = ["sh", "-c", '[ "$1" = alice ] || sleep 0.1; echo "$1"', "sh", "{user}"]
    target = Target(
        start(LISTEN + f"backend: {{type: command, argv: {json.dumps(argv)}}}\n"), (b"alice\r\n", b"alice\r\n")
    )
    for _ in range(20):
        client = target.connect()
        client.sendall(b"bob\r\n")
        reset(client)
    assert {(line.query, line.outcome) for line in target.survive(20)} <= {("bob", "hung-up"), ("", "hung-up")}
    wait_until(lambda: not children(target.pid))


def test_18_no_more_descriptors(start: Start) -> None:
    """After a failed accept() the listener is still ready: a loop without a pause would use a whole processor."""
    target = Target(start(STATIC))
    allow_descriptors(target.pid, target.descriptors + 10)
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(target.connect())
        target.daemon.logged("accept failed, pausing: Too many open files")
        before = processor_seconds(target.pid)
        time.sleep(1)
        assert processor_seconds(target.pid) - before < 0.3
    assert {line.outcome for line in target.survive(40)} == {"hung-up"}
    logged = [line.partition("fingerd.server.acceptor: ")[2] for line in target.daemon.log if ".acceptor: " in line]
    assert logged[::2] == ["accept failed, pausing: Too many open files"] * (len(logged) // 2)
    assert logged[1::2] == ["accepting again"] * (len(logged) // 2)
    assert 2 <= len(logged) <= 10  # not one for each try


def processor_seconds(pid: int) -> float:
    """The processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_18_no_more_descriptors_for_programs(start: Start) -> None:
    """A query fails if its backend gets no descriptor; later ones succeed."""
    target = Target(start(LISTEN + "backend: {type: command, argv: [echo, fine]}\n"), (b"alice\r\n", b"fine\r\n"))
    enough = allow_descriptors(target.pid, target.descriptors + 3)
    assert [target.ask(b"bob\r\n") for _ in range(10)] == [INVALID] * 10
    target.lines(10)
    cause = "backend failed: command echo: [Errno 24] Too many open files"
    assert len([line for line in target.warnings if cause in line]) == 10
    allow_descriptors(target.pid, enough)
    assert target.ask(b"bob\r\n") == b"fine\r\n"
    target.survive(1)


def allow_descriptors(pid: int, count: int) -> int:
    """Set the limit of open descriptors of the process; returns the previous limit."""
    before, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, most))
    return before


@pytest.mark.root
def test_18_no_more_threads(start: Start) -> None:
    """can't start new thread: the existing threads go on, and more are started as soon as the system allows it."""
    account = str(100_000 + os.getpid())  # which has no other processes
    with socket.create_server(("127.0.0.1", 0)) as server:
        web = f"backend: {{type: web, prefix: 'http://127.0.0.1:{server.getsockname()[1]}/~'}}\n"
        limits = "limits: {threads: 16, answer_seconds: 60}\n"
        options = ("--uid", account, "--gid", account)
        daemon = start(LISTEN + web + limits, *options, inside=("prlimit", "--nproc=5:100"))
        pid = daemon.process.pid
        with contextlib.ExitStack() as stack:
            clients = [connect_from(f"127.0.0.{number}", daemon, stack) for number in range(2, 10)]
            for client in clients:
                client.sendall(b"alice\r\n")
            daemon.logged("can't start new thread: going on with 2 threads")
            server.settimeout(TIMEOUT)
            served = [stack.enter_context(server.accept()[0]) for _ in range(2)]
            assert status(pid, "Threads") == ["5"]
            drop_privileges = ["setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups"]
            subprocess.run([*drop_privileges, "prlimit", f"--pid={pid}", "--nproc=100"], check=True)
            served += [stack.enter_context(server.accept()[0]) for _ in range(6)]
            for page in served:
                page.settimeout(TIMEOUT)
                page.recv(65536)
                page.sendall(b"HTTP/1.0 200 OK\r\n\r\nHappy and well\n")
                page.close()
            assert [hear(client) for client in clients] == [ANSWERED] * 8
        assert daemon.stop() == 0
        assert not [line for line in daemon.log if "Traceback" in line or "ERROR" in line]
        assert len([line for line in daemon.log if "can't start new thread" in line]) == 1


def connect_from(source: str, daemon: Daemon, stack: contextlib.ExitStack) -> socket.socket:
    """A client with this source address."""
    return stack.enter_context(socket.create_connection(daemon.address, TIMEOUT, source_address=(source, 0)))


def test_19_more_than_one_line(static: Target) -> None:
    """A connection has one query; what follows it is ignored."""
    static.survive_queries(
        [
            (b"alice\r\n" * 5000, ANSWERED),
            (b"alice\r\nbob\r\n\r\n@a\r\n", ANSWERED),
            (b"alice\nbob\n", ANSWERED),
            (b"alice\r\n\0\x1b[2J\xff\xf4", ANSWERED),
            (b"\r\nalice\r\n", NO_LIST),
            (b"\n" * 2000, NO_LIST),
            (b"bo\r\nalice\r\n", UNKNOWN),
            (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", UNKNOWN),
            (b"EHLO example.org\r\nQUIT\r\n", UNKNOWN),
            (b"SSH-2.0-OpenSSH_9.2\r\n", UNKNOWN),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n" + b"\0" * 500, MALFORMED),
            (b"a" * 1025 + b"\r\nalice\r\n", TOO_LONG),
        ]
    )


def test_19_a_second_query_after_the_answer(static: Target) -> None:
    """Nor is a second query answered that comes after the first answer."""
    with static.connect() as client:
        client.sendall(b"alice\r\n")
        assert hear(client) == ANSWERED
        client.sendall(b"bob\r\n")
        assert client.recv(100) == b""
    (line,) = static.survive(1)
    assert (line.query, line.outcome, line.sent) == ("alice", "answered", len(ANSWERED))


def test_20_large_answers_and_loops(static: Target, start: Start) -> None:
    """chargen and echo over UDP were made to flood each other, CVE-1999-0103: here is only TCP, and answers end."""
    own = {os.readlink(f"/proc/{static.pid}/fd/{name}") for name in os.listdir(f"/proc/{static.pid}/fd")}
    sockets = {
        kind: {line.split()[9] for line in Path(f"/proc/{static.pid}/net/{kind}").read_text().splitlines()[1:]}
        for kind in ("tcp", "udp", "udp6", "raw", "raw6")
    }
    mine = {kind: len({f"socket:[{inode}]" for inode in inodes} & own) for kind, inodes in sockets.items()}
    assert mine == {"tcp": 1, "udp": 0, "udp6": 0, "raw": 0, "raw6": 0}
    # No answer is itself a query that this or another daemon would answer at length.
    static.survive_queries([(reply, UNKNOWN) for reply in (*OUTCOMES, INVALID, BUSY)])
    endless = Target(start(LISTEN + "backend: {type: command, argv: ['yes', '{user}']}\n"), (b"\r\n", NO_LIST))
    answer = endless.ask(b"alice\r\n")
    assert answer.removesuffix(b"[answer cut]\r\n") == b"alice\r\n" * (len(answer) // 7 - 2)
    assert len(answer) <= 256 * 1024
    (line,) = endless.survive(1)
    assert (line.outcome, line.sent) == ("answered", len(answer))


def test_21_zombies_and_orphans(start: Start, tmp_path: Path) -> None:
    """Daemons have left zombies and orphans of their programs until the host had no more processes."""
    program = (
        'case "$1" in fail) exit 3 ;; die) kill -KILL $$ ;; stop) kill -STOP $$ ;; hang) trap "" TERM; sleep 600 ;; '
        "orphan) sleep 600 & echo done ;; flood) yes ;; quiet) ;; *) echo Happy and well ;; esac"
    )
    backend = {"type": "command", "argv": ["sh", "-c", program, "sh", "{user}"], "timeout": 0.5, "output_bytes": 1000}
    target = Target(start(LISTEN + f"backend: {json.dumps(backend)}\n", inside=("env", f"TMPDIR={tmp_path}")))
    replies = {
        "fail": INVALID,
        "die": INVALID,
        "stop": INVALID,
        "hang": INVALID,
        "orphan": b"done\r\n",
        "quiet": UNKNOWN,
    }
    with contextlib.ExitStack() as stack:
        asked = []
        for number in range(10):
            for name in ("bob", "flood", *replies):
                client = connect_from(f"127.0.1.{number + 1}", target.daemon, stack)
                client.sendall(f"{name}\r\n".encode())
                asked.append((name, client))
        for name, client in asked:
            reply = hear(client)
            if name == "flood":
                assert reply.endswith(b"y\r\n[answer cut]\r\n")
            else:
                assert reply == replies.get(name, ANSWERED), name
    lines = target.lines(len(asked))
    assert Counter(line.outcome for line in lines) == {"answered": 30, "error": 40, "unknown": 10}
    wait_until(lambda: not children(target.pid))
    wait_until(lambda: processes_of(tmp_path) == {target.pid})
    target.survive(0)


def children(pid: int) -> list[int]:
    """The child processes of this process, zombies included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def processes_of(folder: Path) -> set[int]:
    """The processes whose TMPDIR is this folder, which the programs of a daemon inherit."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={folder}".encode() in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found


PAGES = {
    "alice": b"HTTP/1.0 200 OK\r\n\r\nHappy and well\n",
    "500": b"HTTP/1.0 500 a secret\r\nX-Secret: a secret\r\n\r\nTraceback: a secret",
    "503": b"HTTP/1.0 503 a secret\r\nContent-Length: 8\r\n\r\na secret",
    "401": b"HTTP/1.0 401 a secret\r\nWWW-Authenticate: Basic realm=secret\r\n\r\n",
    "204": b"HTTP/1.0 204 a secret\r\n\r\n",
    "closed": b"",
    "garbage": b"a secret\r\n\r\n",
    "short": b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\na secret",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
    "away": b"HTTP/1.0 302 Found\r\nLocation: http://secret.example/\r\n\r\n",
    "nowhere": b"HTTP/1.0 302 Found\r\n\r\n",
    "header": b"HTTP/1.0 200 OK\r\n" + b"X-Secret: a secret\r\n" * 500 + b"\r\na secret",
    "long": b"HTTP/1.0 200 " + b"secret" * 20_000 + b"\r\n\r\n",
    "zipped": b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\na secret",
}


@contextlib.contextmanager
def pages() -> Iterator[str]:
    """A web server that sends these bytes as they are; yields the prefix of its URLs."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, contextlib.suppress(OSError):
                        client.settimeout(TIMEOUT)
                        asked = b""
                        while b"\r\n\r\n" not in asked:
                            asked += client.recv(65536)
                        client.sendall(PAGES[asked.split()[1].rpartition(b"~")[2].decode()])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/~"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(TIMEOUT)


def test_22_errors_of_a_web_server(start: Start) -> None:
    """The cause of a failure is only logged: it would tell an attacker what there is to attack."""
    failing = [name for name in PAGES if name != "alice"]
    with pages() as prefix:
        target = Target(start(LISTEN + f"backend: {{type: web, prefix: '{prefix}'}}\n"))
        target.survive_queries([(f"{name}\r\n".encode(), INVALID) for name in failing], {INVALID: "error"})
    causes = [line.partition(f"WARNING fingerd.ruip.ruip: backend failed: web {prefix}")[2] for line in target.warnings]
    assert sorted(line.partition(":")[0] for line in causes if line) == sorted(failing)
    assert target.daemon.ask(b"alice\r\n") == INVALID  # the server is closed
    assert "Connection refused" in target.daemon.logged("WARNING")


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "echo a secret; echo a secret >&2; exit 3"],
        ["sh", "-c", "echo a secret; kill -SEGV $$"],
        ["/nowhere/a-secret"],
        ["/etc/passwd"],
        [sys.executable, "-c", "raise LookupError('a secret')"],
    ],
    ids=["failing", "crashing", "missing", "not a program", "traceback"],
)
def test_22_errors_of_a_program(start: Start, argv: list[str]) -> None:
    """Nor does the client learn what a failing program prints."""
    daemon = start(LISTEN + f"backend: {{type: command, argv: {json.dumps(argv)}}}\n")
    target = Target(daemon, (b"\r\n", NO_LIST))
    target.survive_queries([(b"alice\r\n", INVALID)] * 2, {INVALID: "error"})
    failures = [line for line in target.warnings if "backend failed" in line]
    assert len(failures) == 2
    assert f"command {argv[0]}: " in failures[0]


def test_22_errors_of_ours(start: Start, tmp_path: Path) -> None:
    """The traceback of a bug is logged once, and not sent to the client."""
    (tmp_path / "buggy.py").write_text(
        "from dataclasses import dataclass\nfrom fingerd.backends import Backend\n"
        "@dataclass(frozen=True)\nclass Buggy(Backend):\n    'A bug.'\n"
        "    def find(self, ask):\n        raise ZeroDivisionError('a secret')\n"
    )
    info = tmp_path / "fingerd_buggy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingerd-buggy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fingerd.backends]\nbuggy = buggy:Buggy\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    daemon = start(LISTEN + "backend: {type: buggy}\n", inside=("env", f"PYTHONPATH={path}"))
    assert daemon.ask(b"alice\x7f\r\n") == MALFORMED
    assert daemon.ask("al\u202eice\r\n".encode()) == INVALID
    daemon.logged("outcome=error")
    assert daemon.ask(b"\r\n") == NO_LIST
    assert daemon.stop() == 0
    assert len([line for line in daemon.log if "Traceback" in line]) == 1
    assert len([line for line in daemon.log if "ZeroDivisionError: a secret" in line]) == 1
    assert all(re.match(STAMP, line) and line.isascii() and line.isprintable() for line in daemon.log)


YAML_WORDS = {
    "no": "YAML reads this as true or false",
    "yes": "YAML reads this as true or false",
    "on": "YAML reads this as true or false",
    "null": "YAML reads this as null",
    "~": "YAML reads this as null",
    "1": "YAML reads this as a number",
    "0x1f": "YAML reads this as a number",
    "22:30": "YAML reads this as a number",
    "0o27": "YAML readers differ about octal numbers",
    "2024-01-01": "YAML reads this as a date",
}


def test_23_users_whose_names_are_words_of_yaml(start: Start, tmp_path: Path) -> None:
    """YAML 1.1 reads no as false, and 22:30 as 1350: an error with its place says to quote these names."""
    path = tmp_path / "fingerd.yaml"
    users = "".join(f"    {word}: Happy\n" for word in YAML_WORDS)
    path.write_text(LISTEN + f"backend:\n  type: static\n  users:\n{users}")
    done = subprocess.run([*FINGERD, "--check", "-c", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == os.EX_CONFIG
    problems = dict(zip(YAML_WORDS, done.stderr.splitlines(), strict=True))
    for line, (word, problem) in enumerate(problems.items(), 5):
        assert problem.startswith(f"{path}:{line}:5: backend.users.{word}: {YAML_WORDS[word]}"), problem
        assert "put it in quotes" in problem
    quoted = "".join(f'    "{word}": Happy\n' for word in (*YAML_WORDS, "alice"))
    target = Target(start(LISTEN + f"backend:\n  type: static\n  users:\n{quoted}"), (b"alice\r\n", b"Happy\r\n"))
    target.survive_queries([(f"{word}\r\n".encode(), b"Happy\r\n") for word in YAML_WORDS], {b"Happy\r\n": "answered"})
    target.survive_queries([(word, UNKNOWN) for word in (b"False\r\n", b"None\r\n", b"1350\r\n", b"31\r\n")])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_24_clients_that_stay(start: Start, number: signal.Signals) -> None:
    """socketserver waits for every handler when it stops: here clients get an answer, and are closed."""
    script = 'case "$1" in big) yes | head -c 8000000 ;; slow) sleep 600 ;; *) echo Happy and well ;; esac'
    argv = json.dumps(["sh", "-c", script, "sh", "{user}"])
    limits = "limits: {drain_seconds: 0.5, reply_bytes: 64MiB, answer_seconds: 60}\n"
    backend = f"backend: {{type: command, argv: {argv}, output_bytes: 32MiB, timeout: 60}}\n"
    target = Target(start(LISTEN + limits + backend))
    with contextlib.ExitStack() as stack:
        silent, half, slow, deaf, lingering = (stack.enter_context(target.connect()) for _ in range(5))
        half.sendall(b"ali")
        slow.sendall(b"slow\r\n")
        deaf.sendall(b"big\r\n")
        assert deaf.recv(1) == b"y"
        lingering.sendall(b"alice\r\n")
        assert hear(lingering) == ANSWERED
        begun = time.monotonic()
        assert target.daemon.stop(number) == 0
        assert 0.5 <= time.monotonic() - begun < 5
        with socket.create_server(target.daemon.address):  # the port is free
            pass
        assert hear(silent) == b""
        assert hear(half) == b""
        assert hear(slow) == BUSY
    outcomes = Counter(ACCESS.sub(r"\2 \3", line) for line in target.daemon.log if ATTACKER in line)
    assert outcomes == {
        '"" dropped': 1,
        '"ali" dropped': 1,
        '"slow" busy': 1,
        '"big" timeout': 1,
        '"alice" answered': 1,
    }
    assert not [line for line in target.daemon.log if "Traceback" in line or "ERROR" in line]
