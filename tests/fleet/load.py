"""Clients of HAProxy and stunnel: those that ask all the time, and those that say nothing."""

import contextlib
import itertools
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from tests.helpers.daemons import TIMEOUT, wait_until


class Load:
    """Clients of many addresses ask for brindle, a few at a time; each right answer has "Kiln house" in it."""

    CLIENTS = 6

    def __init__(self, ask: Callable[[bytes, str], bytes]) -> None:
        self._server = ask
        self._ended = threading.Event()
        self.answers: Counter[bytes] = Counter()
        self.sources: Counter[str] = Counter()  # whom a right answer has reached
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.CLIENTS)]

    def _ask(self, number: int) -> None:
        for count in itertools.count():
            if self._ended.wait(0.005):
                return
            source = f"127.{20 + number}.{count // 200 % 200}.{count % 200 + 1}"
            try:
                answer = self._server(b"brindle\r\n", source)
            except OSError as error:
                answer = repr(error).encode()
            self.answers[answer] += 1
            self.sources[source] += b"Kiln house" in answer

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(TIMEOUT)

    def wait_for(self, number: int) -> None:
        """Until so many more answers have come."""
        until = self.answers.total() + number
        wait_until(lambda: self.answers.total() >= until)

    def lost(self) -> int:
        """How many did not get the answer."""
        return sum(number for answer, number in self.answers.items() if b"Kiln house" not in answer)


@contextlib.contextmanager
def silent(port: int, source: str, number: int) -> Iterator[list[socket.socket]]:
    """So many connections of a client that does not ask."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.socket()) for _ in range(number)]
        for connection in connections:
            connection.bind((source, 0))
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))  # which may be reset already
            connection.settimeout(TIMEOUT)
        yield connections


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it without a word."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        connection.settimeout(TIMEOUT)
