"""``python -m fingerd.conformance``: fingerd has no fault, and each fault of other servers is found."""

import contextlib
import json
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fingerd.conformance.__main__ import main
from fingerd.conformance.clauses import CLAUSES, judge
from fingerd.conformance.exchange import End, Exchange, Target, converse, read_target
from fingerd.conformance.names import has_name, has_part_of_name
from fingerd.conformance.probes import NOBODY, Plan, probes
from fingerd.conformance.queries import broken_lines, controls, has_parity
from fingerd.conformance.texts import excerpt, fingerprint_of, has_fingerprint, is_refusal, normalized
from fingerd.conformance.verdicts import Case
from tests.conftest import Start
from tests.helpers.ports import free_port
from tests.helpers.surroundings import in_surroundings

NAME = "Zoë Grün"
RECORD = f"Login: zoe  Name: {NAME}\r\nOffice: Kiln house\r\nPlan:\r\nThe kiln is lit on Thursdays.\r\n".encode()
ANGSTROM = "Zoë Ångström"
QUICK = ("--idle", "0", "--pause", "0")
COMMAND = (sys.executable, "-m", "fingerd.conformance")
UNKNOWN = b"No such user\r\n"
LIST = f"Login  Name\r\nzoe    {NAME}\r\n".encode()
DENIED = b"Finger forwarding service denied\r\n"


def well_behaved(line: bytes) -> bytes:
    """A server without a fault."""
    line = line.removeprefix(b"\xff\xfd\x06\xff\xfb\x18").strip().removeprefix(b"/W").removeprefix(b"/w").strip()
    line = line.removesuffix(b" /W")
    if b"@" in line:
        return DENIED
    return {b"": LIST, b"zoe": RECORD}.get(line, UNKNOWN)


def as_a_name(line: bytes) -> bytes:
    """Reads every line as a name, as the server of Twisted's tutorial does."""
    return RECORD if line == b"zoe\r\n" else UNKNOWN


def drops(line: bytes) -> bytes:
    return b"" if b"@" in line or not line.strip() else well_behaved(line)


def drops_hosts(line: bytes) -> bytes:
    return well_behaved(line.partition(b"@")[0])


def forwards(line: bytes) -> bytes:
    return b"finger: unknown host: host.invalid\r\n" if b"@" in line else well_behaved(line)


def denies(line: bytes) -> bytes:
    return b"Access denied\r\n"


def echoes(line: bytes) -> bytes:
    answer = well_behaved(line)
    return line.strip() + b": no such user\r\n" if answer == UNKNOWN else answer


def is_nameless(line: bytes) -> bytes:
    return well_behaved(line).replace(NAME.encode(), b"?")


def loses_letters(line: bytes) -> bytes:
    return well_behaved(line).decode().encode("ascii", "ignore")


def sets_parity(line: bytes) -> bytes:
    return bytes(byte | 128 if chr(byte).isalpha() else byte for byte in loses_letters(line))


def is_narrow(line: bytes) -> bytes:
    return UNKNOWN if line.startswith((b"/W ", b"/w")) or line == b"/W\r\n" else well_behaved(line)


FAULTS: dict[Callable[[bytes], bytes], dict[str, str]] = {
    well_behaved: {},
    as_a_name: {"fails": "R7 R13 R19 R24 R28 R38", "note": "R4 R9 R11"},
    drops: {"fails": "R13 R19 R24 R28"},
    drops_hosts: {"fails": "R13 R19"},
    forwards: {},
    denies: {},
    echoes: {"note": "R43"},
    is_nameless: {"fails": "R25 R30", "note": "R6"},
    loses_letters: {"note": "R6"},
    sets_parity: {"fails": "R30", "note": "R6"},
    is_narrow: {"fails": "R7 R13 R38", "note": "R9 R11"},
    lambda line: well_behaved(line).replace(b"\r\n", b"\n"): {"fails": "R5"},
    lambda line: well_behaved(line).replace(b"\r\n", b"\r"): {"fails": "R5"},
    lambda line: well_behaved(line).rstrip(): {"fails": "R5"},
    lambda line: b"\r\n" if b"@" in line else well_behaved(line): {"fails": "R13 R19"},
    lambda line: b"Finger online user list denied\r\n" if not line.strip() else well_behaved(line): {},
}


@contextlib.contextmanager
def serving(answer: Callable[[bytes], bytes], *, lingers: bool = False, resets: bool = False) -> Iterator[int]:
    """The port of a server with these answers; with ``lingers`` it waits for the client to close first."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            client.settimeout(2)
            line = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                while b"\n" not in line and len(line) < 9000 and (more := client.recv(100 if resets else 9000)):
                    line += more
                if line:
                    client.sendall(answer(b"".join(line.partition(b"\n")[:2])))
                if resets:
                    return
                if not lingers:
                    client.shutdown(socket.SHUT_WR)
                while client.recv(9000):
                    pass

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 50

        def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
            if isinstance(request, socket.socket):
                request.close()

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(10)


def run(capfd: pytest.CaptureFixture[str], port: int, *options: str) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and the findings."""
    code = main([f"127.0.0.1:{port}", "--user", "zoe", "--name", NAME, *QUICK, "--json", *options])
    return code, json.loads(capfd.readouterr().out)


def numbers(findings: list[dict[str, str]], verdict: str) -> list[str]:
    """The clauses with this verdict."""
    return list(dict.fromkeys(finding["clause"] for finding in findings if finding["verdict"] == verdict))


def test_fingerd_has_no_fault(capfd: pytest.CaptureFixture[str], start: Start) -> None:
    daemon = start(
        'listen: "127.0.0.1:0"\npolicy: [{from: any, list: true}]\nlimits: {read_seconds: 1}\n'
        f"backend: {{type: static, users: {{zoe: {{name: {NAME}, office: Kiln house, plan: Thursdays}}}}}}\n"
    )
    code, findings = run(capfd, daemon.address[1], "--idle", "8")
    assert code == 0
    assert len(findings) == len(CLAUSES)
    assert {finding["verdict"] for finding in findings} == {"ok", "cannot be told"}
    assert numbers(findings, "cannot be told") == ["R28"]  # because the list is answered


def test_fingerd_has_no_fault_by_default(capfd: pytest.CaptureFixture[str], start: Start) -> None:
    daemon = start('listen: "127.0.0.1:0"\nbackend: {type: static, users: {zoe: Happy and well}}\n')
    code, findings = run(capfd, daemon.address[1], "--name", "")
    assert code == 0
    assert {finding["verdict"] for finding in findings} == {"ok", "cannot be told"}
    assert main([f"127.0.0.1:{daemon.address[1]}", *QUICK]) == 0
    assert "0 fails, 0 note" in capfd.readouterr().out


@pytest.mark.parametrize("fault", range(len(FAULTS)), ids=[each.__name__ for each in FAULTS])
def test_a_fault_is_found_and_nothing_else(capfd: pytest.CaptureFixture[str], fault: int) -> None:
    server, expected = list(FAULTS.items())[fault]
    with serving(server) as port:
        code, findings = run(capfd, port)
    assert numbers(findings, "fails") == expected.get("fails", "").split()
    assert numbers(findings, "note") == expected.get("note", "").split()
    assert code == ("fails" in expected)


def test_the_same_refusal_for_everything_is_inconclusive(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(denies) as port:
        _, findings = run(capfd, port)
    assert {"R7", "R13", "R30", "R36"} <= set(numbers(findings, "cannot be told"))


def test_the_reason_for_an_empty_answer_is_the_evidence(capfd: pytest.CaptureFixture[str]) -> None:
    answers = {b"": b"", b"@host.invalid": b" \r\n"}
    with serving(lambda line: answers.get(line.strip(), well_behaved(line))) as port:
        code, findings = run(capfd, port)
    assert code == 1
    seen = {finding["clause"]: finding["seen"] for finding in findings if finding["verdict"] == "fails"}
    assert seen["R24"] == "closed without an answer"
    assert seen["R13"] == "'@host': only white space"


def test_a_server_that_does_not_close_is_noted(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(well_behaved, lingers=True) as port:
        code, findings = run(capfd, port, "--timeout", "0.4")
    assert code == 0
    assert "R3" in numbers(findings, "note")


def test_a_slow_server_does_not_fail(capfd: pytest.CaptureFixture[str]) -> None:
    def waits(line: bytes) -> bytes:
        if b"@" in line or b"/W" in line or not line.strip():
            time.sleep(0.4)
        return well_behaved(line)

    with serving(waits) as port:
        code, findings = run(capfd, port, "--timeout", "0.2")
    assert code == 0
    assert {"R7", "R13", "R19", "R24", "R38"} <= set(numbers(findings, "cannot be told"))


def test_a_reset_is_noted(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(well_behaved, resets=True) as port:
        code, findings = run(capfd, port)
    assert code == 0
    assert numbers(findings, "note") == ["R3"]


def test_a_server_that_does_not_survive_an_over_long_line_fails(capfd: pytest.CaptureFixture[str]) -> None:
    died: list[bool] = []

    def dies(line: bytes) -> bytes:
        if len(line) > 8000:
            died.append(True)
        return b"" if died else well_behaved(line)

    with serving(dies) as port:
        code, findings = run(capfd, port)
    assert code == 1
    assert "R43" in numbers(findings, "fails")


def test_a_silent_server_is_inconclusive(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        code, findings = run(capfd, server.getsockname()[1], "--timeout", "0.1", "--idle", "0.1")
    assert code == 69
    assert numbers(findings, "ok") == ["R43"]  # no control character is returned
    assert numbers(findings, "fails") == []


def test_a_list_below_a_warning_is_not_refused(capfd: pytest.CaptureFixture[str]) -> None:
    warning = b"Unauthorized access is prohibited.\r\n"
    with serving(lambda line: warning + LIST if not line.strip() else well_behaved(line)) as port:
        _, findings = run(capfd, port)
    verdicts = {finding["clause"]: finding for finding in findings}
    assert verdicts["R24"]["seen"].startswith("answered: ")
    assert verdicts["R28"]["verdict"] == "cannot be told"


class OneByOne(socketserver.TCPServer):
    """Serves one client at a time, and closes silent ones with a message."""

    request_queue_size = 50
    idle_seconds = 1.5

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.connection.settimeout(OneByOne.idle_seconds)
            try:
                line = self.rfile.readline()
            except TimeoutError:
                self.wfile.write(b"Timed out.\r\n")
            else:
                self.wfile.write(well_behaved(line) if line else b"")
                self.connection.shutdown(socket.SHUT_WR)
                while self.connection.recv(9000):
                    pass


def test_a_server_that_serves_one_client_at_a_time_has_no_fault(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with OneByOne(("127.0.0.1", 0), OneByOne.Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            code, findings = run(capfd, server.server_address[1], "--idle", "8", "--timeout", "1")
        finally:
            server.shutdown()
            thread.join(10)
    assert code == 0
    assert (numbers(findings, "fails"), numbers(findings, "note")) == ([], [])
    assert {"R24", "R13"} <= set(numbers(findings, "ok"))  # the silent probe came last
    assert findings[-1]["seen"].startswith("closed within ")


def test_an_endless_answer_is_cut() -> None:
    with serving(lambda line: b"x" * 1_000_000) as port:
        exchange = converse(Target("127.0.0.1", port, 5), b"zoe\r\n")
    assert exchange.end == "cut"
    assert len(exchange.data) < 80_000


def test_the_output_formats(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(as_a_name) as port:
        for options in ((), ("--markdown",)):
            assert main([f"127.0.0.1:{port}", *QUICK, *options]) == 1
            lines = capfd.readouterr().out.splitlines()
            (line,) = (line for line in lines if "R24" in line)
            assert "MUST" in line
            assert "fails" in line
            assert "'No such user', as for an unknown user" in line
            assert lines[-1].endswith("cannot be told")


SURROUNDINGS = {
    "a full standard output": ('"$@" >/dev/full', 74, "standard output: No space left on device\n"),
    "a closed standard output": ('"$@" >&-', 74, "standard output: Bad file descriptor\n"),
    "a pipe that nobody reads": ('"$@" >&$PIPE', 141, ""),
    "a full standard error": ('"$@" >/dev/full 2>/dev/full', 74, ""),
    "nothing at all": ('"$@" <&- >&- 2>&-', 74, ""),
    "a working directory that is gone": ('mkdir gone && cd gone && rmdir ../gone && "$@" >/dev/null', 0, ""),
}


@pytest.mark.parametrize(("script", "code", "message"), SURROUNDINGS.values(), ids=SURROUNDINGS)
@pytest.mark.parametrize("argument", ["--help", "a server"])
def test_faults_of_the_surroundings_are_no_tracebacks(
    start: Start, tmp_path: Path, argument: str, script: str, code: int, message: str
) -> None:
    words = ["--help"]
    if argument == "a server":
        daemon = start('listen: "127.0.0.1:0"\nbackend: {type: static, users: {zoe: Happy and well}}\n')
        words = [f"127.0.0.1:{daemon.address[1]}", "--user", "zoe", *QUICK]
    assert in_surroundings(script, tmp_path, *COMMAND, *words) == (code, message)


def test_an_interrupt_is_130_without_a_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with subprocess.Popen(
            [*COMMAND, f"127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            server.accept()[0].close()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == 130


def test_the_exit_codes_of_errors() -> None:
    for arguments in ([], ["a:b"], ["host:0"], ["[::1"], ["host", "--user", "a b"], ["host", "--timeout", "0"]):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 64, arguments
        assert "usage:" in done.stderr
    port = free_port()
    done = subprocess.run([*COMMAND, f"127.0.0.1:{port}"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 69
    assert done.stderr == f"127.0.0.1:{port}: Connection refused\n"
    for arguments in (["--\x1b]0;x\x07"], ["\x1b]0;x\x07.invalid"], ["\u202e\x9b:79"], ["host", "--user", "\x1b]0;"]):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode in (64, 69)
        assert done.stdout == ""
        assert set(done.stderr) <= {"\n", *map(chr, range(32, 127))}, arguments
    done = subprocess.run([*COMMAND, "x" * 70], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 69


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.org", "example.org", 79),
        ("example.org:1079", "example.org", 1079),
        ("::1", "::1", 79),
        ("[::1]", "::1", 79),
        ("[::1]:1079", "::1", 1079),
    ],
)
def test_targets_are_read(text: str, host: str, port: int) -> None:
    assert read_target(text, 1) == Target(host, port, 1)


@pytest.mark.parametrize("text", ["", ":79", "host:", "host:x", "host:70000", "[::1]x", "[::1]:", "host:²"])
def test_invalid_targets(text: str) -> None:
    with pytest.raises(ValueError, match="HOST"):
        read_target(text, 1)


def test_an_excerpt_is_one_line_without_control_characters() -> None:
    assert excerpt(b"") == "nothing"
    assert excerpt(b" \r\n") == "an empty line"
    assert excerpt("\r\n\x1b[2J\x9b | \r\n".encode()) == r"'\x1b[2J\x9b \x7c'"
    assert excerpt(b"it\x92s \x81\r\n") == r"'it\u2019s \ufffd'"
    assert len(excerpt(b"x" * 1000)) < 80
    assert excerpt(b"Site: here\r\nwrong\r\n", b"Site: here\r\nright\r\n") == "'wrong'"
    assert excerpt(b"one\r\ntwo\r\n", b"two\r\none\r\n") == "'two'"


@pytest.mark.parametrize(
    "refusal",
    [
        "Finger forwarding service denied",
        "fingerd: forwarding not allowed",
        "fingerd: fowarding not allowed",
        "This server won't transmit finger queries.",
        "Please supply a username",
        "must provide username",
        "No user list available.",
        "Local user listing denied.",
    ],
)
def test_refusals_of_other_servers_are_recognized(refusal: str) -> None:
    assert is_refusal(refusal.encode())


@pytest.mark.parametrize("answer", ["No such user", "finger: x: no such user.", "No one logged on.", "Login  Name"])
def test_other_answers_are_not_refusals(answer: str) -> None:
    assert not is_refusal(answer.encode())


def test_answers_for_unknown_users_are_equal_for_all_names() -> None:
    plain = normalized(b"finger: nosuchxq: no such user. 12:30\r\n", NOBODY)
    assert plain == normalized(
        b"finger: nosuchxq@host.invalid: no such user. 12:31\r\n", "nosuchxq@host.invalid", NOBODY
    )
    assert plain == normalized(b"finger: nosuchxq_host.invalid: no such user. 12:31\r\n", NOBODY)
    assert plain == normalized(b"finger: @host.invalid: no such user. 12:31\r\n", "@host.invalid", NOBODY)
    assert plain != normalized(b"finger: unknown host: host.invalid\r\n", NOBODY)


def test_a_fingerprint_is_what_the_answers_about_a_user_have_in_common() -> None:
    fingerprint = fingerprint_of(
        b"Zoe is well\nfortune: one two three", b"Zoe is well\nfortune: four five", b"Nobody is here", "zoe"
    )
    assert fingerprint == {"well", "fortune"}
    assert has_fingerprint(fingerprint, b"fortune: six, and well") is True
    assert has_fingerprint(fingerprint, b"other") is False
    assert has_fingerprint(fingerprint_of(b"same", b"same", b"same", "zoe"), b"same") is None
    assert has_fingerprint(set("abcd"), b"") is False


def test_the_bytes_of_answers() -> None:
    assert broken_lines(Exchange(b"a\r\n", "closed")) == ""
    assert broken_lines(Exchange(b"a\nb\rc\r\n", "closed")) == "1 lone LF and 1 lone CR"
    assert broken_lines(Exchange(b"a\r\nb", "closed")) == "no line end at the end"
    assert broken_lines(Exchange(b"a\r\nb", "cut")) == ""
    assert broken_lines(Exchange(b"a\r\nb\r", "cut")) == ""
    assert broken_lines(Exchange(b"a\rb\r", "timeout")) == "1 lone CR"
    assert broken_lines(Exchange(b"a\r\nb\r", "closed")) == "1 lone CR"
    assert has_parity(bytes(byte | 128 for byte in b"hello"))
    assert not has_parity("Grüße, ξένοι".encode())
    assert not has_parity("Grüße".encode("latin-1"))
    assert controls(b"a\tb\r\n\x1b\x00\x1b") == "0x00, 0x1b"


NAMES = [
    ("Al Bo", b"Name: al bo", True),
    ("Al Bo", b"Name: Al  \tBo, potter", True),
    ("Al Bo", b"Canal Boat", False),
    ("Rocky - Rakesh Patel", b"In real life: Rocky - Rakesh Patel", True),
    (ANGSTROM, ANGSTROM.encode(), True),
    (ANGSTROM, ANGSTROM.encode("latin-1"), True),
    (ANGSTROM, "Zoe\u0308 A\u030angstro\u0308m".encode(), True),
    (ANGSTROM, b"Zo\xc3\xab \xc3M-^Engstr\xc3\xb6m", True),  # from Debian's fingerd
    (ANGSTROM, b"Zo ngstrm", True),
    (ANGSTROM, b"Zo? ?ngstr?m", True),
    (ANGSTROM, b"Zo?? ??ngstr??m", True),
    (ANGSTROM, b"Zoe Aangstroem", True),
    (ANGSTROM, b"Zoology ngstrm", False),
    (ANGSTROM, b"Zoe Adams", False),
    ("Иван Петров", "Name: Иван Петров".encode(), True),
    ("Иван Петров", "Name: Иван Петров".encode("koi8-r"), None),
    ("Иван Петров", b"Login: ivan   Shell: /bin/sh", None),
    ("Иван Q", b"Login: ivan   Shell: /bin/sh", False),
    ("Иван Q", b"???? Q", None),
    ("Анна Maria Анна Bo", b"???? Maria ???? Bo", True),
    ("Анна Maria Анна Bo", b"Maria Bo", True),
    ("Анна Maria Анна Bo", b"Maria", False),
]


@pytest.mark.parametrize(("name", "answer", "found"), NAMES)
def test_a_full_name_is_found_with_changed_letters(name: str, answer: bytes, found: bool | None) -> None:
    assert has_name(name, answer) is found


PARTS_OF_NAMES = [
    ("Zoe Adams", b"zoe      Zoe Adams    p0", True),
    ("Zoe Adams", b"zoe      Z. Adam  p0", True),  # cut
    ("Zoe De", b"zoe  adamant-Desk p0", False),
    ("Zoe De", b"zoe      p0", False),
    (ANGSTROM, b"zoe      - tty1         Jun 15 15:06", False),
    (ANGSTROM, b"zoe      Zo? ?ng  p0", True),
    (ANGSTROM, "zoe      Zoë Ång  p0".encode("latin-1"), True),
    ("Константинопольский", "zoe      Константи p0".encode(), True),
    ("Константинопольский", b"zoe      p0", None),
    ("zoe", b"zoe      p0", None),
]


@pytest.mark.parametrize(("name", "row", "found"), PARTS_OF_NAMES)
def test_a_part_of_a_full_name_is_found_in_a_row_of_a_list(name: str, row: bytes, found: bool | None) -> None:
    assert has_part_of_name(name, "zoe", row) is found


EVIL = {
    "Константинопольский Q": b"Login: ivan " + b"x" * 60_000,
    "aé" * 20 + "b": b"a" * 60_000,
    "é a" * 20 + "b": b"a " * 30_000,
    "Al " + "é " * 30 + "Bo": b"al " * 20_000,
}


@pytest.mark.parametrize("name", EVIL)
def test_no_answer_causes_catastrophic_backtracking(name: str) -> None:
    script = (
        "import sys; from fingerd.conformance.names import *; print(has_name(sys.argv[1], sys.stdin.buffer.read()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, name], input=EVIL[name], capture_output=True, check=False, timeout=60
    )
    assert done.stdout == b"False\n"


def test_every_clause_has_a_verdict_for_any_exchange() -> None:
    names = dict(probes(Plan("zoe")))
    ends: tuple[End, ...] = ("closed", "reset", "timeout", "cut", "unreachable")
    for end in ends:
        for data in (b"", b"\r\n", b"\xff\xfe", UNKNOWN):
            case = Case(Plan("zoe", name=NAME), {name: Exchange(data, end) for name in (*names, "idle")})
            assert len(list(judge(case))) == len(CLAUSES)
