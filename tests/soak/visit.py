"""One client's visit to a daemon: it connects from its own address, asks, hears, and tells the tally how it went."""

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized

from tests.soak.book import Question, judge
from tests.soak.configurations import READ_SECONDS

BIND_ADDRESS_NO_PORT = 24  # socket.IP_BIND_ADDRESS_NO_PORT is there from Python 3.12 on
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of a close that is a reset
TIMEOUT = 10.0  # seconds that a good client waits for the end of its answer
SLACK = 2.0  # seconds that a daemon may be late with closing somebody, on a busy machine
DRIP_SECONDS = 0.4
NARROW = 1024, 1000  # bytes of receive buffer and segment: the daemon's kernel takes 40 KB of an answer, not 4 MB
LESS_NARROW = 16384, 1460
MOST_COMPLAINTS = 20


@dataclass(slots=True)
class Tally:
    """What happened to the clients of one process so far; each counter is by kind of client."""

    made: Counter[str] = field(default_factory=Counter)  # connections
    right: Counter[str] = field(default_factory=Counter)  # answers and ends as they have to be
    wrong: Counter[str] = field(default_factory=Counter)
    early: Counter[str] = field(default_factory=Counter)  # closed before their time was over, to make room
    heard: Counter[str] = field(default_factory=Counter)  # bytes
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)  # that their answers stand for
    complaints: list[str] = field(default_factory=list)  # the first ones
    longest: float = 0.0  # seconds that a good answer took
    generation: int = 0  # the newest that any of them must have been answered by


@dataclass(frozen=True, slots=True)
class Target:
    """A daemon as its clients see it; the generations are as ``Daemon`` tells."""

    name: str
    address: tuple[str, int]
    known: "Synchronized[int]"
    newest: "Synchronized[int]"


class WrongError(Exception):
    """A client did not get what it has to get."""


class Visit:
    """A client of one kind, with its address. Everything that it does ends, by the daemon or by ``TIMEOUT``."""

    def __init__(self, target: Target, tally: Tally, kind: str, network: int, number: int, addresses: int) -> None:
        self._target, self._tally, self._network, self._addresses = target, tally, network, addresses
        self.target = target.name
        self.kind = kind
        self.number = number
        self.client = f"127.{network}.0.{number % addresses + 1}"
        self._loop = asyncio.get_running_loop()

    def neighbour(self, number: int) -> "Visit":
        """Another client of this kind."""
        return Visit(self._target, self._tally, self.kind, self._network, number, self._addresses)

    async def connect(self, narrow: tuple[int, int] | None = None) -> socket.socket:
        """A new connection, counted; a narrow one takes little at once."""
        client = socket.socket()
        try:
            client.setblocking(False)
            if narrow:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, narrow[0])
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, narrow[1])
            client.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            client.bind((self.client, 0))
            async with asyncio.timeout(TIMEOUT):
                await self._loop.sock_connect(client, self._target.address)
        except BaseException:
            client.close()
            raise
        self._tally.made[self.kind] += 1
        return client

    async def send(self, client: socket.socket, segment: bytes) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self._loop.sock_sendall(client, segment)

    async def hear(self, client: socket.socket, most: int = 1 << 16, pause: float = 0.0) -> bytes:
        """Everything up to the FIN, read in pieces of up to ``most`` bytes; ConnectionResetError, TimeoutError."""
        heard = bytearray()
        async with asyncio.timeout(TIMEOUT):
            while piece := await self._loop.sock_recv(client, most):
                heard += piece
                if pause:
                    await asyncio.sleep(pause)
        return bytes(heard)

    async def hear_some(self, client: socket.socket) -> None:
        """Wait for the answer's first bytes."""
        async with asyncio.timeout(TIMEOUT):
            await self._loop.sock_recv(client, 100)

    async def ask(
        self,
        question: Question,
        also: tuple[str, ...] = (),
        narrow: tuple[int, int] | None = None,
        reading: tuple[int, float] = (1 << 16, 0.0),
        half_close: bool = False,
    ) -> None:
        """Ask, and hold every byte of the answer to the book; ``also`` are outcomes that are right as well."""
        with self.judged():
            oldest = self.oldest()
            begun = time.monotonic()
            with await self.connect(narrow) as client:
                await self.say(client, question)
                if half_close:
                    client.shutdown(socket.SHUT_WR)
                heard = await self.hear(client, *reading)
            if self.kind == "good":
                self._tally.longest = max(self._tally.longest, time.monotonic() - begun)
            self.check(question, heard, oldest, also)

    async def say(self, client: socket.socket, question: Question) -> None:
        """Send the segments, each as one of its own."""
        for number, segment in enumerate(question.segments):
            if number:
                await asyncio.sleep(0.02)
            await self.send(client, segment)

    def oldest(self) -> int:
        """The oldest generation by which a query that is asked now may be answered."""
        return max(self._target.known.value, self._tally.generation)

    def generations(self, oldest: int) -> Sequence[int]:
        """Those from the oldest one to that of now."""
        return range(oldest, self._target.newest.value + 1)

    def check(self, question: Question, heard: bytes, oldest: int, also: tuple[str, ...] = ()) -> None:
        """Hold an answer to the book; WrongError, also where it is one of a configuration of before or after."""
        generations = self.generations(oldest)
        judgement = judge(self.target, question, self.client, heard, generations, also)
        if judgement is None:
            beginning = f"{question.segments[0][:40]!r}: {len(heard)} bytes: {heard[:150]!r}"
            raise WrongError(f"{beginning}, by none of the generations {list(generations)}")
        generation, outcome = judgement
        self._tally.generation = max(self._tally.generation, generation)
        self.expect(outcome, len(heard))

    def expect(self, outcome: str, heard: int = 0) -> None:
        """The log has to have a line of this outcome, with so many bytes."""
        self._tally.outcomes.setdefault(self.kind, Counter())[outcome] += 1
        self._tally.heard[self.kind] += heard

    async def stay(self, client: socket.socket, drips: bool = False) -> None:
        """Wait to be closed without a word, in time, and drip a byte now and then if so; WrongError."""
        begun = time.monotonic()
        try:
            while True:
                try:
                    async with asyncio.timeout(DRIP_SECONDS if drips else READ_SECONDS[1] + SLACK):
                        heard = await self._loop.sock_recv(client, 100)
                    break
                except TimeoutError:
                    if time.monotonic() - begun > READ_SECONDS[1] + SLACK:
                        raise WrongError("was not turned out") from None
                    await self.send(client, b"a")
        except (ConnectionResetError, BrokenPipeError):  # a drop came when the daemon had closed
            heard = b""
        if heard:
            raise WrongError(f"was told something: {heard!r}")
        self._tally.early[self.kind] += time.monotonic() - begun < READ_SECONDS[0] - 0.3

    def reset(self, client: socket.socket) -> None:
        """Close with a reset."""
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        """Count what is done within as right, or as wrong if it fails."""
        try:
            yield
        except (OSError, WrongError) as error:  # TimeoutError is an OSError
            self._tally.wrong[self.kind] += 1
            if len(self._tally.complaints) < MOST_COMPLAINTS:
                self._tally.complaints.append(f"{self.target}, {self.kind}, {self.client}: {error!r}")
        else:
            self._tally.right[self.kind] += 1
