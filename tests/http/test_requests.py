"""Requests that no browser sends: each gets one response with the right status, or is closed, and is logged once."""

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.helpers.daemons import TIMEOUT, ask, hear, status, wait_until
from tests.helpers.http import HttpDaemon, head, parse, send
from tests.http.conftest import StartHttp

PEOPLE = """
backend:
  type: static
  users:
    zoe: {name: Zoe Quill, plan: Reading}
    jürgen: Grüße
    "a/b": A slash
    "50%": A per cent sign
    "..": Dots
policy: [{from: any, list: true}]
limits: {read_seconds: 1, per_client: 1000}
"""
GET = b"GET /~zoe HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDaemon]:
    url = 'base_url: "https://people.example.org", domains: [example.org]'
    found = HttpDaemon(tmp_path_factory.mktemp("http"), PEOPLE, url)
    yield found
    assert found.stop() == 0
    assert not [line for line in found.log if "Traceback" in line or "internal error" in line]


OUTCOMES = {200: "answered", 303: "answered", 400: "malformed", 404: "unknown", 405: "refused", 505: "malformed"}
OUTCOMES |= {414: "too-long", 431: "too-long"}


def fields(*lines: bytes) -> bytes:
    """A request for zoe with these lines in its header."""
    return GET + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def request_line(line: bytes) -> bytes:
    """A request with this line at its beginning."""
    return line + b"\r\n" + HOST + b"\r\n"


def padded(size: int) -> bytes:
    """A request whose head has so many bytes."""
    short = fields(b"X: ")
    return fields(b"X: " + b"x" * (size - len(short)))


def long_target(size: int) -> bytes:
    """A request whose request line has so many bytes, its end included."""
    return request_line(b"GET /?" + b"x" * (size - len("GET /? HTTP/1.1\r\n")) + b" HTTP/1.1")


SMUGGLED = b"GET /~smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

REQUESTS: dict[str, tuple[bytes, int]] = {
    # Bodies, and what two readers of a request may disagree about (RFC 9112 6, 11.2).
    "a body": (fields(b"Content-Length: 3") + b"abc", 400),
    "a chunked body": (fields(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "a length and chunks": (fields(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED, 400),
    "chunks and a length": (fields(b"Transfer-Encoding: chunked", b"Content-Length: 0") + b"0\r\n\r\n" + SMUGGLED, 400),
    "two lengths": (fields(b"Content-Length: 0", b"Content-Length: 37") + SMUGGLED, 400),
    "two lengths in one field": (fields(b"Content-Length: 0, 37") + SMUGGLED, 400),
    "the same length twice": (fields(b"Content-Length: 3", b"Content-Length: 3") + b"abc", 400),
    "no body, said in several ways": (fields(b"Content-Length: 0", b"Content-Length: 0"), 200),
    "a length of zeros": (fields(b"Content-Length: 000"), 200),
    "a length with a plus": (fields(b"Content-Length: +0"), 400),
    "a length with a minus": (fields(b"Content-Length: -1"), 400),
    "a length with a space": (fields(b"Content-Length: 1 0"), 400),
    "a length with an underscore": (fields(b"Content-Length: 1_0"), 400),
    "a hexadecimal length": (fields(b"Content-Length: 0x0"), 400),
    "a length in other digits": (fields("Content-Length: \u0660".encode()), 400),
    "an empty length": (fields(b"Content-Length:"), 400),
    "a length that is no number for Python": (fields(b"Content-Length: " + b"9" * 5000), 400),
    "zeros that are none either": (fields(b"Content-Length: " + b"0" * 5000), (400)),
    "two codings": (fields(b"Transfer-Encoding: gzip, chunked"), 400),
    "a coding twice": (fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "identity": (fields(b"Transfer-Encoding: identity"), 400),
    "an unknown coding": (fields(b"Transfer-Encoding: xchunked"), 400),
    "a coding in quotes": (fields(b'Transfer-Encoding: "chunked"'), 400),
    "a coding in capitals": (fields(b"TRANSFER-ENCODING: CHUNKED"), 400),
    "a coding after a tab": (fields(b"Transfer-Encoding:\tchunked"), 400),
    "a coding after a vertical tab": (fields(b"Transfer-Encoding:\x0bchunked"), 400),
    "an empty coding": (fields(b"Transfer-Encoding:"), 400),
    "a space before the colon": (fields(b"Transfer-Encoding : chunked"), 400),
    "a tab before the colon": (fields(b"Content-Length\t: 3"), 400),
    "a folded coding": (fields(b"Transfer-Encoding:", b" chunked"), 400),
    "a folded field": (fields(b"X: a", b"\tb"), 400),
    "a folded first field": (GET + b" X: a\r\n" + HOST + b"\r\n", 400),
    "a bare CR in a field": (fields(b"X: a\rContent-Length: 3"), 400),
    "a bare CR before the line end": (fields(b"X: a\r"), 400),
    "a bare CR in the request line": (request_line(b"GET /\r~zoe HTTP/1.1"), 400),
    "a bare LF among CR LF": (fields(b"X: a\nX-Forwarded-For: 127.0.0.1"), 400),
    "a bare LF at the end": (GET + HOST + b"\n", 400),
    "LF alone": (fields(b"X: a").replace(b"\r", b""), 200),
    "a NUL": (fields(b"X: a\0b"), 400),
    "a line without a colon": (fields(b"nonsense"), 400),
    "an empty name": (fields(b": a"), 400),
    "a name with a space": (fields(b"a b: c"), 400),
    "a second request": (fields() + SMUGGLED, 200),
    "a second request and a length": (fields(b"Content-Length: 0") + SMUGGLED, 200),
    # Host (RFC 9112 3.2).
    "no host": (GET + b"\r\n", 400),
    "two hosts": (fields(b"Host: localhost"), 400),
    "an empty host": (GET + b"Host:\r\n\r\n", 200),
    "a host with a port": (GET + b"Host: [::1]:80\r\n\r\n", 200),
    "a host with a path": (GET + b"Host: a/b\r\n\r\n", 400),
    "a host with a user": (GET + b"Host: a@b\r\n\r\n", 400),
    "a host with a space": (GET + b"Host: a b\r\n\r\n", 400),
    "a host with markup": (GET + b"Host: <b>\r\n\r\n", 400),
    # Sizes: the first that is too much of each.
    "100 fields": (fields(*[b"X: y"] * 99), 200),
    "101 fields": (fields(*[b"X: y"] * 100), 431),
    "thousands of fields": (fields(*[b"a:"] * 2000), 431),
    "8 KiB": (padded(8192), 200),
    "8 KiB and a byte": (padded(8193), 431),
    "a field of 64 KiB": (padded(65536), 431),
    "a target of 8,100 bytes": (long_target(8150), 200),
    "a request line of 8 KiB": (long_target(8192), 431),
    "a longer request line": (long_target(8194), 414),
    "a request line of 64 KiB": (long_target(65536), 414),
    "100 fields of a query": (request_line(b"GET /?" + b"a=1&" * 99 + b"a=1 HTTP/1.1"), 200),
    "101 fields of a query": (request_line(b"GET /?" + b"a=1&" * 100 + b"a=1 HTTP/1.1"), 400),
    # Targets (RFC 9112 3.2).
    "dot segments": (request_line(b"GET /../../etc/passwd HTTP/1.1"), 404),
    "dot segments of a name": (request_line(b"GET /~zoe/../~zoe HTTP/1.1"), 404),
    "encoded dot segments": (request_line(b"GET /%2e%2e/~zoe HTTP/1.1"), 404),
    "dots as a name": (request_line(b"GET /~.. HTTP/1.1"), 200),
    "a slash in a name": (request_line(b"GET /~a%2Fb HTTP/1.1"), 200),
    "a slash that is none of a name": (request_line(b"GET /~a/b HTTP/1.1"), 404),
    "an encoded slash in a path": (request_line(b"GET /~zoe%2Ftext HTTP/1.1"), 404),
    "an encoded tilde": (request_line(b"GET /%7Ezoe HTTP/1.1"), 200),
    "a double encoding": (request_line(b"GET /~%257a%256f%2565 HTTP/1.1"), 404),
    "an encoded NUL": (request_line(b"GET /~zoe%00 HTTP/1.1"), 400),
    "an encoded NUL elsewhere": (request_line(b"GET /x%00 HTTP/1.1"), 404),
    "an encoded line end": (request_line(b"GET /~zoe%0d%0aSet-Cookie:x HTTP/1.1"), 400),
    "an encoded LF at the end": (request_line(b"GET /~zoe%0A HTTP/1.1"), 400),
    "an encoded escape": (request_line(b"GET /~%1b[2J HTTP/1.1"), 400),
    "an encoded C1 control": (request_line(b"GET /~%C2%9B HTTP/1.1"), 400),
    "a per cent sign": (request_line(b"GET /~50%25 HTTP/1.1"), 200),
    "a bare per cent sign": (request_line(b"GET /~50% HTTP/1.1"), 400),
    "half an encoded byte": (request_line(b"GET /~zoe%2 HTTP/1.1"), 400),
    "an encoded byte that is none": (request_line(b"GET /~%zz HTTP/1.1"), 400),
    "an encoded character that is no byte": (request_line(b"GET /~%u0041 HTTP/1.1"), 400),
    "a bare per cent sign in a query": (request_line(b"GET /?q=50% HTTP/1.1"), 400),
    "a name in UTF-8": (request_line(b"GET /~j%C3%BCrgen HTTP/1.1"), 200),
    "the same name in another normal form": (request_line(b"GET /~ju%CC%88rgen HTTP/1.1"), 200),
    "a name in windows-1252": (request_line(b"GET /~j%FCrgen HTTP/1.1"), 200),
    "a byte that windows-1252 has not": (request_line(b"GET /~j%FCrgen%81 HTTP/1.1"), 400),
    "half a character": (request_line(b"GET /~%ED%A0%80 HTTP/1.1"), 404),
    "a name in bytes that are not encoded": (request_line("GET /~jürgen HTTP/1.1".encode()), 400),
    "a field in windows-1252": (request_line(b"GET /?q=j%FCrgen HTTP/1.1"), 303),
    "a field with a line end": (request_line(b"GET /?q=a%0d%0aSet-Cookie:x HTTP/1.1"), 303),
    "a field that is no text": (request_line(b"GET /?q=%81%FF HTTP/1.1"), 400),
    "a fragment": (request_line(b"GET /~zoe#x HTTP/1.1"), 400),
    "a fragment after a query": (request_line(b"GET /?q=zoe#x HTTP/1.1"), 400),
    "a backslash": (request_line(b"GET /~zoe\\text HTTP/1.1"), 404),
    "a second slash": (request_line(b"GET //~zoe HTTP/1.1"), 404),
    "a parameter": (request_line(b"GET /~zoe;a=b HTTP/1.1"), 404),
    "an absolute form": (request_line(b"GET http://localhost/~zoe HTTP/1.1"), 200),
    "an absolute form in capitals": (request_line(b"GET HTTPS://A.EXAMPLE:8080/~zoe?x HTTP/1.1"), 200),
    "an absolute form without a path": (request_line(b"GET http://localhost HTTP/1.1"), 200),
    "an absolute form with a query alone": (request_line(b"GET http://localhost?q=zoe HTTP/1.1"), 303),
    "an absolute form of something else": (request_line(b"GET ftp://localhost/~zoe HTTP/1.1"), 400),
    "an absolute form twice": (request_line(b"GET http://a/http://b/~zoe HTTP/1.1"), 404),
    "an authority form": (request_line(b"GET localhost:80 HTTP/1.1"), 400),
    "an asterisk": (request_line(b"GET * HTTP/1.1"), 400),
    "no slash": (request_line(b"GET ~zoe HTTP/1.1"), 400),
    # Methods.
    "CONNECT": (request_line(b"CONNECT localhost:443 HTTP/1.1"), 405),
    "OPTIONS": (request_line(b"OPTIONS /~zoe HTTP/1.1"), 405),
    "OPTIONS of all": (request_line(b"OPTIONS * HTTP/1.1"), 405),
    "POST": (request_line(b"POST /~zoe HTTP/1.1"), 405),
    "POST with a body": (request_line(b"POST /~zoe HTTP/1.1")[:-2] + b"Content-Length: 3\r\n\r\nabc", 400),
    "PUT": (request_line(b"PUT /~zoe HTTP/1.1"), 405),
    "DELETE": (request_line(b"DELETE /~nobody HTTP/1.1"), 405),
    "TRACE": (request_line(b"TRACE / HTTP/1.1"), 405),
    "a method in small letters": (request_line(b"get /~zoe HTTP/1.1"), 405),
    "a method of a stranger's": (request_line(b"M-SEARCH * HTTP/1.1"), 405),
    "a method that is none": (request_line(b"GE(T /~zoe HTTP/1.1"), 400),
    # Versions, and other protocols.
    "HTTP/1.0": (b"GET /~zoe HTTP/1.0\r\n\r\n", 200),
    "HTTP/1.2": (request_line(b"GET /~zoe HTTP/1.2"), 200),
    "HTTP/0.9": (b"GET /~zoe\r\n", 400),
    "HTTP/0.9 that says so": (b"GET /~zoe HTTP/0.9\r\n\r\n", 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/2": (request_line(b"GET /~zoe HTTP/2.0"), 505),
    "HTTP/2 by its name": (request_line(b"GET /~zoe HTTP/2"), 400),
    "a version in small letters": (request_line(b"GET /~zoe http/1.1"), 400),
    "a version with two digits": (request_line(b"GET /~zoe HTTP/1.10"), 400),
    "two spaces": (request_line(b"GET  /~zoe HTTP/1.1"), 400),
    "a space in the target": (request_line(b"GET /~zoe quill HTTP/1.1"), 400),
    "tabs": (request_line(b"GET\t/~zoe\tHTTP/1.1"), 400),
    "an upgrade": (fields(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"), 200),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + bytes(range(160)), 400),
    "TLS with an LF": (bytes.fromhex("1603010a0a0100000a0303") + b"\n\n" + bytes(160), 400),
    "SSL 2": (bytes.fromhex("802e0100020015000000100100800700c0"), 400),
    "an empty line first": (b"\r\n" + fields(), 400),
    "a space first": (b" " + fields(), 400),
    "Finger": (b"zoe\r\n", 400),
    "Finger's {W}": (b"/W zoe\r\n", 400),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
    "the PROXY protocol": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + fields(), 400),
    "the PROXY protocol, version 2": (bytes.fromhex("0d0a0d0a000d0a515549540a2111000c") + bytes(12) + fields(), 400),
}


@pytest.mark.parametrize(("request_bytes", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_gets_one_response(daemon: HttpDaemon, request_bytes: bytes, expected: int) -> None:
    response = parse(send(daemon.http, request_bytes))  # whose length is that of all that came
    assert response.status == expected
    assert response.headers["connection"] == "close"
    assert "set-cookie" not in response.headers
    assert response.headers.get("allow") == ("GET, HEAD" if expected == 405 else None)
    assert b"smuggled" not in response.raw


def test_each_request_is_logged_once(start_http: StartHttp) -> None:
    daemon = start_http(PEOPLE)
    for request, _ in REQUESTS.values():
        send(daemon.http, request)
    assert daemon.stop() == 0
    found = [line.rpartition(" outcome=")[2] for line in daemon.log if "client=" in line]
    lines = Counter(re.sub(" bytes=[0-9]+ ms=[0-9.]+", "", line) for line in found)
    assert lines == Counter(f"{OUTCOMES[status]} proto=http status={status}" for _, status in REQUESTS.values())


@pytest.mark.parametrize("title", ["a body", "8 KiB", "a longer request line", "a second request", "HTTP/0.9", "TLS"])
def test_a_request_that_comes_byte_by_byte(daemon: HttpDaemon, title: str) -> None:
    request, expected = REQUESTS[title]
    with socket.create_connection(daemon.http, TIMEOUT) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            try:
                client.send(bytes((byte,)))
            except (BrokenPipeError, ConnectionResetError):  # it is answered, and closed
                break
        response = parse(hear(client))
    assert response.status == expected


def test_errors_of_webfinger_may_be_read_by_scripts_of_other_hosts(daemon: HttpDaemon) -> None:
    path = b"/.well-known/webfinger"
    for line, expected in {
        b"GET %s HTTP/1.1": 400,
        b"GET %s?resource=%%zz HTTP/1.1": 400,
        b"GET %s?resource=%%81%%FF HTTP/1.1": 400,
        b"GET %s?resource=acct:zoe@example.org HTTP/1.1": 404,
        b"OPTIONS %s HTTP/1.1": 405,
    }.items():
        response = parse(send(daemon.http, request_line(line % path)))
        assert (response.status, response.headers.get("access-control-allow-origin")) == (expected, "*")


def test_a_name_is_found_in_each_charset(daemon: HttpDaemon) -> None:
    for target in ("/~j%C3%BCrgen/text", "/~ju%CC%88rgen/text", "/~j%FCrgen/text"):
        assert daemon.get(target).text == "Grüße\r\n"
    assert daemon.get("/?q=j%FCrgen").headers["location"] == "/~j%C3%BCrgen"
    assert daemon.get("/?q=a%0d%0aSet-Cookie:x").headers["location"] == "/~a%0D%0ASet-Cookie%3Ax"


HALF = {
    "nothing": (b"", 0, "hung-up"),
    "a part of the request line": (b"GET /~z", 400, "malformed"),
    "a request line": (GET, 400, "malformed"),
    "a part of the header": (GET + HOST, 400, "malformed"),
    "a whole head": (fields(), 200, "answered"),
    "a second request": (fields() + GET, 200, "answered"),
}


def test_clients_that_half_close(start_http: StartHttp) -> None:
    daemon = start_http(PEOPLE)
    for request, expected, outcome in HALF.values():
        raw = ask(daemon.http, request, hang_up=True)
        assert (parse(raw).status if raw else 0) == expected
        assert f"outcome={outcome} " in daemon.logged(f"proto=http status={expected}")


def test_clients_that_stop_or_drip_are_closed_after_read_seconds(start_http: StartHttp) -> None:
    daemon = start_http(PEOPLE)
    silent = [socket.create_connection(daemon.http, TIMEOUT) for _ in range(4)]
    for client, sent in zip(silent, (b"", b"G", GET, GET + HOST), strict=True):
        client.send(sent)
    with socket.create_connection(daemon.http, TIMEOUT) as dripping:
        dripping.setblocking(False)
        dripping.send(GET)

        def is_closed() -> bool:
            try:
                dripping.send(b"X: y\r\n")
                return dripping.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        wait_until(is_closed)
    for client in silent:
        assert hear(client) == b""
        client.close()
    found = [re.findall('query=(".*") outcome=timeout', daemon.logged("proto=http status=0")) for _ in range(5)]
    assert sorted(query for (query,) in found) == ['""', '"G"', *['"GET /~zoe"'] * 3]


def test_a_client_that_never_reads(start_http: StartHttp) -> None:
    people = f"backend: {{type: static, users: {{zoe: Reading, long: '{'0123456789abcdef' * 12_000}'}}}}\n"
    daemon = start_http(f"{people}limits: {{write_seconds: 0.5}}\n")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        client.connect(daemon.http)
        client.sendall(head("/~long"))
        assert "outcome=timeout" in daemon.logged("proto=http status=200")
        assert daemon.get("/~zoe").status == 200


def test_no_request_is_kept(daemon: HttpDaemon) -> None:
    """A megabyte after the head is read and dropped, and the client gets its answer."""
    before = int(status(daemon.process.pid, "VmRSS")[0])
    for _ in range(20):
        assert parse(send(daemon.http, fields(b"Content-Length: 900000") + b"x" * 900_000)).status == 400
    assert int(status(daemon.process.pid, "VmRSS")[0]) < before + 20_000


def test_conditions(daemon: HttpDaemon) -> None:
    whole = daemon.get("/~zoe")
    date, tag = whole.headers["date"], whole.headers["etag"]
    assert abs(time.time() - time.mktime(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) + time.timezone) < 60
    unchanged = daemon.get("/~zoe", If_None_Match=tag)
    assert f"outcome=answered bytes={len(unchanged.raw)} " in daemon.logged("proto=http status=304")
    assert {"etag", "date", "vary", "cache-control"} <= set(unchanged.headers)
    assert "content-length" not in unchanged.headers
    assert daemon.get("/~zoe", "HEAD", If_None_Match=tag).status == 304
    for condition in (tag.strip('"'), tag.upper().replace('"', ""), "", '""', "," * 4000, '"\x01"'):
        assert daemon.get("/~zoe", If_None_Match=condition).status == 200
    # A condition with `*` holds for what there is (RFC 9110 13.1.2), and an answer without a tag is always sent.
    for target in ("/~nobody", "/~zoe%00", "/?q=zoe"):
        assert daemon.get(target, If_None_Match="*").status in (404, 400, 303)
    for target, expected in (("/~nobody", 404), ("/~zoe%00", 400), ("/~zoe", 200)):
        only_head, full = daemon.get(target, "HEAD"), daemon.get(target)
        assert (only_head.status, only_head.body) == (expected, b"")
        assert {**only_head.headers, "date": ""} == {**full.headers, "date": ""}


def test_the_log_shows_no_byte_of_a_stranger_s(start_http: StartHttp) -> None:
    daemon = start_http(PEOPLE)
    for request in (b"\x1b[2J\r\n", b"GET /\x1b]0;x\x07 HTTP/1.1\r\n\r\n", b'GET /" outcome=answered HTTP/1.1\r\n\r\n'):
        assert parse(send(daemon.http, request)).status == 400
        line = daemon.logged("query=")
        assert line.isascii()
        assert line.isprintable()
        quoted = re.fullmatch(r'.* query=("(?:[^"\\]|\\.)*") outcome=malformed bytes=\d+ ms=[\d.]+ proto=.*', line)
        assert quoted
        expected = request.partition(b"\r\n")[0].removesuffix(b" HTTP/1.1").decode("latin-1")
        assert json.loads(quoted[1]) == expected


def test_an_accept_of_any_length_is_compared_with_little(daemon: HttpDaemon) -> None:
    short, long = "text/plain" + "," * 900, "text/plain" + "," * 7000
    for accept, kind in ((short, "text/plain"), (long, "text/html")):
        assert daemon.get("/~zoe", Accept=accept).headers["content-type"].startswith(kind)
