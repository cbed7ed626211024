"""One client of a daemon: connects from its own address, sends a query, checks the answer and counts the result."""

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized

from bench.idle import BIND_ADDRESS_NO_PORT, RESET
from tests.soak.configurations import READ_SECONDS
from tests.soak.queries import Query, match_answer

TIMEOUT = 10.0  # seconds that a good client waits for the end of its answer
TOLERANCE_SECONDS = 2.0  # how late a daemon may close a connection, on a busy machine
DRIP_SECONDS = 0.4
SMALL_BUFFER = 1024, 1000  # bytes of receive buffer and segment: the daemon's kernel takes 40 KB of an answer, not 4 MB
MEDIUM_BUFFER = 16384, 1460
MAX_PROBLEMS = 20


@dataclass(slots=True)
class Tally:
    """The results of the clients of one process so far. Each counter is by kind of client."""

    connections: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)  # right answers, and connections closed as expected
    wrong: Counter[str] = field(default_factory=Counter)
    early: Counter[str] = field(default_factory=Counter)  # closed before their time, for a new connection
    received: Counter[str] = field(default_factory=Counter)  # bytes
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)  # the expected ones
    problems: list[str] = field(default_factory=list)  # the first ones
    longest: float = 0.0  # seconds that a good answer took
    generation: int = 0  # the newest one of an answer: later answers must not be older


@dataclass(frozen=True, slots=True)
class Target:
    """A daemon to put load on; the generations are those of ``Daemon``."""

    name: str
    address: tuple[str, int]
    oldest: "Synchronized[int]"
    newest: "Synchronized[int]"


class WrongAnswerError(Exception):
    """A client did not get the right answer, or was not closed as expected."""


class Client:
    """A client of one kind, with its address. Everything that it does ends after ``TIMEOUT`` at the latest."""

    def __init__(self, target: Target, tally: Tally, kind: str, network: int, number: int, addresses: int) -> None:
        self._target, self._tally, self._network, self._addresses = target, tally, network, addresses
        self.daemon = target.name
        self.kind = kind
        self.number = number
        self.address = f"127.{network}.0.{number % addresses + 1}"
        self._loop = asyncio.get_running_loop()

    def another(self, number: int) -> "Client":
        """Another client of this kind."""
        return Client(self._target, self._tally, self.kind, self._network, number, self._addresses)

    async def connect(self, buffer: tuple[int, int] | None = None) -> socket.socket:
        """A new connection, counted; ``buffer`` is the receive buffer and segment size."""
        connection = socket.socket()
        try:
            connection.setblocking(False)
            if buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer[0])
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, buffer[1])
            connection.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            connection.bind((self.address, 0))
            async with asyncio.timeout(TIMEOUT):
                await self._loop.sock_connect(connection, self._target.address)
        except BaseException:
            connection.close()
            raise
        self._tally.connections[self.kind] += 1
        return connection

    async def send(self, connection: socket.socket, segment: bytes) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self._loop.sock_sendall(connection, segment)

    async def receive_up_to_reset(self, connection: socket.socket) -> bytes:
        """All data up to the FIN or a reset, which does not take away what has been received."""
        data = bytearray()
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(TIMEOUT):
                while piece := await self._loop.sock_recv(connection, 1 << 16):
                    data += piece
        return bytes(data)

    async def receive(self, connection: socket.socket, size: int = 1 << 16, pause: float = 0.0) -> bytes:
        """All data up to the FIN, read in pieces of at most ``size`` bytes. Raises OSError, TimeoutError included."""
        data = bytearray()
        async with asyncio.timeout(TIMEOUT):
            while piece := await self._loop.sock_recv(connection, size):
                data += piece
                if pause:
                    await asyncio.sleep(pause)
        return bytes(data)

    async def receive_first(self, connection: socket.socket) -> None:
        """Wait for the first bytes of the answer."""
        async with asyncio.timeout(TIMEOUT):
            await self._loop.sock_recv(connection, 100)

    async def ask(
        self,
        query: Query,
        also: tuple[str, ...] = (),
        buffer: tuple[int, int] | None = None,
        reading: tuple[int, float] = (1 << 16, 0.0),
        half_close: bool = False,
    ) -> None:
        """Send a query and check the answer; the outcomes in ``also`` are right as well."""
        with self.counted():
            oldest = self.oldest()
            start = time.monotonic()
            with await self.connect(buffer) as connection:
                await self.send_query(connection, query)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                answer = await self.receive(connection, *reading)
            if self.kind == "good":
                self._tally.longest = max(self._tally.longest, time.monotonic() - start)
            self.check(query, answer, oldest, also)

    async def send_query(self, connection: socket.socket, query: Query) -> None:
        """Send the segments of a query one by one."""
        for number, segment in enumerate(query.segments):
            if number:
                await asyncio.sleep(0.02)
            await self.send(connection, segment)

    def oldest(self) -> int:
        """The oldest generation that may answer a query that is sent now."""
        return max(self._target.oldest.value, self._tally.generation)

    def generations(self, oldest: int) -> Sequence[int]:
        """The generations from the oldest one to the newest one of now."""
        return range(oldest, self._target.newest.value + 1)

    def check(self, query: Query, answer: bytes, oldest: int, also: tuple[str, ...] = ()) -> None:
        """Check an answer. Raises WrongAnswerError, also if the answer is outdated."""
        generations = self.generations(oldest)
        match = match_answer(self.daemon, query, self.address, answer, generations, also)
        if match is None:
            beginning = f"{query.segments[0][:40]!r}: {len(answer)} bytes: {answer[:150]!r}"
            raise WrongAnswerError(f"{beginning}, wrong in the generations {list(generations)}")
        generation, outcome = match
        self._tally.generation = max(self._tally.generation, generation)
        self.expect(outcome, len(answer))

    def expect(self, outcome: str, received: int = 0) -> None:
        """Expect a log line with this outcome and so many bytes."""
        self._tally.outcomes.setdefault(self.kind, Counter())[outcome] += 1
        self._tally.received[self.kind] += received

    async def wait_for_close(self, connection: socket.socket, drips: bool = False) -> None:
        """Wait until the daemon closes without an answer; with ``drips``, send a byte now and then.

        Raises WrongAnswerError if it answers, or does not close in time.
        """
        start = time.monotonic()
        try:
            while True:
                try:
                    async with asyncio.timeout(DRIP_SECONDS if drips else READ_SECONDS[1] + TOLERANCE_SECONDS):
                        data = await self._loop.sock_recv(connection, 100)
                    break
                except TimeoutError:
                    if time.monotonic() - start > READ_SECONDS[1] + TOLERANCE_SECONDS:
                        raise WrongAnswerError("was not closed") from None
                    await self.send(connection, b"a")
        except (ConnectionResetError, BrokenPipeError):  # a byte arrived after the daemon had closed
            data = b""
        if data:
            raise WrongAnswerError(f"was answered: {data!r}")
        self._tally.early[self.kind] += time.monotonic() - start < READ_SECONDS[0] - 0.3

    def reset(self, connection: socket.socket) -> None:
        """Close with a reset."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count the block as right, or as wrong if it raises OSError or WrongAnswerError."""
        try:
            yield
        except (OSError, WrongAnswerError) as error:  # TimeoutError is an OSError
            self._tally.wrong[self.kind] += 1
            if len(self._tally.problems) < MAX_PROBLEMS:
                self._tally.problems.append(f"{self.daemon}, {self.kind}, {self.address}: {error!r}")
        else:
            self._tally.right[self.kind] += 1
