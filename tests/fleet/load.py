"""A load of queries for brindle, of whom each right answer tells "Kiln house"."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable

from tests.helpers.daemons import TIMEOUT, wait_until


class Load:
    """Clients of many addresses, each of which asks some times; a few ask at the same time."""

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
