"""``type: web`` against a real web server: slow, endless, failing, redirecting and wrongly encoded answers."""

import contextlib
import gc
import gzip
import http.server
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fingerd.backends import Lookup
from fingerd.backends.web import Web
from fingerd.config.system_options import Secret
from fingerd.errors import BackendError, OptionError
from fingerd.people import Person
from fingerd.testing import HOSTILE_NAMES
from tests.helpers.daemons import TIMEOUT, descriptors, wait_until

Answer = Callable[["Pages"], None]


class Pages(http.server.BaseHTTPRequestHandler):
    """Pages by the last segment of their path."""

    protocol_version = "HTTP/1.1"
    seen: list["Pages"] = []  # noqa: RUF012 - of the whole test

    def do_GET(self) -> None:
        """Answer by the name."""
        self.seen.append(self)
        page = PAGES.get(self.path.rpartition("~")[2])
        if page is None:
            self.send_error(404)
        else:
            page(self)

    def send(self, body: bytes, content_type: str | None = None, status: int = 200, **headers: str) -> None:
        """Send a complete page."""
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def flaky(self) -> None:
        """Answer every third query; close the connection of the others."""
        if len(self.seen) % 3:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.send(b"at last")

    def drip(self, data: bytes) -> None:
        """Send one byte after the other, slowly, until the client closes."""
        try:
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""


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


def chunks(page: Pages, before: bytes, endless: bytes) -> None:
    """Send a page in chunks, a part of which is endless."""
    page.send_response(200)
    page.send_header("Transfer-Encoding", "chunked")
    page.end_headers()
    try:
        page.wfile.write(before)
        while True:
            page.wfile.write(endless * 1000)
    except OSError:
        page.close_connection = True


def raw_location(page: Pages) -> None:
    page.send_response(302)
    page.send_header("Content-Length", "0")
    page.send_header("Location", "/über/~alice".encode().decode("latin-1"))
    page.end_headers()


PAGES: dict[str, Answer] = {
    "chunk-size": lambda page: chunks(page, b"", b"0" * 1000),
    "chunk-of-minus-one": lambda page: chunks(page, b"-1\r\n", b"x" * 1000),
    "chunk-trailer": lambda page: chunks(page, b"0\r\nX: ", b"x" * 1000),
    "chunk-trailers": lambda page: chunks(page, b"0\r\n", b"X: y\r\n"),
    "chunk-huge": lambda page: chunks(page, b"fffffffffffffff\r\n", b"a line of many\n"),
    "bom": lambda page: page.send("\ufeffbäh".encode()),
    "raw-location": raw_location,
    "slow-charset": lambda page: page.send("bäh-a".encode(), "text/plain; charset=punycode"),
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
    "html": lambda page: page.send(b"<h1>Alice</h1><script>x</script>1 &lt; 2", "text/html; charset=utf-8"),
    "json": lambda page: page.send(b'{"id": "alice", "phones": ["1", 2], "all": [{"id": "bob"}, {"id": "json"}]}'),
    "null": lambda page: page.send(b"null", "application/json"),
    "list": lambda page: page.send(b'[{"id": "alice"}, {"phones": ["3"]}, {"id": "bob"}]', "application/json"),
    "deep": lambda page: page.send(b"[" * 100_000, "application/json"),
    "auth": lambda page: page.send(str(page.headers["Authorization"]).encode()),
    "flaky": lambda page: page.flaky(),
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
    people = backend.find(Lookup(username, False, "192.0.2.1", time.monotonic() + seconds))
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
    "bom": "bäh",
    "slow-charset": "bäh-a",
    "nobody": None,
    ".": None,
    "..": None,
    "../x": None,
    "a b?c=d#e": None,
}


@pytest.mark.parametrize(("username", "text"), TEXTS.items(), ids=TEXTS)
def test_a_page_is_a_text_and_a_404_is_an_unknown_user(web: Web, username: str, text: str | None) -> None:
    assert find(web, username) == text


FAILURES: Mapping[str, str | tuple[str, ...]] = {
    "broken": "status 500",
    "gone": "status 410",
    "loop": "too many redirects",
    "away": "redirected to another host: http://localhost:1/~alice",
    "file": "redirected to another scheme: file:///etc/passwd",
    "compressed": "compressed, which was not requested",
    "short": "IncompleteRead(18 bytes read, 982 more expected)",
    "stall": "not done in time",
    "headers": "not done in time",
    "nonsense": "not done in time",
    "chunk-size": "got more than 65536 bytes",
    "chunk-of-minus-one": "a chunk without a size",
    "chunk-trailer": "got more than 65536 bytes",
    "chunk-trailers": ("not done in time", "got more than 100 trailers"),  # Python 3.14 counts them
}


@pytest.mark.parametrize(("username", "cause"), FAILURES.items(), ids=FAILURES)
def test_any_other_answer_is_a_failure_with_its_cause(
    web: Web, base: str, username: str, cause: str | tuple[str, ...]
) -> None:
    begun = time.monotonic()
    with pytest.raises(BackendError) as caught:
        find(web, username)
    causes = (cause,) if isinstance(cause, str) else cause
    assert any(each in str(caught.value) for each in causes), str(caught.value)
    assert str(caught.value).startswith(f"web {base}/~{username}: ")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - begun < 2


def test_the_deadline_of_the_query_limits_the_timeout(web: Web) -> None:
    begun = time.monotonic()
    with pytest.raises(BackendError, match="not done in time"):
        find(web, "stall", seconds=0.2)
    with pytest.raises(BackendError, match="not done in time"):
        find(web, "alice", seconds=-1)
    assert time.monotonic() - begun < TIMEOUT / 2


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("chunk-")])
def test_no_chunked_page_exhausts_the_memory(base: str, name: str) -> None:
    backend = Web(prefix=f"{base}/~", timeout=2, page_bytes=10_000)
    over = threading.Event()
    sizes: list[int] = [resident()]

    def watch() -> None:
        while not over.wait(0.01):
            sizes.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with contextlib.suppress(BackendError):
        find(backend, name)
    over.set()
    watcher.join()
    backend.close()
    assert max(sizes) - sizes[0] < 64 << 20


def test_a_chunked_page_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                client.sendall(b"5\r\nHello\r\n1;x=y\r\n!\r\n0\r\nX: y\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        backend = Web(prefix=f"http://127.0.0.1:{server.getsockname()[1]}/~", retries=0)
        assert find(backend, "alice") == "Hello!"
        backend.close()
        thread.join()


def resolve(monkeypatch: pytest.MonkeyPatch, look_up: Callable[[], Sequence[str]]) -> None:
    """Let the system's resolver answer for people.example."""
    system = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host == "people.example" and not kwargs.get("flags"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in look_up()]
        return system(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_name_resolution_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def wait() -> Sequence[str]:
        over.wait(TIMEOUT)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    resolve(monkeypatch, wait)
    with pytest.raises(BackendError, match=r"^web http://people\.example/alice: not done in time$"):
        find(Web(prefix="http://people.example/", timeout=0.3), "alice")
    over.set()


def test_a_silent_address_leaves_time_for_the_others(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(base.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for address in ("127.0.0.2", "127.0.0.3"):
            silent = stack.enter_context(socket.socket())
            silent.bind((address, port))
            silent.listen(0)
            for _ in range(3):  # more than its backlog
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex((address, port))
        resolve(monkeypatch, lambda: ("127.0.0.2", "127.0.0.3", "127.0.0.1"))
        backend = Web(prefix=f"http://people.example:{port}/~", timeout=2)
        assert find(backend, "alice") == "Happy and well\n"
        backend.close()
        resolve(monkeypatch, lambda: ("127.0.0.2", "127.0.0.3"))
        backend = Web(prefix=f"http://people.example:{port}/~", timeout=0.5)
        with pytest.raises(BackendError, match="not done in time"):
            find(backend, "alice")


def test_invalid_host_names_are_not_resolved() -> None:
    for host in ("a..b", "a" * 70):
        with pytest.raises(BackendError, match=r"is not a host name$"):
            find(Web(prefix=f"http://{host}/", retries=0), "alice")


def test_a_huge_page_is_cut_and_not_loaded(base: str) -> None:
    backend = Web(prefix=f"{base}/~", page_bytes=1000)
    text = find(backend, "huge")
    assert text == "a line of many\n" * 66 + "[answer cut]\n"
    backend.close()


def test_nothing_of_a_name_reaches_the_server_but_one_segment(web: Web) -> None:
    for name in ("a/b", "a?b=c&d#e", "ü@x", "http://x/", "%2e%2e", "a\tb"):
        find(web, name)
    assert [page.path for page in Pages.seen] == [
        "/~a%2Fb",
        "/~a%3Fb%3Dc%26d%23e",
        "/~%C3%BC%40x",
        "/~http%3A%2F%2Fx%2F",
        "/~%252e%252e",
        "/~a%09b",
    ]


@pytest.mark.parametrize("name", [".", "..", "../list", "a/../b", "a/..", "./a", "a\\..\\b", "/..", "../"])
def test_a_name_with_dot_segments_is_not_requested(base: str, name: str) -> None:
    Pages.seen.clear()
    for backend in (make(base), Web(url=f"{base}/{{user}}/~alice"), Web(url=f"{base}/?who={{user}}~alice")):
        assert find(backend, name) is None
        backend.close()
    assert Pages.seen == []


def test_a_name_may_be_inside_the_address_and_headers_are_sent(base: str) -> None:
    backend = Web(url=f"{base}/people/~{{user}}", headers=MappingProxyType({"X-Token": "s3cret"}))
    assert find(backend, "asked-as") == "fingerd s3cret identity"
    assert "s3cret" not in repr(backend)
    backend.close()


def test_a_location_may_be_in_utf_8(web: Web) -> None:
    assert find(web, "raw-location") == "Happy and well\n"
    assert Pages.seen[-1].path == "/%C3%BCber/~alice"


def test_no_cookies_are_stored_and_no_proxy_is_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert [find(web, "cookie") for _ in range(2)] == ["none", "none"]


def test_connections_are_reused(web: Web) -> None:
    for _ in range(5):
        find(web, "alice")
    assert len({page.client_address for page in Pages.seen}) == 1


def test_closing_the_backend_closes_idle_connections(base: str) -> None:
    before = descriptors(os.getpid())
    backend = Web(prefix=f"{base}/~", timeout=0.3)
    gc.disable()  # which would also close them
    try:
        find(backend, "alice")
        with pytest.raises(BackendError):
            find(backend, "stall")
        find(backend, "alice")
        backend.close()
        wait_until(lambda: descriptors(os.getpid()) <= before)
    finally:
        gc.enable()


def test_a_server_that_is_down_or_silent_is_a_failure(base: str) -> None:
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


@pytest.mark.parametrize(
    "prefix",
    [
        "http://u:p@s3cret@127.0.0.1:1/",
        "http://u:s3cret@exa mple:1/",
        "http://u:s3cret@a..b/",
        "http://127.0.0.1:1/?api_key=s3cret&user=",
        "http://127.0.0.1:1/#s3cret",
    ],
)
def test_the_cause_contains_no_secret_of_the_address(prefix: str) -> None:
    with pytest.raises(BackendError) as caught:
        find(Web(prefix=prefix, retries=0), "alice")
    assert str(caught.value).startswith("web http://")
    assert "s3cret" not in str(caught.value)


def test_a_redirect_without_the_password_is_the_same_origin(base: str) -> None:
    named = base.replace("//", "//bob:s3cret@")
    backend = Web(prefix=f"{named}/~")
    assert find(backend, "moved") == "Happy and well\n"
    with pytest.raises(BackendError) as caught:
        find(backend, "away")
    backend.close()
    assert "s3cret" not in str(caught.value)


def test_a_host_without_an_address_is_a_failure() -> None:
    with pytest.raises(BackendError, match=r"nowhere\.invalid"):
        find(Web(prefix="http://nowhere.invalid/~", timeout=5), "alice")


ADDRESSES = {
    "neither": ({}, "needs either prefix or url"),
    "both": ({"prefix": "http://a/", "url": "http://a/{user}"}, "give prefix or url, not both"),
    "no user": ({"url": "http://a/"}, "must contain {user}"),
    "another scheme": ({"prefix": "ftp://a/"}, "must begin with http:// or https:// and a host"),
    "no host": ({"prefix": "http:///~"}, "must begin with http:// or https:// and a host"),
    "user in the host": ({"url": "http://{user}.example.org/"}, "the user's name must not be part of the host"),
    "prefix that ends in the host": ({"prefix": "http://example."}, "the user's name must not be part of the host"),
    "no port": (
        {"prefix": "http://a:99999/~"},
        "is not a valid address (a password is percent-encoded)",
    ),
}


@pytest.mark.parametrize(("options", "message"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_invalid_address_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared below
        Web(**options)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_what_a_chroot_lacks_is_reported_at_start_up(tmp_path: Path) -> None:
    assert list(Web(prefix="http://127.0.0.1/~").missing_requirements(tmp_path)) == []
    assert list(Web(prefix="http://[::1]/~").missing_requirements(tmp_path)) == []
    (message,) = Web(prefix="https://example.org/~", verify=False).missing_requirements(tmp_path)
    assert message.startswith("host names cannot be resolved")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hosts").touch()
    assert list(Web(prefix="http://example.org/~").missing_requirements(tmp_path)) == []


# Formats


def make(base: str, **options: Any) -> Web:
    return Web(prefix=f"{base}/~", **options)


FORMATS = {"auto": "Alice\n\n1 < 2\n", "html": "Alice\n\n1 < 2\n", "text": "<h1>Alice</h1><script>x</script>1 &lt; 2"}


@pytest.mark.parametrize(("form", "text"), FORMATS.items(), ids=FORMATS)
def test_html_is_made_readable_by_content_type_or_option(base: str, form: Any, text: str) -> None:
    backend = make(base, format=form)
    assert find(backend, "html") == text
    assert find(backend, "alice") == "Happy and well\n"
    backend.close()


def test_cut_html_is_marked(base: str) -> None:
    backend = make(base, page_bytes=20)
    assert find(backend, "html") == "Alice\n[answer cut]\n"
    backend.close()


FIELDS = MappingProxyType({"login": "id", "home_phone": "phones.1"})


def test_a_json_answer_is_people(base: str) -> None:
    backend = make(base, fields=FIELDS)
    ask = Lookup("json", False, "192.0.2.1", time.monotonic() + 10)
    assert backend.find(ask) == (Person("alice", home_phone="2", plan=""),)
    backend.close()
    backend = make(base, fields=FIELDS, format="json", people="all")
    assert [person.login for person in backend.find(ask)] == ["json", "bob"]
    backend.close()


def test_null_is_an_unknown_user(base: str) -> None:
    backend = make(base, fields=FIELDS)
    assert find(backend, "null") is None
    assert not backend.find(Lookup("null", False, "192.0.2.1", time.monotonic() + 10))
    backend.close()


JSON_FAILURES = {
    "alice": "not JSON: Expecting value",
    "html": "not JSON: Expecting value",
    "empty": "not JSON: Expecting value",
    "deep": "nested too deeply",
    "huge": "longer than page_bytes",
    "broken": "status 500",
}


@pytest.mark.parametrize(("username", "cause"), JSON_FAILURES.items(), ids=JSON_FAILURES)
def test_any_other_answer_is_a_failure_with_fields(base: str, username: str, cause: str) -> None:
    backend = make(base, fields=FIELDS)
    with pytest.raises(BackendError) as caught:
        find(backend, username)
    assert str(caught.value).startswith(f"web {base}/~{username}: {cause}")
    backend.close()


def listed(backend: Web) -> list[tuple[str, str | None]] | None:
    people = backend.list_users(Lookup("", False, "192.0.2.1", time.monotonic() + 10))
    return None if people is None else [(person.login, person.text) for person in people]


def test_the_list_is_another_page(base: str) -> None:
    assert listed(make(base)) is None
    backend = make(base, list_url=f"{base}/~html")
    assert listed(backend) == [("", "Alice\n\n1 < 2\n")]
    backend.close()
    for page, at, logins in (("list", None, ["alice", "bob"]), ("null", None, []), ("json", "all", ["bob", "json"])):
        backend = make(base, list_url=f"{base}/~{page}", fields=FIELDS, list_people=at)
        assert listed(backend) == [(login, None) for login in logins]
        backend.close()


def test_a_404_for_the_list_is_a_failure(base: str) -> None:
    backend = make(base, list_url=f"{base}/~nobody")
    with pytest.raises(BackendError, match=r"~nobody: status 404$"):
        listed(backend)
    backend.close()


# What is sent


@pytest.mark.parametrize(
    ("secret", "header"),
    {"bob:s3cr\u00e9t": "Basic Ym9iOnMzY3LDqXQ=", "abc.DEF-1==": "Bearer abc.DEF-1=="}.items(),
    ids=["password", "token"],
)
def test_the_secret_of_auth_file_is_sent_and_not_shown(base: str, secret: str, header: str) -> None:
    backend = make(base, auth_file=Secret(secret))
    assert find(backend, "auth") == header
    assert secret not in repr(backend)
    assert header not in repr(backend)
    with pytest.raises(BackendError) as caught:
        find(backend, "away")
    assert secret not in str(caught.value)
    backend.close()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=30))
def test_any_name_is_one_path_segment(web: Web, base: str, name: str) -> None:
    assume({".", ".."}.isdisjoint(name.replace("\\", "/").split("/")))
    Pages.seen.clear()
    find(web, name + "~none")
    (page,) = Pages.seen
    assert page.path.startswith("/~")
    assert unquote(page.path[2:]) == name + "~none"
    assert not set("/?#\\;&@:%") & set(page.path[2:]) - {"%"}
    assert page.headers["Host"] == base.removeprefix("http://")


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name not in (".", "..")])
def test_a_hostile_name_is_one_value_of_a_query_string(base: str, name: str) -> None:
    Pages.seen.clear()
    backend = Web(url=f"{base}/people?who={{user}}&x=y")
    assert find(backend, name) is None
    (page,) = Pages.seen
    assert page.path.startswith("/people?who=")
    assert page.path.endswith("&x=y")
    assert unquote(page.path[len("/people?who=") : -len("&x=y")]) == name
    assert not set("/?#\\;&@:") & set(page.path[len("/people?who=") : -len("&x=y")])
    backend.close()


# Failed connections


def test_a_failed_connection_is_retried(base: str) -> None:
    for retries, tries in ((0, 1), (1, 2)):
        Pages.seen.clear()
        backend = make(base, retries=retries)
        with pytest.raises(BackendError):
            find(backend, "flaky")
        assert len(Pages.seen) == tries
        backend.close()
    Pages.seen.clear()
    backend = make(base, retries=2)
    assert find(backend, "flaky") == "at last"
    backend.close()


def test_nothing_else_is_retried(base: str) -> None:
    backend = make(base, retries=5, timeout=0.5)
    for page in ("broken", "stall", "short", "nobody", "loop"):
        Pages.seen.clear()
        with pytest.raises(BackendError) if page != "nobody" else contextlib.nullcontext():
            find(backend, page)
        assert len(Pages.seen) == (6 if page == "loop" else 1), page
    backend.close()


def test_retries_end_at_the_deadline() -> None:
    begun = time.monotonic()
    with pytest.raises(BackendError, match=r"Connection refused$"):
        find(Web(prefix="http://127.0.0.1:1/~", retries=10), "alice", seconds=0.5)
    assert time.monotonic() - begun < 5


OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "json without fields": ({"format": "json"}, ("format",), "json needs fields"),
    "fields with a text": ({"format": "text", "fields": FIELDS}, ("fields",), "need format: json, not text"),
    "no atom": ({"fields": {"nam": "x"}}, ("fields", "nam"), "there is no atom nam"),
    "people with a text": ({"people": "x"}, ("people",), "is a path in a JSON answer"),
    "a list elsewhere": ({"list_url": "http://b/"}, ("list_url",), "must have the host and port of the users' pages"),
    "a list on another port": ({"list_url": "http://a:81/"}, ("list_url",), "must have the host and port"),
    "a list that is not safe": ({"list_url": "ftp://a/"}, ("list_url",), "must have the host and port"),
    "a list without logins": (
        {"list_url": "http://a:80/all", "fields": {"name": "x"}},
        ("fields",),
        "needs login, for the list of users",
    ),
    "a header of two lines": ({"headers": {"X": "s3cret\r\nY: z"}}, ("headers", "X"), "is not a valid header"),
    "a header in another script": ({"headers": {"X": "s3cret\u20ac"}}, ("headers", "X"), "is not a valid header"),
    "no token": ({"auth_file": Secret("s3cret token")}, ("auth_file",), "must contain user:password or a bearer token"),
    "two secrets": (
        {"auth_file": Secret("a:b"), "headers": {"authorization": "c"}},
        ("auth_file",),
        "the address or the headers contain a password, too",
    ),
}


@pytest.mark.parametrize(("options", "keys", "message"), OPTIONS.values(), ids=OPTIONS)
def test_an_invalid_option_is_named(options: dict[str, Any], keys: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Web(prefix="http://a/~", **options)
    assert (str(caught.value)[: len(message)], caught.value.keys) == (message, keys)
    assert "s3cret" not in str(caught.value)


def test_what_may_disclose_a_secret_is_a_warning() -> None:
    token = Secret("abc")
    assert [list(Web(prefix=f"http://{host}/~", auth_file=token).warnings()) for host in ("localhost", "[::1]")] == [
        [],
        [],
    ]
    (warning,) = Web(prefix="http://example.org/~", auth_file=token).warnings()
    assert warning.startswith("auth_file is sent over http")
    (warning,) = Web(prefix="https://example.org/~", auth_file=token, verify=False).warnings()
    assert warning.startswith("verify is false")
    assert not list(Web(prefix="https://example.org/~", auth_file=token).warnings())
    headers = MappingProxyType({"authorization": "Bearer s3cret"})
    for backend, secret in (
        (Web(prefix="http://u:s3cret@example.org/~"), "the password in the address"),
        (Web(prefix="http://example.org/~", headers=headers), "the Authorization header"),
    ):
        (warning,) = backend.warnings()
        assert warning.startswith(f"{secret} is sent over http: ")
    assert not list(Web(prefix="http://u:s3cret@localhost/~", headers=headers).warnings())
