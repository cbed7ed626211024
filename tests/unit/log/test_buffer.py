"""The log's buffer: bounded in bytes, in order, and nothing is lost without being counted."""

import gc
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from fingerd.log.buffer import BATCH_BYTES, BUFFER_BYTES, SHORT_LINE_BYTES, Batch, Buffer, Line, PendingAccess, Target
from fingerd.log.format import Access, access_text
from fingerd.log.sinks import DescriptorSink, Entry


def access(number: int, size: int = 5) -> Access:
    """An access line as the server makes it: every value in it is an object of its own."""
    return Access(f"192.0.2.{number % 250}", bytes([97 + number % 26]) * size, "answered", 300 + number, 0.1)


def lines_of(buffer: Buffer) -> list[Line]:
    """All lines that the buffer has, which are taken out."""
    return [line for taken in buffer.take_all() if isinstance(taken, Batch) for line in taken.lines]


def accesses_of(buffer: Buffer) -> list[PendingAccess]:
    """The access lines among them."""
    return [line for line in lines_of(buffer) if not isinstance(line, Entry)]


def fill(buffer: Buffer, size: int) -> int:
    """Add access lines until one is lost; how many there are."""
    number = 0
    while not buffer.lost:
        buffer.add_access(float(number), access(number, size))
        number += 1
    return number - 1


ADD: dict[str, Callable[[Buffer, int], None]] = {
    "short queries": lambda buffer, number: buffer.add_access(1e9 + number / 7, access(number)),
    "empty queries": lambda buffer, number: buffer.add_access(1e9 + number / 7, access(number, 0)),
    "queries of 100 bytes": lambda buffer, number: buffer.add_access(1e9 + number / 7, access(number, 100)),
    "queries of 1,000 bytes": lambda buffer, number: buffer.add_access(1e9 + number / 7, access(number, 1000)),
    "queries of 60,000 bytes": lambda buffer, number: buffer.add_access(1e9 + number / 7, access(number % 26, 60_000)),
    "short messages": lambda buffer, number: buffer.add(Entry(20, 1e9 + number / 7, f"INFO fingerd: {number}")),
    "long messages": lambda buffer, number: buffer.add(Entry(20, 1e9 + number / 7, f"{number}" * 500)),
    "messages beyond Latin-1": lambda buffer, number: buffer.add(
        Entry(20, 1e9 + number / 7, "\u3042" * 300 + f"{number}")
    ),
}


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """The bytes that were allocated since the test began and are in use."""
    gc.collect()
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


@pytest.mark.parametrize("add", ADD.values(), ids=ADD)
def test_the_estimate_is_what_python_allocates(add: Callable[[Buffer, int], None], traced: Callable[[], int]) -> None:
    buffer = Buffer()
    before = traced()
    for number in range(2000):
        add(buffer, number)
    assert buffer.lost == 0
    assert buffer.bytes == pytest.approx(traced() - before, rel=0.2)


@pytest.mark.parametrize("size", [0, 80, 1000, 60_000])
def test_a_full_buffer_takes_as_much_as_it_may_and_counts_what_it_drops(size: int, traced: Callable[[], int]) -> None:
    buffer = Buffer()
    before = traced()
    kept = fill(buffer, size)
    for number in range(100):
        buffer.add_access(1.0, access(number, 1000))
        buffer.add(Entry(20, 1.0, "x" * 5000))
    assert 0.9 * BUFFER_BYTES < buffer.bytes <= BUFFER_BYTES
    assert traced() - before < 1.2 * BUFFER_BYTES
    assert len(lines_of(buffer)) + buffer.lost == kept + 1 + 200
    assert buffer.bytes == 0


def test_long_queries_are_shortened_when_the_buffer_is_half_full() -> None:
    buffer = Buffer()
    added = 0
    while buffer.bytes <= BUFFER_BYTES // 2:
        buffer.add_access(1.0, access(added, 998))
        added += 1
    long, at_the_limit, short = b"y" * 998 + b"\r\n", b"z" * SHORT_LINE_BYTES + b"\r\n", b"alice\r\n"
    for line in (long, at_the_limit, short):
        buffer.add_access(1.0, Access("192.0.2.7", line, "answered", 1, 0.1))
    texts = [access_text(line[1], "full", 1.0, line[2]) for line in accesses_of(buffer)]
    assert all(len(text) > 998 for text in texts[:added])
    assert texts[-3].startswith('client=192.0.2.7 query="yyyy')
    assert 'yyy[...]" outcome=answered' in texts[-3]
    assert f'query="{"z" * SHORT_LINE_BYTES}" ' in texts[-2]
    assert 'query="alice" ' in texts[-1]
    buffer.add_access(1.0, access(0, 998))  # there is room again
    ((_, record, is_short),) = accesses_of(buffer)
    assert (len(record.line), is_short) == (998, False)


def test_long_queries_are_shortened_while_lines_are_lost() -> None:
    buffer = Buffer()
    buffer.lose(1)  # the disk is full
    buffer.add_access(1.0, access(0, 998))
    buffer.lose(0, reported=1)
    assert (buffer.lost, buffer.dropped) == (0, 1)
    buffer.add_access(1.0, access(0, 998))
    assert [line[2] for line in accesses_of(buffer)] == [True, False]


@pytest.mark.parametrize("character", ["a", "ü", "\u3042", "\U0001f600", "\x1b", '"'])
def test_a_shortened_query_is_a_json_string_whose_start_is_that_of_the_query(character: str) -> None:
    buffer = Buffer()
    buffer.lose(1)
    for offset in range(4):  # a character of several bytes may lie across the end
        query = "x" * offset + character * 500
        buffer.add_access(1.0, Access("192.0.2.7", f"{query}\r\n".encode(), "answered", 1, 0.1))
        ((now, record, is_short),) = accesses_of(buffer)
        quoted = access_text(record, "full", now, is_short).partition("query=")[2].partition(" outcome=")[0]
        assert len(quoted) <= 100
        assert quoted.isascii()
        logged = json.loads(quoted)
        assert logged.endswith("[...]")
        assert len(logged) > 10
        assert query.startswith(logged.removesuffix("[...]"))


def test_lines_and_targets_keep_their_order() -> None:
    buffer = Buffer()
    target = Target(DescriptorSink(2, timestamps=False), "text", "full")
    numbers = range(3 * BATCH_BYTES // 300)
    for number in numbers:
        buffer.add_access(float(number), access(number))
    buffer.add_target(target)
    buffer.add(Entry(20, 1.0, "last"))
    taken = [*buffer.take_all()]
    where = taken.index(target)
    before = [line[0] for batch in taken[:where] if isinstance(batch, Batch) for line in batch.lines]
    assert before == [float(number) for number in numbers]
    assert where > 2  # batches
    assert [batch.lines for batch in taken[where + 1 :] if isinstance(batch, Batch)] == [[Entry(20, 1.0, "last")]]
    assert lines_of(buffer) == []


def test_lines_that_come_while_others_are_written_wait_for_the_next_time() -> None:
    buffer = Buffer()
    buffer.add(Entry(20, 1.0, "first"))
    for batch in buffer.take_all():
        assert isinstance(batch, Batch)
        buffer.add(Entry(20, 1.0, "second"))
    assert lines_of(buffer) == [Entry(20, 1.0, "second")]


def test_a_batch_counts_until_it_is_written_also_where_writing_ends_by_an_exception() -> None:
    buffer = Buffer()
    buffer.add(Entry(20, 1.0, "x" * 1000))
    taking = buffer.take_all()
    next(taking)
    assert buffer.bytes > 1000
    with pytest.raises(MemoryError):
        taking.throw(MemoryError())  # type: ignore[attr-defined]
    assert buffer.bytes == 0


def test_nothing_is_lost_or_counted_twice_with_many_threads() -> None:
    buffer = Buffer()

    def work(first: int) -> None:
        for number in range(first, first + 2000):
            buffer.add_access(float(number), access(number))
            buffer.add(Entry(20, float(number), "x"))

    threads = [threading.Thread(target=work, args=(10_000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    taken: list[Line] = []
    while any(thread.is_alive() for thread in threads):
        taken += lines_of(buffer)
    taken += lines_of(buffer)
    assert len(taken) == 8 * 4000
    assert (buffer.bytes, buffer.lost) == (0, 0)
