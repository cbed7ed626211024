"""The log writer: nothing waits for it, and lost lines are counted and reported."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fingerd.errors import StartError
from fingerd.log import writer as log_writer
from fingerd.log.format import Access
from fingerd.log.sinks import DescriptorSink, Entry
from fingerd.log.writer import Log, Writer, open_sink
from tests.helpers.daemons import wait_until


class ListSink:
    """A sink that keeps the lines, or fails while ``broken``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken = False
        self.failures = 0

    def write(self, lines: Sequence[Entry]) -> None:
        """Keep the lines, or raise OSError."""
        if self.broken:
            self.failures += 1
            raise OSError(28, "No space left on device")
        self.lines += [line.text for line in lines]

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


def test_the_number_of_pending_lines_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "MAX_LINES", 3)
    sink = ListSink()
    writer = Writer(sink, Log())
    for _ in range(5):
        writer.handle(record("x"))
    writer.close()
    assert sink.lines == ["WARNING fingerd.log.writer: 2 lines could not be logged", *["WARNING fingerd: x"] * 3]


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
            with pytest.raises(OSError, match="No space left"):
                sink.write([Entry(20, 0, "torn apart")])
        sink.write([Entry(20, 0, "whole")])
    assert (tmp_path / "log").read_text() == "tor\nwhole\n"
