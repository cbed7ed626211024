"""What the attackers do. Each is bounded in its rate, and ends by itself."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import time

from tests.soak.attacks.configurations import ANSWER, HTTP_PORT, PORT, QUERY, READ_SECONDS, SEED, name
from tests.soak.attacks.crowd import Crowd, prepare

SEARCH_WORDS, SEARCH_BYTES = 100, 990
LIST_WORDS = (b"/W", b"/w", b"/W /W", b"/w /W", b"/W /w /W", b"")
LISTS = 12  # a second
LIST_SPACES = (b"", b" ", b"\t", b"  ", b" \t ")
LOG_QUERIES, LOG_RATE = 54_000, 6_000.0  # queries, and how many a second: lines of 60 MB
LOG_IN_FLIGHT = 400
STALLED_CLIENTS = 600
HTTP_SILENT, HTTP_DRIPPING = 2000, 100
DRIP_SECONDS = 0.05  # between two bytes


async def search(crowd: Crowd) -> None:
    """Two addresses search, one for many words at a time, and one for short parts of names."""
    await asyncio.gather(_search_many_words(crowd), _search_parts(crowd))


async def _search_many_words(crowd: Crowd) -> None:
    """One address asks for a hundred words at a time, first 50 times at once, then 50 times a second."""
    generator = random.Random(SEED)  # so that most words are somebody's

    async def visit(_: int) -> None:
        words = " ".join(name(generator) for _ in range(SEARCH_WORDS)).encode()
        await crowd.ask("127.0.1.1", words[:SEARCH_BYTES] + b"\r\n")

    await crowd.arrive(50, 5000, visit)
    await crowd.arrive(250, 50, visit)


async def _search_parts(crowd: Crowd) -> None:
    """One address asks for ever other parts of names, of one word or two, which few or many people have."""
    generator = random.Random(SEED + 2)

    async def visit(number: int) -> None:
        words = " ".join(name(generator)[: generator.randrange(1, 8)] for _ in range(number % 2 + 1))
        await crowd.ask("127.0.1.2", words.encode() + b"\r\n")

    await crowd.arrive(500, 100, visit)


async def spell_lists(crowd: Crowd) -> None:
    """One address asks for the list of all in ever another spelling, a dozen times at once, every second."""
    generator = random.Random(SEED + 3)

    async def visit(number: int) -> None:
        await asyncio.sleep(-number % LISTS / LISTS)
        before, between, after = (b"".join(generator.choices(LIST_SPACES, k=4)) for _ in range(3))
        line = before + between.join((generator.choice(LIST_WORDS), b"\xff\xf1" * generator.randrange(9))) + after
        await crowd.ask("127.0.1.3", line + b"\r\n")

    await crowd.arrive(5 * LISTS, LISTS, visit)


async def search_and_list(crowd: Crowd) -> None:
    """One address asks for parts of names, and for every fourth time for the list."""
    generator = random.Random(SEED + 4)

    async def visit(number: int) -> None:
        await crowd.ask("127.0.1.4", name(generator)[:4].encode() + b"\r\n" if number % 4 else b"\r\n")

    await crowd.arrive(50, 12, visit)


async def ignore_answers_of_many_networks(crowd: Crowd) -> None:
    """2,000 connections from 40 networks /64 of one /58: they ask for a long answer, and never read."""

    async def visit(number: int) -> None:
        await crowd.ask(f"2001:db8:0:{number % 40:x}::{number // 40 + 1:x}", b"long\r\n", reads=False)

    await crowd.arrive(2000, 500, visit)


async def ignore_answers_of_many_sites(crowd: Crowd) -> None:
    """The same from 40 networks /48."""

    async def visit(number: int) -> None:
        await crowd.ask(f"2001:db8:{number % 40:x}::{number // 40 + 1:x}", b"long\r\n", reads=False)

    await crowd.arrive(2000, 500, visit)


async def ignore_answers_of_unix(crowd: Crowd) -> None:
    """1,200 connections of one local user."""

    async def visit(_: int) -> None:
        await crowd.ask("", b"long\r\n", reads=False)

    await crowd.arrive(1200, 300, visit)


async def linger(crowd: Crowd) -> None:
    """One address asks, reads its answer, and never closes, 800 times a second."""

    async def visit(_: int) -> None:
        await crowd.ask("127.0.3.1", QUERY, closes=False)

    await crowd.arrive(4800, 800, visit)


async def park(crowd: Crowd) -> None:
    """One address asks for an answer that the kernel takes as a whole, and never reads it."""
    await _park(crowd, b"parked\r\n")


async def park_small(crowd: Crowd) -> None:
    """The same with a small answer, of which the client's kernel takes a part."""
    await _park(crowd, b"small\r\n")


async def _park(crowd: Crowd, line: bytes) -> None:
    async def visit(_: int) -> None:
        await crowd.ask("127.0.4.1", line, reads=False)

    await crowd.arrive(4000, 1000, visit)


async def appear(crowd: Crowd) -> None:
    """Ever new addresses of one /64 connect, and ask nothing."""

    async def visit(number: int) -> None:
        await crowd.ask(f"2001:db8:0:7::{number + 1:x}", b"", reads=False)

    await crowd.arrive(600, 100, visit)


async def queue(crowd: Crowd) -> None:
    """One address asks a backend that hangs, and asks again when it was told that it is busy."""

    async def visit(number: int) -> None:
        await crowd.ask("127.0.6.1", b"%0990d\r\n" % number)

    await crowd.arrive(15_000, 2000, visit)


async def flood_log(crowd: Crowd) -> None:
    """Two addresses send queries of 1,000 bytes as fast as LOG_RATE allows, and wait for no answer."""
    start = time.monotonic()
    clients: list[socket.socket] = []
    while crowd.begun < LOG_QUERIES:
        if crowd.begun >= (time.monotonic() - start) * LOG_RATE:
            await asyncio.sleep(0.002)
            continue
        client = socket.socket()
        client.setblocking(False)
        prepare(client, f"127.0.7.{crowd.begun % 2 + 1}")
        crowd.begun += 1
        clients.append(client)
        with contextlib.suppress(BlockingIOError):
            client.connect(("127.0.0.1", PORT))
        try:
            client.send(b"%0998d\r\n" % crowd.begun)
        except OSError:  # the listener's queue is full
            crowd.ends["not connected"] += 1
        if len(clients) > LOG_IN_FLIGHT:
            clients.pop(0).close()
    crowd.held += clients


async def stop_within_requests(crowd: Crowd) -> None:
    """2,000 clients stop somewhere in a request by HTTP, and 100 send theirs byte by byte, without end."""
    loop = asyncio.get_running_loop()

    async def drip(number: int) -> None:
        client = await crowd.connect(f"127.0.9.{number + 1}", HTTP_PORT)
        await loop.sock_sendall(client, b"GET /~moshez HTTP/1.1\r\nHost: a\r\nX: ")
        end = time.monotonic() + 2 * READ_SECONDS
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                await loop.sock_sendall(client, b"x")
                await asyncio.sleep(DRIP_SECONDS)
        crowd.ends["dripping to the end"] += time.monotonic() >= end

    async def stop(number: int) -> None:
        client = await crowd.connect(f"127.0.10.{number // 40 + 1}", HTTP_PORT)
        if sent := (b"", b"GET /~mos", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n")[number % 4]:
            await loop.sock_sendall(client, sent)

    dripping = [asyncio.ensure_future(drip(number)) for number in range(HTTP_DRIPPING)]
    await crowd.arrive(HTTP_SILENT, 2000, stop)
    await asyncio.gather(*dripping)


async def stall(crowd: Crowd) -> None:
    """The daemon stands still for longer than ``read_seconds``, in which its clients ask. All of them are good."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    async def visit(number: int) -> None:
        source, kind = f"127.0.8.{number % 100 + 1}", number % 3
        try:
            if kind == 2:  # comes while the daemon stands still
                await stopped.wait()
            client = await crowd.connect(source)
            if kind == 1:  # has sent a part of its line before
                await loop.sock_sendall(client, QUERY[:3])
            await stopped.wait()
            await loop.sock_sendall(client, QUERY[3:] if kind == 1 else QUERY)
            answer = await crowd.read(client)
        except OSError as error:
            return crowd.good.lose(f"client of kind {kind}: {error!r}")
        if answer == ANSWER:
            crowd.good.seconds.append(time.monotonic() - continued)
        else:
            crowd.good.lose(f"client of kind {kind}: {answer[:100]!r}")

    visits = [asyncio.ensure_future(visit(number)) for number in range(STALLED_CLIENTS)]
    await asyncio.sleep(0.5)
    os.kill(crowd.pid, signal.SIGSTOP)
    stopped.set()
    await asyncio.sleep(READ_SECONDS + 2)
    continued = time.monotonic()
    os.kill(crowd.pid, signal.SIGCONT)
    _, missing = await asyncio.wait(visits, timeout=10)
    for task in missing:
        task.cancel()
        crowd.good.lose("no answer")
