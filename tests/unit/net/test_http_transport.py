"""Connections of requests that keep to a deadline, and those that lead to public addresses only."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests
import urllib3

from fingerd.net.http_transport import MAX_LINE_BYTES, DeadlineAdapter, remaining_seconds, set_deadline
from tests.helpers.daemons import TIMEOUT


@contextlib.contextmanager
def serving(answer: bytes, drip: bytes = b"") -> Iterator[str]:
    """A web server's address; each client gets the answer and then, endlessly, the other bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.recv(4096)
                client.sendall(answer)
                while drip and not over.wait(0.02):
                    client.sendall(drip)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        over.set()
        thread.join()


@contextlib.contextmanager
def session(public_only: bool = False, seconds: float = TIMEOUT) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, DeadlineAdapter(public_only, 1))
        set_deadline(time.monotonic() + seconds)
        yield session


def test_each_thread_has_its_own_deadline() -> None:
    set_deadline(time.monotonic() + 100)
    thread = threading.Thread(target=set_deadline, args=(0,))
    thread.start()
    thread.join()
    assert 90 < remaining_seconds() <= 100
    set_deadline(time.monotonic())
    with pytest.raises(TimeoutError):
        remaining_seconds()


def test_a_body_is_read_by_the_deadline() -> None:
    with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello") as address, session() as http:
        assert http.get(address).content == b"Hello"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_no_part_of_a_response_that_drips_extends_the_deadline(answer: bytes) -> None:
    begun = time.monotonic()
    with serving(answer, b"x") as address, session(seconds=0.3) as http:
        with pytest.raises((requests.RequestException, TimeoutError)):
            _ = http.get(address, timeout=TIMEOUT).content
    assert time.monotonic() - begun < TIMEOUT / 2


CHUNKS = {
    "a size without end": (b"0" * (MAX_LINE_BYTES + 10), f"got more than {MAX_LINE_BYTES} bytes"),
    "a negative size": (b"-1\r\nHello", "a chunk without a size"),
}


@pytest.mark.parametrize(("chunk", "cause"), CHUNKS.values(), ids=CHUNKS)
def test_a_chunk_without_a_proper_size_is_a_failure(chunk: bytes, cause: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(head + chunk) as address, session() as http:
        response = http.get(address, stream=True)
        with pytest.raises((ValueError, urllib3.exceptions.HTTPError), match=cause):
            response.raw.read(100)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_only_public_addresses_are_connected_to(scheme: str, host: str) -> None:
    with session(public_only=True) as http, pytest.raises(requests.ConnectionError) as caught:
        http.get(f"{scheme}://{host}:1/")
    assert f"{host.strip('[]')} has no public address" in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_any_address_is_connected_to_otherwise(scheme: str) -> None:
    with session() as http, pytest.raises(requests.ConnectionError, match="Connection refused"):
        http.get(f"{scheme}://127.0.0.1:1/")
