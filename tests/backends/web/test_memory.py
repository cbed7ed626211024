"""``type: web``: what a web server's JSON costs the daemon, in memory, while 32 clients ask at once."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Start
from tests.helpers.daemons import TIMEOUT, status

CLIENTS = 32  # as many as limits.threads
BYTES = 256 << 10  # page_bytes
NESTED = '{"a":' * 400 + "0" + "}" * 400

PAGES = {
    "empty": "{},",
    "logins": '{"i":"u"},',
    "keys": '{"i":"u","":0,"a":1,"b":2},',
    "objects": '{"i":"u","a":{},"b":{}},',
    "numbers": '{"i":"u","a":[10,11,12,13,14,15,16,17,18,19]},',
    "nested": f'{{"i":"u","x":{NESTED}}},',
}


class Pages(http.server.BaseHTTPRequestHandler):
    """Pages as long as one may be, once all clients wait for one."""

    waiting = threading.Barrier(CLIENTS)

    def do_GET(self) -> None:
        """Send the page that is the last segment of the path, all at once."""
        entry = PAGES[self.path.rpartition("/")[2]]
        body = f"[{entry * (BYTES // len(entry) - 1)}{{}}]".encode()
        self.waiting.wait(TIMEOUT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server for that many clients at once."""

    request_queue_size = 2 * CLIENTS
    daemon_threads = True


@pytest.fixture
def base() -> Iterator[str]:
    with Server(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def ask(port: int, number: int, query: bytes) -> int:
    """The number of bytes of the answer that one of many clients gets."""
    source = (f"127.0.1.{number + 1}", 0)
    with socket.create_connection(("127.0.0.1", port), 2 * TIMEOUT, source) as connection:
        connection.sendall(query)
        return sum(map(len, iter(lambda: connection.recv(1 << 16), b"")))


@pytest.mark.serial
@pytest.mark.parametrize("query", [b"%s\r\n", b"\r\n"], ids=["a name", "the list"])
@pytest.mark.parametrize("page", PAGES)
def test_many_people_cost_little_memory(start: Start, base: str, page: str, query: bytes) -> None:
    backend = {"type": "web", "prefix": f"{base}/", "list_url": f"{base}/{page}", "fields": {"login": "i"}}
    daemon = start(
        f'listen: "127.0.0.1:0"\nbackend: {json.dumps(backend)}\npolicy: [{{from: any, list: true}}]\n'
        "limits: {answer_seconds: 60}\n"
    )
    before = int(status(daemon.process.pid, "VmHWM")[0])
    line = query % page.encode() if b"%s" in query else query
    with ThreadPoolExecutor(CLIENTS) as clients:
        assert all(clients.map(lambda number: ask(daemon.address[1], number, line), range(CLIENTS)))
    grown = int(status(daemon.process.pid, "VmHWM")[0]) - before
    assert grown < 64 << 10  # KiB; 26 MiB when measured, and up to 820 before people were bounded
