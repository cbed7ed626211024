"""Requests that no good client sends, and clients that send them slowly: one response each, and bounded memory."""

import contextlib
import re
import resource
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fingerd.plans.web.door import FORM_BYTES, FORM_REST, REQUEST_MEMORY
from tests.helpers.daemons import TIMEOUT, ask, hear, status, wait_until
from tests.helpers.http import parse, send
from tests.helpers.requirements import find, needs
from tests.plans.conftest import Run, left_behind
from tests.plans.web.conftest import NEW, PlanServer, StartPlans, new_token

LIMITS = "limits: {read_seconds: 1, per_client: 1000}\n"
SMUGGLED = b"DELETE /~zoe/plan HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked"
OLD = b"PUT /~zoe/plan HTTP/1.0"


def fields(*lines: bytes, body: bytes = b"", line: bytes = b"PUT /~zoe/plan HTTP/1.1") -> bytes:
    return b"\r\n".join((line, b"Host: a", b"Authorization: Bearer TOKEN", *lines, b"", b"")) + body


def chunked(body: bytes) -> bytes:
    return fields(CHUNKED, body=body)


REQUESTS: dict[str, tuple[bytes, int]] = {
    "a length": (fields(b"Content-Length: 4", body=b"new\n"), 204),
    "chunks": (chunked(b"3\r\nnew\r\n1\r\n\n\r\n0\r\n\r\n"), 204),
    "a request after it": (fields(b"Content-Length: 4", body=b"new\n" + SMUGGLED), 204),
    "a request after chunks": (chunked(b"4\r\nnew\n\r\n0\r\n\r\n" + SMUGGLED), 204),
    "a length and chunks": (
        fields(b"Content-Length: 4", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
        400,
    ),
    "chunks and a length": (
        fields(CHUNKED, b"Content-Length: 0", body=b"0\r\n\r\n" + SMUGGLED),
        400,
    ),
    "two lengths": (fields(b"Content-Length: 0", b"Content-Length: 90", body=SMUGGLED), 400),
    "two lengths in one": (fields(b"Content-Length: 0, 90", body=SMUGGLED), 400),
    "a length with a blank before the colon": (fields(b"Content-Length : 4", body=b"new\n"), 400),
    "a coding with a blank": (
        fields(b"Content-Length: 4", b"Transfer-Encoding : chunked", body=b"new\n"),
        400,
    ),
    "a coding with a vertical tab": (fields(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), 400),
    "a folded coding": (fields(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"), 400),
    "a folded length": (fields(b"Content-Length:", b" 4", body=b"new\n"), 400),
    "a hidden coding": (fields(b"X: a\nTransfer-Encoding: chunked", b"Content-Length: 4", body=b"new\n"), 400),
    "a bare CR": (fields(b"X: a\rTransfer-Encoding: chunked", b"Content-Length: 4", body=b"new\n"), 400),
    "a NUL": (fields(b"Content-Length: 4", b"X: \0", body=b"new\n"), 400),
    "an unknown coding": (fields(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400),
    "chunks for HTTP/1.0": (
        fields(CHUNKED, body=b"4\r\nnew\n\r\n0\r\n\r\n", line=OLD),
        400,
    ),
    "HTTP/1.0": (fields(b"Content-Length: 4", body=b"new\n", line=OLD), 204),
    "HTTP/2": (fields(b"Content-Length: 4", body=b"new\n", line=b"PUT /~zoe/plan HTTP/2.0"), 505),
    "no version": (b"PUT /~zoe/plan\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00", 400),
    "a size that is none": (chunked(b"xyz\r\nnew\r\n"), 400),
    "a negative size": (chunked(b"-4\r\nnew\n\r\n0\r\n\r\n"), 400),
    "a size that overflows": (chunked(b"fffffffffffffffff\r\nnew\n\r\n"), 400),
    "a size beyond all": (chunked(b"7fffffff\r\nnew\n\r\n"), 413),
    "a chunk without an end": (chunked(b"3\r\nnew\n0\r\n\r\n"), 400),
    "a chunk of a chunk": (chunked(b"5\r\n0\r\n\r\n0\r\n\r\n" + SMUGGLED), 400),
    "a trailer": (chunked(b"4\r\nnew\n\r\n0\r\nContent-Length: 5\r\n\r\n"), 400),
    "no length": (fields(), 411),
    "a length that is too much": (fields(b"Content-Length: 99999999", body=b"x" * 5000), 413),
    "a length of any size": (fields(b"Content-Length: " + b"9" * 4000), 400),
    "a text that is too long": (fields(b"Content-Length: 4097", body=b"x" * 4097), 413),
    "two tokens": (fields(b"Authorization: Bearer TOKEN", b"Content-Length: 4", body=b"new\n"), 400),
    "two types": (fields(b"Content-Type: a", b"Content-Type: b", b"Content-Length: 4", body=b"new\n"), 400),
    "two hosts": (fields(b"Host: b", b"Content-Length: 4", body=b"new\n"), 400),
    "no host": (b"PUT /~zoe/plan HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),
    "a long line": (b"PUT /" + b"x" * 9000, 414),
    "a long field": (fields(b"X: " + b"x" * 9000), 431),
    "many fields": (fields(*[b"X: y"] * 200), 431),
    "a fragment": (fields(b"Content-Length: 4", body=b"new\n", line=b"PUT /~zoe/plan#x HTTP/1.1"), 400),
    "half a percent": (fields(b"Content-Length: 4", body=b"new\n", line=b"PUT /~zoe%/plan HTTP/1.1"), 400),
    "a whole address": (fields(b"Content-Length: 4", body=b"new\n", line=b"PUT http://a/~zoe/plan HTTP/1.1"), 204),
    "a body for DELETE": (fields(b"Content-Length: 4", body=b"new\n", line=b"DELETE /~zoe/plan HTTP/1.1"), 400),
    "chunks for GET": (fields(CHUNKED, body=b"0\r\n\r\n", line=b"GET /~zoe/edit HTTP/1.1"), 400),
}


@pytest.mark.parametrize(("raw", "code"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_gets_one_response(raw: bytes, code: int, server: PlanServer, token: str, people: Path) -> None:
    answer = send(server.address, raw.replace(b"TOKEN", token.encode()), source=server.source)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert parse(answer, "PUT" if code != 204 else "GET").status == code
    assert (people / "zoe" / "plan").read_text() == ("new\n" if code == 204 else "old\n")


def test_a_request_that_comes_byte_by_byte(server: PlanServer, token: str, people: Path) -> None:
    raw = chunked(b"3;x=y\r\nby \r\n6\r\nbytes\n\r\n0\r\n\r\n").replace(b"TOKEN", token.encode())
    with socket.create_connection(server.address, TIMEOUT) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(len(raw)):
            client.sendall(raw[number : number + 1])
        assert parse(hear(client)).status == 204
    assert (people / "zoe" / "plan").read_text() == "by bytes\n"


@pytest.mark.parametrize("cut", [10, 60, 130, -5, -1])
def test_a_truncated_request_changes_nothing(cut: int, server: PlanServer, token: str, people: Path) -> None:
    for raw in (fields(b"Content-Length: 40", body=b"x" * 40), chunked(b"28\r\n" + b"x" * 40 + b"\r\n0\r\n\r\n")):
        sent = raw.replace(b"TOKEN", token.encode())[:cut]
        assert parse(ask(server.address, sent, hang_up=True)).status == 400
        with socket.create_connection(server.address, TIMEOUT) as client:  # and one that is gone
            client.sendall(sent)
    assert server.put("zoe", NEW, token).status == 204
    assert (people / "zoe" / "plan").read_text() == NEW


def test_slow_clients_are_closed_and_keep_nobody_out(start: StartPlans, run: Run, people: Path) -> None:
    server = start(rest=LIMITS)
    token = new_token(run, "zoe")
    head = fields(b"Content-Length: 4000").replace(b"TOKEN", token.encode())
    silent = [socket.create_connection(server.address, TIMEOUT) for _ in range(300)]
    for number, client in enumerate(silent):
        client.sendall((head, head[:50], head + b"x" * 3999)[number % 3])
    begun = time.monotonic()
    for _ in range(20):
        assert server.put("zoe", NEW, token).status == 204
    dripping = socket.create_connection(server.address, TIMEOUT)
    dripping.sendall(head)
    with contextlib.suppress(OSError):  # a reset, or a broken pipe
        while time.monotonic() < begun + TIMEOUT:
            dripping.sendall(b"x")
            time.sleep(0.02)
    assert time.monotonic() < begun + TIMEOUT
    dripping.close()
    for client in silent:
        assert hear(client) == b""
        client.close()
    assert server.stop() == 0
    assert sum("outcome=timeout" in line for line in server.log) == 301
    assert (people / "zoe" / "plan").read_text() == NEW


def test_the_memory_of_requests_is_bounded(start: StartPlans, run: Run) -> None:
    """As many are read as there is memory for; the longest silent gives way to one that comes."""
    size = 400_000
    server = start(rest=LIMITS.replace("read_seconds: 1", "read_seconds: 30").replace("1000", "5000"))
    config = server.config.read_text().replace("file_bytes: 4KiB", f"file_bytes: {size}")
    assert server.stop() == 0
    server.config.write_text(config)
    server = PlanServer(server.config, "serve")
    try:
        token = new_token(run, "zoe")
        length = FORM_BYTES * size + FORM_REST
        head = fields(b"Content-Length: %d" % length).replace(b"TOKEN", token.encode())
        clients = []
        for _ in range(120):
            client = socket.create_connection(server.address, TIMEOUT)
            client.sendall(head + b"x" * (length - 1))
            clients.append(client)
        wait_until(lambda: "outcome=dropped" in server.logged("outcome="))
        assert int(status(server.process.pid, "VmHWM")[0]) * 1024 < 2 * REQUEST_MEMORY + (100 << 20)
        assert server.put("zoe", NEW, token).status == 204
        for client in clients:
            client.close()
    finally:
        assert server.stop() == 0


def test_a_full_disk_keeps_the_old_plan(start: StartPlans, run: Run, people: Path) -> None:
    """The limit of a file's size stands for a full disk: a write beyond it fails after a part of the text."""
    server = start()
    token = new_token(run, "zoe")
    soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1000, hard))
    failed = server.put("zoe", "x" * 2000, token)
    assert (failed.status, str(people) in failed.text) == (500, False)
    server.logged("the plan of zoe was not changed: cannot write")
    page = server.request("POST", "/~zoe/edit", b"text=" + b"x" * 2000 + b"&token=" + token.encode())
    assert page.status == 500
    assert f">\n{'x' * 2000}</textarea>" in page.text
    assert (people / "zoe" / "plan").read_text() == "old\n"
    assert left_behind(people) == []
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert server.put("zoe", "x" * 2000, token).status == 204


@pytest.mark.parametrize("count", [257, 300, 4000])
def test_a_text_may_come_in_many_small_chunks(count: int, server: PlanServer, token: str, people: Path) -> None:
    raw = chunked(b"1\r\nx\r\n" * count + b"0\r\n\r\n").replace(b"TOKEN", token.encode())
    assert parse(send(server.address, raw, source=server.source)).status == 204
    assert (people / "zoe" / "plan").read_text() == "x" * count


# curl, as people use it


def curl(server: PlanServer, token: str, *words: str, given: bytes = b"") -> tuple[int, str]:
    """The status and the body of curl's response."""
    program = find("curl")
    assert program
    url = f"http://127.0.0.1:{server.address[1]}/~zoe/plan"
    command = [program, "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {token}", *words, url]
    done = subprocess.run(command, input=given, capture_output=True, timeout=TIMEOUT, check=True)
    body, _, code = done.stdout.decode().rpartition("\n")
    return int(code), body


@needs("curl")
def test_curl(start: StartPlans, run: Run, people: Path, tmp_path: Path) -> None:
    server = start()
    token = new_token(run, "zoe")
    plan, file = people / "zoe" / "plan", tmp_path / "new-plan"
    file.write_text("from a file\n")
    assert curl(server, token, "-T", str(file)) == (204, "")
    assert plan.read_text() == "from a file\n"
    begun = time.monotonic()  # curl waits for a second where it is told nothing
    assert curl(server, token, "-T", "-", given=b"from a pipe\n") == (204, "")
    assert curl(server, token, "-T", "-", "-H", "Expect: 100-continue", given=b"told to go on\n") == (204, "")
    assert time.monotonic() < begun + TIMEOUT
    assert plan.read_text() == "told to go on\n"
    assert curl(server, token, "-X", "PUT", "--data-binary", "@-", given=b"as data\n") == (204, "")
    assert plan.read_text() == "as data\n"
    assert curl(server, token, "--http1.0", "-T", str(file)) == (204, "")
    assert curl(server, token, "-T", "-", given=b"x" * 600_000)[0] == 413
    assert curl(server, token, "-T", "-", "-H", "Transfer-Encoding: chunked", given=b"\a")[0] == 422
    assert curl(server, token, "-X", "DELETE") == (204, "")
    assert not plan.exists()
    assert curl(server, "fgd_x", "-T", str(file)) == (401, "There is no such token, or it was revoked\n")


@needs("curl")
def test_curl_waits_until_it_is_told_to_go_on(start: StartPlans, run: Run, people: Path) -> None:
    server = start()
    token = new_token(run, "zoe")
    waiting = fields(b"Content-Length: 4", b"Expect: 100-continue").replace(b"TOKEN", token.encode())
    with socket.create_connection(server.address, TIMEOUT) as client:
        client.sendall(waiting[:-1])
        client.sendall(waiting[-1:])
        interim = client.recv(1000)
        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ne")
        client.sendall(b"w\n")
        assert parse(hear(client)).status == 204
    long = fields(b"Content-Length: 999999", b"Expect: 100-continue").replace(b"TOKEN", token.encode())
    assert parse(send(server.address, long)).status == 413  # at once, and not after a body
    assert (people / "zoe" / "plan").read_text() == NEW


def test_at_once_by_many_clients(start: StartPlans, run: Run) -> None:
    server = start()
    token = new_token(run, "zoe")
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda number: server.put("zoe", f"{number}\n", token).status, range(200)))
    assert set(statuses) == {204}
    assert server.stop() == 0
    logged = re.compile('query="PUT /~zoe/plan" outcome=answered .* proto=http status=204')
    assert len(list(filter(logged.search, server.log))) == 200
