"""The kinds of clients, good and hostile: what each does in one visit, and how the daemon has to treat it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.soak import book
from tests.soak.book import CREW, INSTANT
from tests.soak.configurations import CONNECTIONS, PER_CLIENT, WRITE_SECONDS
from tests.soak.visit import LESS_NARROW, NARROW, SLACK, Visit, WrongError

BURST_SECONDS = 1.0  # of arriving. All at once, they would push out good clients between two segments as well
EXCESS = 5  # connections above per_client
HOG_CONNECTIONS = PER_CLIENT - 1

EXACT: frozenset[str] = frozenset()  # the outcomes in the log have to be those of the answers, one by one


@dataclass(frozen=True, slots=True)
class Kind:
    """Clients that do the same: from where they come, how many in a second, and what the log may say of them."""

    name: str
    network: int  # 127.NETWORK.0.0/16
    visit: Callable[[Visit], Awaitable[None]]
    pace: dict[str, float]  # visits a second, by daemon
    outcomes: frozenset[str] = EXACT
    addresses: int = 20  # few, so that all have come before memory has to stay as it is


async def good(visit: Visit) -> None:
    """Asks all kinds of things, one after the other."""
    await visit.ask(book.GOOD[visit.number % len(book.GOOD)])


async def slow(visit: Visit) -> None:
    """Reads a long answer little by little, but well in time."""
    await visit.ask(book.LONG, narrow=LESS_NARROW, reading=(8192, 0.1))


async def talkative(visit: Visit) -> None:
    """A line without an end, or 100 KB after the line: neither may cost the client its answer."""
    await visit.ask((book.ENDLESS_LINE, book.TALKATIVE)[visit.number % 2])


async def half_closing(visit: Visit) -> None:
    """Sends its FIN after the line, instead of the line's end, or instead of everything."""
    if stage := visit.number % 3:
        await visit.ask((book.MOSHEZ, book.WITHOUT_END)[stage - 1], half_close=True)
        return
    with visit.judged(), await visit.connect() as client:
        client.shutdown(socket.SHUT_WR)
        if heard := await visit.hear(client):
            raise WrongError(f"said nothing, and was told {heard!r}")
        visit.expect("hung-up")


async def denied(visit: Visit) -> None:
    """Is told that it is denied."""
    await visit.ask(book.DENIED)


async def silently_denied(visit: Visit) -> None:
    """Is told nothing."""
    with visit.judged(), await visit.connect() as client:
        if heard := await visit.hear(client):
            raise WrongError(f"was told {heard!r}")
        visit.expect("denied")


async def greedy(visit: Visit) -> None:
    """Asks more than the rate allows."""
    await visit.ask(book.MOSHEZ, also=("limited",))


async def hog(visit: Visit) -> None:
    """Asks for many slow answers at once, of which two are worked on; the last ones are begun too late, or never."""
    hogs = (visit.neighbour(visit.number).ask(book.SLOWLY, also=("busy",)) for _ in range(HOG_CONNECTIONS))
    await asyncio.gather(*hogs)


async def failing(visit: Visit) -> None:
    """Asks what the backend cannot tell, every third time after a while."""
    await visit.ask(book.BREAKING if visit.number % 3 else book.STICKING)


async def silent(visit: Visit) -> None:
    """Says nothing, and is closed for that."""
    with visit.judged(), await visit.connect() as client:
        await visit.stay(client)


async def dripping(visit: Visit) -> None:
    """Sends a byte now and then, and has no more time for it."""
    with visit.judged(), await visit.connect() as client:
        await visit.stay(client, drips=True)


async def burst(visit: Visit) -> None:
    """More silent ones than there is room for: those who have been silent longest have to go."""
    count = CONNECTIONS + 50

    async def arrive(number: int) -> None:
        await asyncio.sleep(number / count * BURST_SECONDS)
        await silent(visit.neighbour(number))

    await asyncio.gather(*map(arrive, range(count)))


async def crowd(visit: Visit) -> None:
    """More connections of one client than it may have: the last ones are closed, a first one is answered still."""
    with visit.judged():
        clients = [await visit.connect() for _ in range(PER_CLIENT + EXCESS)]
        try:
            await asyncio.sleep(0.5)
            held = [client for client in clients if is_held(client)]
            if not held or len(held) > PER_CLIENT:
                raise WrongError(f"{len(held)} connections are held")
            oldest = visit.oldest()
            await visit.send(held[-1], book.MOSHEZ.segments[0])
            heard = await visit.hear(held[-1])
            if heard:  # else it has just made room for somebody
                visit.check(book.MOSHEZ, heard, oldest)
        finally:
            for client in clients:
                client.close()


def is_held(client: socket.socket) -> bool:
    """Whether the daemon has neither answered nor closed."""
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


async def never_reading(visit: Visit) -> None:
    """Asks for a long answer and does not read it: after its time, what the kernel had is all that there is."""
    with visit.judged(), await visit.connect(NARROW) as client:
        oldest = visit.oldest()
        await visit.send(client, book.LONG.segments[0])
        await asyncio.sleep(WRITE_SECONDS + SLACK)
        heard = await visit.hear(client)
        if not book.is_beginning(visit.target, book.LONG, visit.client, heard, visit.generations(oldest)):
            raise WrongError(f"{len(heard)} bytes, which do not begin the answer: {heard[-100:]!r}")


async def resetting(visit: Visit) -> None:
    """Resets right after connecting, after half a line, after the line, or in the middle of the answer."""
    stage = visit.number % 4
    with visit.judged():
        client = await visit.connect(NARROW)
        try:
            if stage:
                line = (b"", b"mos", b"moshez\r\n", b"long\r\n")[stage]
                await visit.send(client, line)
            if stage == 1:
                await asyncio.sleep(0.05)
            if stage == 3:
                await visit.hear_some(client)
        finally:
            visit.reset(client)


TURNED_OUT = frozenset({"timeout", "dropped"})  # dropped to make room

KINDS = (
    Kind("good", 11, good, {INSTANT: 180, CREW: 50}, addresses=250),
    Kind("slow", 12, slow, {INSTANT: 3, CREW: 1}),
    Kind("talkative", 13, talkative, {INSTANT: 6, CREW: 3}),
    Kind("half-closing", 14, half_closing, {INSTANT: 6, CREW: 3}),
    Kind("denied", 31, denied, {INSTANT: 2, CREW: 1}),
    Kind("silently denied", 32, silently_denied, {INSTANT: 2, CREW: 1}),
    Kind("greedy", 15, greedy, {INSTANT: 6}, addresses=1),
    Kind("hog", 16, hog, {CREW: 1 / 8}, addresses=1),
    Kind("failing", 17, failing, {CREW: 1.5}),
    Kind("silent", 18, silent, {INSTANT: 12, CREW: 6}, TURNED_OUT),
    Kind("dripping", 19, dripping, {INSTANT: 4, CREW: 2}, TURNED_OUT),
    Kind("burst", 20, burst, {INSTANT: 1 / 15, CREW: 1 / 15}, TURNED_OUT, addresses=70),
    Kind("crowd", 21, crowd, {INSTANT: 1 / 3, CREW: 1 / 5}, TURNED_OUT | {"limited", "answered", "hung-up"}),
    Kind("never reading", 22, never_reading, {INSTANT: 3, CREW: 2}, frozenset({"timeout"})),
    Kind("resetting", 23, resetting, {INSTANT: 20, CREW: 6}, frozenset({"hung-up", "answered"})),
)
