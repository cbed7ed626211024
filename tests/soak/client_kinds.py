"""The kinds of clients, good and hostile: what each does, and how the daemon must treat it."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.idle import is_held
from tests.soak import queries
from tests.soak.client import MEDIUM_BUFFER, SMALL_BUFFER, TOLERANCE_SECONDS, Client, WrongAnswerError
from tests.soak.configurations import CONNECTIONS, PER_CLIENT, WRITE_SECONDS
from tests.soak.queries import POOL, STATIC

BURST_SECONDS = 1.0  # in which they connect; all at once would also evict good clients between two segments
EXCESS = 5  # connections above per_client
HOG_CONNECTIONS = PER_CLIENT - 1

EXACT: frozenset[str] = frozenset()  # each outcome in the log must be that of the answer


@dataclass(frozen=True, slots=True)
class ClientKind:
    """Clients with the same behaviour: their network, how many come a second, and their outcomes in the log."""

    name: str
    network: int  # 127.NETWORK.0.0/16
    run: Callable[[Client], Awaitable[None]]
    rate: dict[str, float]  # clients a second, by daemon
    outcomes: frozenset[str] = EXACT
    addresses: int = 20  # few, so that all are known to the daemon before its memory is measured


async def good(client: Client) -> None:
    """Sends all sorts of queries, one after the other."""
    await client.ask(queries.GOOD_QUERIES[client.number % len(queries.GOOD_QUERIES)])


async def slow(client: Client) -> None:
    """Reads a long answer slowly, but in time."""
    await client.ask(queries.LONG_QUERY, buffer=MEDIUM_BUFFER, reading=(8192, 0.1))


async def talkative(client: Client) -> None:
    """Sends an endless line, or 100 KB after the line: neither may cost the client its answer.

    It has the answer while it is still sending, so it may be closed for a new client when all connections are taken.
    """
    query = (queries.ENDLESS_LINE, queries.TRAILING_DATA)[client.number % 2]
    with client.counted():
        oldest = client.oldest()
        with await client.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await client.send_query(connection, query)
            answer = await client.receive_up_to_reset(connection)
        client.check(query, answer, oldest)


async def half_closing(client: Client) -> None:
    """Sends its FIN after the line, instead of the line's end, or instead of a query."""
    if stage := client.number % 3:
        await client.ask((queries.PLAIN_QUERY, queries.WITHOUT_LINE_END)[stage - 1], half_close=True)
        return
    with client.counted(), await client.connect() as connection:
        connection.shutdown(socket.SHUT_WR)
        if answer := await client.receive(connection):
            raise WrongAnswerError(f"sent nothing, and was answered {answer!r}")
        client.expect("hung-up")


async def denied(client: Client) -> None:
    """Gets the message that the service is denied."""
    await client.ask(queries.DENIED)


async def silently_denied(client: Client) -> None:
    """Is closed without an answer."""
    with client.counted(), await client.connect() as connection:
        if answer := await client.receive(connection):
            raise WrongAnswerError(f"was answered {answer!r}")
        client.expect("denied")


async def greedy(client: Client) -> None:
    """Sends more queries than the rate limit allows."""
    await client.ask(queries.PLAIN_QUERY, also=("limited",))


async def hog(client: Client) -> None:
    """Asks for many slow answers at once. Two are worked on at a time, so the last ones time out."""
    hogs = (client.another(client.number).ask(queries.SLOW_QUERY, also=("busy",)) for _ in range(HOG_CONNECTIONS))
    await asyncio.gather(*hogs)


async def failing(client: Client) -> None:
    """Sends queries that make the backend fail, every third one after a time-out."""
    await client.ask(queries.FAILING_QUERY if client.number % 3 else queries.HANGING_QUERY)


async def silent(client: Client) -> None:
    """Sends nothing until it is closed."""
    with client.counted(), await client.connect() as connection:
        await client.wait_for_close(connection)


async def dripping(client: Client) -> None:
    """Sends a byte now and then until it is closed."""
    with client.counted(), await client.connect() as connection:
        await client.wait_for_close(connection, drips=True)


async def burst(client: Client) -> None:
    """More silent clients than ``connections``: the one that has been silent longest is closed for each new one."""
    count = CONNECTIONS + 50

    async def arrive(number: int) -> None:
        await asyncio.sleep(number / count * BURST_SECONDS)
        await silent(client.another(number))

    await asyncio.gather(*map(arrive, range(count)))


async def crowd(client: Client) -> None:
    """More connections than ``per_client`` allows: the last ones are closed, the first ones still answered."""
    with client.counted():
        connections = [await client.connect() for _ in range(PER_CLIENT + EXCESS)]
        try:
            await asyncio.sleep(0.5)
            held = [connection for connection in connections if is_held(connection)]
            if not held or len(held) > PER_CLIENT:
                raise WrongAnswerError(f"{len(held)} connections are held")
            oldest = client.oldest()
            await client.send(held[-1], queries.PLAIN_QUERY.segments[0])
            answer = await client.receive(held[-1])
            if answer:  # else it has just been closed for a new connection
                client.check(queries.PLAIN_QUERY, answer, oldest)
        finally:
            for connection in connections:
                connection.close()


async def never_reading(client: Client) -> None:
    """Asks for a long answer and reads it too late: it gets only what its own kernel has, up to the reset."""
    with client.counted(), await client.connect(SMALL_BUFFER) as connection:
        oldest = client.oldest()
        query = queries.LONG_QUERY
        await client.send(connection, query.segments[0])
        await asyncio.sleep(WRITE_SECONDS + TOLERANCE_SECONDS)
        answer = await client.receive_up_to_reset(connection)
        if not queries.is_partial_answer(client.daemon, query, client.address, answer, client.generations(oldest)):
            raise WrongAnswerError(f"{len(answer)} bytes that do not begin the answer: {answer[-100:]!r}")


async def resetting(client: Client) -> None:
    """Resets after connecting, after half a line, after the line, or within the answer."""
    stage = client.number % 4
    with client.counted():
        connection = await client.connect(SMALL_BUFFER)
        try:
            if stage:
                line = (b"", b"mos", b"moshez\r\n", b"long\r\n")[stage]
                await client.send(connection, line)
            if stage == 1:
                await asyncio.sleep(0.05)
            if stage == 3:
                await client.receive_first(connection)
        finally:
            client.reset(connection)


CLOSED = frozenset({"timeout", "dropped"})  # dropped: closed for a new connection

KINDS = (
    ClientKind("good", 11, good, {STATIC: 180, POOL: 50}, addresses=250),
    ClientKind("slow", 12, slow, {STATIC: 3, POOL: 1}),
    ClientKind("talkative", 13, talkative, {STATIC: 6, POOL: 3}),
    ClientKind("half-closing", 14, half_closing, {STATIC: 6, POOL: 3}),
    ClientKind("denied", 31, denied, {STATIC: 2, POOL: 1}),
    ClientKind("silently denied", 32, silently_denied, {STATIC: 2, POOL: 1}),
    ClientKind("greedy", 15, greedy, {STATIC: 6}, addresses=1),
    ClientKind("hog", 16, hog, {POOL: 1 / 8}, addresses=1),
    ClientKind("failing", 17, failing, {POOL: 1.5}),
    ClientKind("silent", 18, silent, {STATIC: 12, POOL: 6}, CLOSED),
    ClientKind("dripping", 19, dripping, {STATIC: 4, POOL: 2}, CLOSED),
    ClientKind("burst", 20, burst, {STATIC: 1 / 15, POOL: 1 / 15}, CLOSED, addresses=70),
    ClientKind("crowd", 21, crowd, {STATIC: 1 / 3, POOL: 1 / 5}, CLOSED | {"limited", "answered", "hung-up"}),
    ClientKind("never reading", 22, never_reading, {STATIC: 3, POOL: 2}, frozenset({"timeout"})),
    ClientKind("resetting", 23, resetting, {STATIC: 20, POOL: 6}, frozenset({"hung-up", "answered"})),
)
