"""The web server of the ``web`` backend: ``/GENERATION/USER`` is a page; some users are slow or fail."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from tests.soak.configurations import SLOW_SECONDS, TIMEOUT_SECONDS
from tests.soak.queries import BROKEN, GENERATION, SLOW, SLOW_TEXT, STUCK, TEXTS


class Pages(ThreadingHTTPServer):
    """A server whose slow answers end when ``closing`` is set."""

    daemon_threads = True
    request_queue_size = 128
    closing = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Ignore errors: fingerd closes a connection at its deadline."""


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # with persistent connections, as most servers have
    wbufsize = 1 << 16  # a page is sent in one piece
    server: Pages

    def do_GET(self) -> None:
        generation, _, username = self.path.removeprefix("/").partition("/")
        username = unquote(username)
        if username == SLOW:
            self.server.closing.wait(SLOW_SECONDS)
        elif username == STUCK:
            self.server.closing.wait(TIMEOUT_SECONDS * 2)
        text = SLOW_TEXT if username == SLOW else TEXTS.get(username, "")
        page = text.replace(GENERATION, generation).encode()
        self.send_response(500 if username in (BROKEN, STUCK) else 200 if page else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    """Run the server; yields its port."""
    server = Pages(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, name="web", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
