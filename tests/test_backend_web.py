"""``type: web``, against a real web server that is slow, huge, failing, redirecting and wrongly encoded."""

import gc
import gzip
import http.server
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from fingerd.backends import Ask
from fingerd.backends.web import Web
from fingerd.errors import BackendError
from tests.daemons import descriptors, eventually

Answer = Callable[["Pages"], None]


class Pages(http.server.BaseHTTPRequestHandler):
    """Pages by the last segment of their path."""

    protocol_version = "HTTP/1.1"
    seen: list["Pages"] = []  # noqa: RUF012 - of the whole test

    def do_GET(self) -> None:
        """Answer as the name says."""
        self.seen.append(self)
        page = PAGES.get(self.path.rpartition("~")[2])
        if page is None:
            self.send_error(404)
        else:
            page(self)

    def send(self, body: bytes, content_type: str | None = None, status: int = 200, **headers: str) -> None:
        """A whole page."""
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drip(self, data: bytes) -> None:
        """One byte after the other, slowly, until the client has enough."""
        try:
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quietly."""


def huge(page: Pages) -> None:
    page.send_response(200)
    page.send_header("Connection", "close")
    page.end_headers()
    try:
        while True:
            page.wfile.write(b"a line of many\n" * 1000)
    except OSError:
        page.close_connection = True


def stall(page: Pages) -> None:
    page.send_response(200)
    page.send_header("Content-Length", "100")
    page.end_headers()
    page.wfile.write(b"begun")
    page.wfile.flush()
    page.drip(b"x" * 90)


def short(page: Pages) -> None:
    page.send_response(200)
    page.send_header("Content-Length", "1000")
    page.end_headers()
    page.wfile.write(b"less than promised")
    page.close_connection = True


PAGES: dict[str, Answer] = {
    "alice": lambda page: page.send(b"Happy and well\n", "text/plain"),
    "empty": lambda page: page.send(b""),
    "utf8": lambda page: page.send("bäh".encode()),
    "latin1": lambda page: page.send("bäh".encode("latin-1"), "text/plain; charset=ISO-8859-1"),
    "quoted": lambda page: page.send("bäh".encode("latin-1"), 'text/plain; Charset="iso-8859-1"; x=y'),
    "cyrillic": lambda page: page.send("да".encode("koi8-r"), "text/plain; charset=koi8-r"),
    "wrong": lambda page: page.send(b"b\xe4h", "text/plain; charset=utf-8"),
    "unknown-charset": lambda page: page.send("bäh".encode(), "text/plain; charset=klingon-8"),
    "no-charset": lambda page: page.send("bäh".encode(), "text/plain; charset=a\0b".replace("\0", "")),
    "broken": lambda page: page.send(b"a secret cause", status=500),
    "gone": lambda page: page.send(b"", status=410),
    "moved": lambda page: page.send(b"", status=302, Location="/~alice"),
    "loop": lambda page: page.send(b"", status=302, Location="/~loop"),
    "away": lambda page: page.send(b"", status=301, Location="http://localhost:1/~alice"),
    "file": lambda page: page.send(b"", status=301, Location="file:///etc/passwd"),
    "headers": lambda page: page.drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000),
    "cookie": lambda page: page.send(page.headers.get("Cookie", "none").encode(), Set_Cookie="a=b"),
    "asked-as": lambda page: page.send(
        f"{page.headers['User-Agent']} {page.headers['X-Token']} {page.headers['Accept-Encoding']}".encode()
    ),
    "compressed": lambda page: page.send(gzip.compress(b"x" * 1000), Content_Encoding="gzip"),
    "huge": huge,
    "stall": stall,
    "short": short,
    "nonsense": lambda page: page.drip(b"SSH-2.0-OpenSSH\r\n"),
}


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def web(base: str) -> Iterator[Web]:
    backend = Web(prefix=f"{base}/~", timeout=0.6)
    Pages.seen.clear()
    yield backend
    backend.close()


def find(backend: Web, username: str, seconds: float = 10) -> str | None:
    people = backend.find(Ask(username, False, "192.0.2.1", time.monotonic() + seconds))
    return people[0].text if people else None


TEXTS = {
    "alice": "Happy and well\n",
    "empty": "",
    "utf8": "bäh",
    "latin1": "bäh",
    "quoted": "bäh",
    "cyrillic": "да",
    "wrong": "b\ufffdh",
    "unknown-charset": "bäh",
    "moved": "Happy and well\n",
    "nobody": None,
    ".": None,
    "..": None,
    "../x": None,
    "a b?c=d#e": None,
}


@pytest.mark.parametrize(("username", "text"), TEXTS.items(), ids=TEXTS)
def test_a_page_is_a_text_and_no_page_is_nobody(web: Web, username: str, text: str | None) -> None:
    assert find(web, username) == text


FAILURES = {
    "broken": "status 500",
    "gone": "status 410",
    "loop": "redirected too often",
    "away": "redirected to another host: http://localhost:1/~alice",
    "file": "redirected to another host: file:///etc/passwd",
    "compressed": "compressed, which was not asked for",
    "short": "IncompleteRead(18 bytes read, 982 more expected)",
    "stall": "not done in time",
    "headers": "not done in time",
    "nonsense": "not done in time",
}


@pytest.mark.parametrize(("username", "cause"), FAILURES.items(), ids=FAILURES)
def test_every_other_page_is_a_failure_with_its_cause(web: Web, base: str, username: str, cause: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BackendError) as caught:
        find(web, username)
    assert cause in str(caught.value)
    assert str(caught.value).startswith(f"web {base}/~{username}: ")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - begun < 2


def test_what_is_left_of_the_query_s_time_is_all_that_a_page_gets(web: Web) -> None:
    begun = time.monotonic()
    with pytest.raises(BackendError, match="not done in time"):
        find(web, "stall", seconds=0.2)
    with pytest.raises(BackendError, match="not done in time"):
        find(web, "alice", seconds=-1)
    assert time.monotonic() - begun < 0.6


def test_a_huge_page_is_cut_and_not_loaded(base: str) -> None:
    backend = Web(prefix=f"{base}/~", page_bytes=1000)
    text = find(backend, "huge")
    assert text == "a line of many\n" * 66 + "[answer cut]\n"
    backend.close()


def test_nothing_of_a_name_reaches_the_server_but_one_segment(web: Web) -> None:
    for name in ("a/../b", "a?b=c&d#e", "ü@x", "http://x/", "%2e%2e", "a\tb"):
        find(web, name)
    assert [page.path for page in Pages.seen] == [
        "/~a%2F..%2Fb",
        "/~a%3Fb%3Dc%26d%23e",
        "/~%C3%BC%40x",
        "/~http%3A%2F%2Fx%2F",
        "/~%252e%252e",
        "/~a%09b",
    ]


def test_a_name_may_stand_inside_of_the_address_and_headers_are_sent(base: str) -> None:
    backend = Web(url=f"{base}/people/~{{user}}", headers=MappingProxyType({"X-Token": "s3cret"}))
    assert find(backend, "asked-as") == "fingerd s3cret identity"
    assert "s3cret" not in repr(backend)
    backend.close()


def test_no_cookies_are_kept_and_no_proxy_is_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert [find(web, "cookie") for _ in range(2)] == ["none", "none"]


def test_connections_are_kept_for_the_next_page(web: Web) -> None:
    for _ in range(5):
        find(web, "alice")
    assert len({page.client_address for page in Pages.seen}) == 1


def test_kept_connections_end_with_the_backend(base: str) -> None:
    before = descriptors(os.getpid())
    backend = Web(prefix=f"{base}/~", timeout=0.3)
    gc.disable()  # which would end them some time, too
    try:
        find(backend, "alice")
        with pytest.raises(BackendError):
            find(backend, "stall")
        find(backend, "alice")
        backend.close()
        eventually(lambda: descriptors(os.getpid()) <= before)
    finally:
        gc.enable()


def test_a_server_that_is_not_there_or_says_nothing_is_a_failure(base: str) -> None:
    backend = Web(prefix="http://127.0.0.1:1/~")
    with pytest.raises(BackendError, match=r"Connection refused$"):
        find(backend, "alice")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = Web(prefix=f"http://127.0.0.1:{silent.getsockname()[1]}/~", timeout=0.3)
        with pytest.raises(BackendError, match="not done in time"):
            find(backend, "alice")
        backend = Web(prefix=f"https://127.0.0.1:{silent.getsockname()[1]}/~", timeout=0.3)
        begun = time.monotonic()
        with pytest.raises(BackendError):
            find(backend, "alice")
        assert time.monotonic() - begun < 2


def test_a_password_in_the_address_is_not_in_the_cause() -> None:
    with pytest.raises(BackendError) as caught:
        find(Web(prefix="http://bob:s3cret@127.0.0.1:1/~"), "alice")
    assert str(caught.value).startswith("web http://127.0.0.1:1/~alice: ")
    assert "s3cret" not in str(caught.value)
    assert "HTTPConnection" not in str(caught.value)


def test_a_password_in_the_address_is_no_other_host(base: str) -> None:
    named = base.replace("//", "//bob:s3cret@")
    backend = Web(prefix=f"{named}/~")
    assert find(backend, "moved") == "Happy and well\n"
    with pytest.raises(BackendError) as caught:
        find(backend, "away")
    backend.close()
    assert "s3cret" not in str(caught.value)


def test_a_host_that_has_no_address_is_a_failure() -> None:
    with pytest.raises(BackendError, match=r"nowhere\.invalid"):
        find(Web(prefix="http://nowhere.invalid/~", timeout=5), "alice")


NONSENSE = {
    "neither": ({}, "needs either prefix or url"),
    "both": ({"prefix": "http://a/", "url": "http://a/{user}"}, "needs either prefix or url"),
    "no user": ({"url": "http://a/"}, "url has no {user} in it"),
    "another scheme": ({"prefix": "ftp://a/"}, "an address begins with http:// or https://, and a host"),
    "no host": ({"prefix": "http:///~"}, "an address begins with http:// or https://, and a host"),
    "user in the host": ({"url": "http://{user}.example.org/"}, "a user's name may not be a part of the host"),
    "prefix that ends in the host": ({"prefix": "http://example."}, "a user's name may not be a part of the host"),
    "no port": ({"prefix": "http://a:99999/~"}, "Port out of range 0-65535"),
}


@pytest.mark.parametrize(("options", "complaint"), NONSENSE.values(), ids=NONSENSE)
def test_what_makes_no_sense_is_refused(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared below
        Web(**options)  # type: ignore[arg-type]
    assert str(caught.value) == complaint


def test_what_a_jail_lacks_is_noticed_before_anybody_asks(tmp_path: Path) -> None:
    assert list(Web(prefix="http://127.0.0.1/~").missing(tmp_path)) == []
    assert list(Web(prefix="http://[::1]/~").missing(tmp_path)) == []
    assert len(list(Web(prefix="https://example.org/~").missing(tmp_path))) == 2
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").touch()
    assert list(Web(prefix="http://example.org/~").missing(tmp_path)) == []
