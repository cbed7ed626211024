"""Descriptors that take a part of what is written: no line is lost to a slow reader, and each lost one is counted."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingerd.log.format import Access
from fingerd.log.sinks import DescriptorSink, Entry
from fingerd.log.writer import Log, Writer
from tests.helpers.daemons import ROOT, TIMEOUT

TRACEBACK = "ERROR fingerd: bug\nTraceback\n  é\n"
styles = pytest.mark.parametrize("timestamps", [True, False], ids=["with times", "without"])


def entries(count: int) -> list[Entry]:
    """Lines of several lengths, some with characters of several bytes, some of several lines."""
    return [Entry(20, 0, f"line {number} {'é' * (number % 50)}") for number in range(count)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose write end does not block."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(descriptor)


@styles
@pytest.mark.parametrize("chunk", [1 << 10, 1 << 16])
def test_a_slow_reader_of_a_non_blocking_pipe_gets_every_line(
    chunk: int, timestamps: bool, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    heard = bytearray()

    def read() -> None:
        while data := os.read(reader, chunk):
            heard.extend(data)
            time.sleep(0.001)

    thread = threading.Thread(target=read)
    thread.start()
    sink = DescriptorSink(writer, timestamps)
    lines = entries(3000)
    assert sink.write(lines[:1000]) == 1000
    assert sink.write(lines[1000:]) == 2000
    os.close(writer)
    thread.join(TIMEOUT)
    read_lines = heard.decode().splitlines()
    assert [line[line.index("line") :] for line in read_lines] == [line.text for line in lines]


@styles
def test_lines_that_a_pipe_takes_before_its_reader_ends_are_counted(timestamps: bool, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    heard = bytearray()

    def read() -> None:
        time.sleep(0.05)
        while len(heard) < 20_000:
            heard.extend(os.read(reader, 1000))
        os.close(reader)

    thread = threading.Thread(target=read)
    thread.start()
    written = DescriptorSink(writer, timestamps).write(entries(20_000))
    thread.join(TIMEOUT)
    # The pipe may have taken more than was read, by as much as it holds.
    assert heard.count(b"\n") <= written <= heard.count(b"\n") + 65536 // 10
    assert written < 20_000


FULL = """
import os, resource, sys
from fingerd.log.sinks import DescriptorSink, Entry
limit, timestamps, path = int(sys.argv[1]), sys.argv[2] == "True", sys.argv[3]
descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
sink = DescriptorSink(descriptor, timestamps)
entries = [Entry(20, 0, f"line {number} {'é' * (number % 50)}" + "\\nmore" * (number % 3)) for number in range(200)]
print(sink.write(entries), sink.write(entries[:1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(sink.write([Entry(20, 0, "the end")]))
"""


@styles
@pytest.mark.parametrize("limit", [1, 10, 1000, 1001, 1002, 1003, 5000, 9000, 1_000_000])
def test_lines_that_a_full_disk_takes_are_counted(limit: int, timestamps: bool, tmp_path: Path) -> None:
    path = tmp_path / "log"
    command = [sys.executable, "-c", FULL, str(limit), str(timestamps), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    first, second, last = map(int, done.stdout.split())
    text = path.read_text(errors="replace")
    complete = [number for number in range(200) if is_complete(text, number)]
    assert first == len(complete)
    assert complete == [*range(first)]
    assert (second, last) == (limit == 1_000_000, 1)
    assert text.endswith("the end\n")
    assert re.search(r"^(\S+ )?the end$", text, re.MULTILINE), "the cut line is ended before the next one begins"


def is_complete(text: str, number: int) -> bool:
    """Whether the entry is in the text with all its lines."""
    more = r"\n(\S+ )?more" * (number % 3)
    return bool(re.search(rf"^(\S+ )?line {number} é{{{number % 50}}}{more}\n", text, re.MULTILINE))


class Taking:
    """A sink that takes so many lines, and then none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.lines: list[str] = []

    def write(self, lines: "list[Entry]") -> int:
        """Take what there is room for."""
        taken = lines[: self.room]
        self.room -= len(taken)
        self.lines += [text for _, _, text in taken]
        return len(taken)

    def descriptors(self) -> tuple[int, ...]:
        """None."""
        return ()

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("room", [0, 1, 2, 99, 100, 101])
def test_the_writer_counts_the_lines_that_are_left(room: int) -> None:
    sink = Taking(room)
    writer = Writer(sink, Log())  # type: ignore[arg-type]
    for number in range(100):
        writer.log_access(Access("192.0.2.1", b"%d" % number, "answered", 1, 0.1))
    writer._flush()
    assert writer.buffer.lost == max(100 - room, 0)
    sink.room = 0
    writer._flush()  # not even the report can be written
    assert writer.buffer.lost == max(100 - room, 0)
    writer.log_access(Access("192.0.2.1", b"late", "answered", 1, 0.1))
    sink.room = 1
    writer._flush()
    if room < 100:
        assert f"{100 - room} lines could not be logged" in sink.lines[-1]
        assert writer.buffer.lost == 1  # the late one
    sink.room = 100
    writer.close()
    assert writer.buffer.lost == 0
    assert len([line for line in sink.lines if line.startswith("client=")]) == min(room, 100) + (room >= 100)
