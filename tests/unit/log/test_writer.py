"""The log writer: nothing waits for it, and lost lines are counted and reported."""

import logging
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from fingerd.errors import StartError
from fingerd.log.buffer import BUFFER_BYTES
from fingerd.log.format import Access
from fingerd.log.sinks import AnyEntry, DescriptorSink, Entry
from fingerd.log.writer import Log, Writer, open_sink
from tests.helpers.daemons import TIMEOUT, wait_until


class ListSink:
    """A sink that keeps the lines, or fails while ``broken``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken = False
        self.failures = 0

    def write(self, lines: Sequence[AnyEntry]) -> int:
        """Keep the lines, or none of them."""
        if self.broken:
            self.failures += 1
            return 0
        self.lines += [text for _, _, text in lines]
        return len(lines)

    def descriptors(self) -> Sequence[int]:
        """None."""
        return ()

    def close(self) -> None:
        """Nothing to close."""


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("fingerd", logging.WARNING, "", 0, message, None, None)


def test_lines_are_written_in_order_and_soon() -> None:
    sink = ListSink()
    writer = Writer(sink, Log())
    writer.start()
    begun = time.monotonic()
    writer.handle(record("one"))
    writer.log_access(Access("192.0.2.1", b"alice\r\n", "answered", 16, 0.001))
    writer.handle(record("two"))
    wait_until(lambda: len(sink.lines) == 3)
    assert time.monotonic() - begun < 1
    assert sink.lines == [
        "WARNING fingerd: one",
        'client=192.0.2.1 query="alice" outcome=answered bytes=16 ms=1.0',
        "WARNING fingerd: two",
    ]
    writer.close()


def test_close_writes_the_pending_lines_started_or_not() -> None:
    for started in (True, False):
        sink = ListSink()
        writer = Writer(sink, Log())
        if started:
            writer.start()
        threads = [
            threading.Thread(target=lambda w=writer: [w.handle(record("x")) for _ in range(1000)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.close()
        assert sink.lines == ["WARNING fingerd: x"] * 4000


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_that_cannot_be_written_are_counted_and_reported_later(style: str) -> None:
    sink = ListSink()
    writer = Writer(sink, Log(format=style))  # type: ignore[arg-type]
    writer.start()
    sink.broken = True
    for number in (1, 2):
        writer.handle(record("lost"))
        wait_until(lambda: sink.failures == number)
    sink.broken = False
    writer.handle(record("kept"))
    writer.close()
    assert "2 lines could not be logged" in sink.lines[0]
    assert "kept" in sink.lines[1]
    assert len(sink.lines) == 2


def lines_in(log: bytes) -> int:
    """How many lines were logged, those included that are reported as lost."""
    lost = sum(map(int, re.findall(rb"\b(\d{1,9}) lines could not be logged", log)))
    return log.count(b"\n") - log.count(b"could not be logged") + lost


@pytest.mark.parametrize("size", [5, 1000])
@pytest.mark.parametrize("style", ["text", "json"])
def test_a_log_that_nobody_reads_takes_a_bounded_amount_of_memory(style: Literal["text", "json"], size: int) -> None:
    readable, writable = os.pipe()
    sink = DescriptorSink(writable, timestamps=True)
    with open(readable, "rb") as log:
        writer = Writer(sink, Log(format=style))
        writer.start()
        tracemalloc.start()
        count = 2 * BUFFER_BYTES // (300 + size)
        for number in range(count):
            writer.log_access(
                Access(f"192.0.2.{number % 250}", b"%05d" % number * (size // 5), "answered", number, 0.1)
            )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert 0.5 * BUFFER_BYTES < peak < 1.2 * BUFFER_BYTES
        received: list[bytes] = []
        reading = threading.Thread(target=lambda: received.append(log.read()))
        reading.start()
        wait_until(lambda: writer.buffer.bytes == 0)
        writer.close()
        sink.close()  # so that the reader comes to the end
        reading.join(TIMEOUT)
    (text,) = received
    assert b"lines could not be logged" in text
    assert lines_in(text) == count


class Unprintable:
    """A value that raises while it is logged, as one of a backend may."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error


@pytest.mark.parametrize("error", [MemoryError, SystemExit, LookupError, RecursionError])
def test_a_record_that_cannot_be_formatted_raises_nothing_and_counts_as_lost(error: type[BaseException]) -> None:
    sink = ListSink()
    writer = Writer(sink, Log())
    writer.start()
    writer.handle(logging.LogRecord("fingerd", logging.WARNING, "", 0, "%s", (Unprintable(error),), None))
    wait_until(lambda: sink.lines == ["WARNING fingerd.log.writer: 1 lines could not be logged"])
    writer.handle(record("next"))
    writer.close()
    assert sink.lines[1:] == ["WARNING fingerd: next"]


@pytest.mark.parametrize("error", [MemoryError, SystemExit, GeneratorExit, LookupError, OSError])
def test_whatever_a_sink_raises_its_lines_count_as_lost_and_the_thread_goes_on(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, other = ListSink(), ListSink()
    writer = Writer(sink, Log())
    writer.start()
    with monkeypatch.context() as patch:
        patch.setattr(sink, "write", Failing(error))
        writer.handle(record("lost"))
        wait_until(lambda: writer.buffer.lost == 1)
    with monkeypatch.context() as patch:
        patch.setattr(sink, "close", Failing(OSError))
        writer.switch(other, Log())
        writer.handle(record("kept"))
        wait_until(lambda: len(other.lines) == 2)
    writer.close()
    assert other.lines == ["WARNING fingerd.log.writer: 1 lines could not be logged", "WARNING fingerd: kept"]


class Failing:
    """A method of a sink that fails."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __call__(self, *_: object) -> None:
        raise self.error


# A log that nobody reads, and no more memory than there is: then there is a reader, and memory again.
WITHOUT_MEMORY = r"""
import logging, os, re, resource, sys, time
from fingerd.log.format import Access
from fingerd.log.sinks import DescriptorSink
from fingerd.log.writer import Log, Writer, install

log = logging.getLogger("fingerd")

readable, writable = os.pipe()
begun, begin = os.pipe()
if os.fork() == 0:  # the reader, which has memory
    os.close(writable)
    os.close(begin)
    os.read(begun, 1)
    with open(sys.argv[2], "wb") as file:
        while data := os.read(readable, 4096):
            file.write(data)
    os._exit(0)
writer = Writer(DescriptorSink(writable, True), Log())
writer.start()
install(writer, "info")
os.write(writable, b"x" * 65_535 + b"\n")  # as much as a pipe holds
log.warning("this line has to wait")
time.sleep(1)  # and so has the thread, while all others come
logged = 3
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
numbers = list(range(60_000))  # an int takes memory, too, and an addition makes one
counts = iter([*range(4, 60_100)])
resource.setrlimit(resource.RLIMIT_AS, (size + (int(sys.argv[1]) << 20), hard))
for number in numbers:
    try:
        record = Access("192.0.2.%d" % (number % 250), b"%05d" % number * 200, "answered", number, 0.1)
    except MemoryError:
        continue
    writer.log_access(record)
    logged = next(counts)
os.write(begin, b"x")
time.sleep(0.3)  # the log's thread is woken, and may have no memory for the text of a batch
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
log.warning("done")
writer.close()
os.close(writable)
os.wait()
counted = 0
for line in open(sys.argv[2], "rb"):
    lost = re.search(rb"\b(\d{1,9}) lines could not be logged", line)
    counted += int(lost[1]) if lost else 1
print(counted - logged, writer.buffer.bytes, writer.buffer.lost)
"""


@pytest.mark.parametrize("megabytes", [8, 12, 40])
def test_the_thread_survives_that_there_is_no_memory(megabytes: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY, str(megabytes), tmp_path / "log"],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.stderr == ""
    assert (done.stdout, done.returncode) == ("0 0 0\n", 0)


@pytest.mark.parametrize(("level", "count"), [("debug", 1), ("info", 1), ("warning", 0), ("error", 0)])
def test_access_lines_have_the_level_info(level: str, count: int) -> None:
    sink = ListSink()
    writer = Writer(sink, Log(level=level))  # type: ignore[arg-type]
    writer.log_access(Access("192.0.2.1", b"alice\r\n", "answered", 16, 0.001))
    writer.close()
    assert len(sink.lines) == count


def test_a_full_disk_raises_nothing() -> None:
    with open("/dev/full", "wb") as full:
        writer = Writer(DescriptorSink(full.fileno(), timestamps=True), Log())
        writer.handle(record("lost"))
        writer.close()


def test_lines_have_no_time_if_the_journal_reads_standard_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        status = os.fstat(stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        open_sink(Log(to="stderr"), True, None).write([Entry(20, time.time(), "without")])
        monkeypatch.setenv("JOURNAL_STREAM", "1:2")
        open_sink(Log(to="stderr"), True, None).write([Entry(20, time.time(), "with")])
    first, second = (tmp_path / "stderr").read_text().splitlines()
    assert first == "without"
    assert second.endswith("+00:00 with") or second[-10:-5].strip("+-")


def test_the_reason_why_a_file_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file or directory") as caught:
        open_sink(Log(to=str(tmp_path / "missing" / "log")), False, None)
    assert caught.value.exit_code == 78


@pytest.mark.root
def test_a_link_does_not_make_root_give_away_another_file(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.touch(0o600)
    (tmp_path / "link").symlink_to(precious)
    os.link(precious, tmp_path / "hard")
    with pytest.raises(StartError, match="it is a symbolic link"):
        open_sink(Log(to=str(tmp_path / "link")), False, (65534, 65534))
    with pytest.raises(StartError, match="it has several hard links"):
        open_sink(Log(to=str(tmp_path / "hard")), False, (65534, 65534))
    open_sink(Log(to="/dev/null"), False, (65534, 65534))
    assert precious.stat().st_uid == os.stat("/dev/null").st_uid == 0


def test_every_line_of_a_traceback_has_its_time(tmp_path: Path) -> None:
    sink = open_sink(Log(to=str(tmp_path / "log")), False, None)
    writer = Writer(sink, Log())
    try:
        raise LookupError("not found")
    except LookupError as error:
        caught = (LookupError, error, error.__traceback__)
        writer.handle(logging.LogRecord("fingerd", logging.ERROR, "", 0, "oh", None, caught))
    writer.close()
    sink.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) >= 4
    assert {line[:2] for line in lines} == {"20"}


def test_a_partly_written_line_is_ended_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("wb") as file:
        sink = DescriptorSink(file.fileno(), timestamps=False)
        writes = iter([lambda number, data: os.pwrite(number, data[:3], 0), None])
        real_write = os.write

        def write(number: int, data: memoryview) -> int:
            for first in writes:
                if first is None:
                    raise OSError(28, "No space left on device")
                return real_write(number, data[:3])
            return real_write(number, data)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            assert sink.write([Entry(20, 0, "torn apart")]) == 0
        sink.write([Entry(20, 0, "whole")])
    assert (tmp_path / "log").read_text() == "tor\nwhole\n"


def test_the_writer_reports_when_it_has_much_to_write() -> None:
    reports: list[bool] = []
    writer = Writer(ListSink(), Log())
    writer.on_long_work = reports.append
    writer.log_access(Access("192.0.2.7", b"bob\r\n", "answered", 7, 0.0))
    writer._flush()
    assert not reports
    for _ in range(1000):
        writer.log_access(Access("192.0.2.7", b"bob\r\n", "answered", 7, 0.0))
    writer._flush()
    assert reports == [True, False]
