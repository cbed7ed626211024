"""``type: web``: what a server may send before a page, and how its body may be encoded. Real servers on loopback."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fingerd.backends.web import Web
from fingerd.errors import BackendError
from tests.backends.web.test_web import find
from tests.helpers.daemons import TIMEOUT

OK = b"HTTP/1.1 200 OK\r\n"
PAGE = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@contextmanager
def server_of(answer: bytes) -> Iterator[str]:
    """A server that sends this to every client after its request, and closes; its address."""

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.settimeout(TIMEOUT)
                if client.recv(4096):
                    client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/~"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT)


@pytest.fixture
def web(request: pytest.FixtureRequest) -> Iterator[Web]:
    with server_of(request.param) as prefix:
        backend = Web(prefix=prefix, retries=0, timeout=2)
        yield backend
        backend.close()


INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n\r\n",
    "104": b"HTTP/1.1 104\r\nUpload-Offset: 1\r\n\r\n",
    "199": b"HTTP/1.1 199 Unheard\r\nTransfer-Encoding: gzip\r\nContent-Length: 9\r\n\r\n",
    "several": b"HTTP/1.1 103 A\r\n\r\nHTTP/1.1 100 B\r\n\r\nHTTP/1.1 102 C\r\n\r\nHTTP/1.1 103 D\r\nX: y\r\n\r\n",
    "many": b"HTTP/1.1 102 Processing\r\n\r\n" * 100,
}
CODED = {
    "chunked": b"Transfer-Encoding: chunked",
    "capitals": b"transfer-encoding: Chunked",
    "a space behind": b"Transfer-Encoding: chunked ",
    "identity": b"Transfer-Encoding: identity, chunked",
}
PLAIN = ("identity", "Identity", "none", "", "utf-8", "UTF-8", "iso-8859-1", "8bit", "identity, identity", "binary")
PAGES = {
    **{f"interim {name}": answer + PAGE for name, answer in INTERIM.items()},
    **{f"transfer {name}": OK + header + CHUNKED for name, header in CODED.items()},
    "transfer identity": OK + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    **{
        f"content {name or 'empty'}": OK + f"Content-Encoding: {name}\r\nContent-Length: 5\r\n\r\nhello".encode()
        for name in PLAIN
    },
}


@pytest.mark.parametrize("web", PAGES.values(), ids=PAGES, indirect=True)
def test_a_page_is_read(web: Web) -> None:
    assert find(web, "alice") == "hello"


NOT_REQUESTED = "a transfer coding that was not requested"
COMPRESSED = "compressed, which was not requested"
FAILURES = {
    **{
        f"transfer {name}": (OK + f"Transfer-Encoding: {name}".encode() + CHUNKED, NOT_REQUESTED)
        for name in ("gzip, chunked", "gzip", "chunked, chunked", "chunked, gzip", "br,chunked", "x", "chunked;a=b")
    },
    "two headers": (OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked" + CHUNKED, NOT_REQUESTED),
    **{
        f"content {name}": (OK + f"Content-Encoding: {name}\r\nContent-Length: 5\r\n\r\nhello".encode(), COMPRESSED)
        for name in ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "identity, gzip", "x", "utf-8, br")
    },
    "upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + PAGE, "status 101"),
    "too many": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 101 + PAGE, "too many interim answers"),
    "nothing behind": (INTERIM["103"], "closed connection without response"),
}


@pytest.mark.parametrize(("web", "cause"), FAILURES.values(), ids=FAILURES, indirect=["web"])
def test_other_answers_are_failures(web: Web, cause: str) -> None:
    with pytest.raises(BackendError, match=cause):
        find(web, "alice")


def test_an_interim_answer_does_not_hide_an_unknown_user_or_a_redirect() -> None:
    with server_of(PAGE) as target:
        moved = f"HTTP/1.1 302 Found\r\nLocation: {target}bob\r\nContent-Length: 0\r\n\r\n".encode()
        for answer, text in ((b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", None), (moved, "hello")):
            with server_of(INTERIM["several"] + answer) as prefix:
                # The target has another port: not followed to a private address, so the redirect was seen.
                backend = Web(prefix=prefix, retries=0, timeout=2)
                if text is None:
                    assert find(backend, "alice") is None
                else:
                    with pytest.raises(BackendError, match="redirected to another host"):
                        find(backend, "alice")
                backend.close()
