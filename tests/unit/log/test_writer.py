"""Where log lines go: nothing waits for it, and nothing is lost without a word."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fingerd.errors import StartError
from fingerd.log import writer as logs
from fingerd.log.format import Access
from fingerd.log.sinks import DescriptorSink, Entry
from fingerd.log.writer import Log, Writer, open_sink
from tests.helpers.daemons import wait_until


class Lines:
    """A place for lines that may be out of order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken = False
        self.failures = 0

    def write(self, lines: Sequence[Entry]) -> None:
        """Take the lines, or fail."""
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


def test_lines_are_written_in_their_order_within_a_moment() -> None:
    sink = Lines()
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


def test_the_last_lines_are_written_at_the_end_started_or_not() -> None:
    for started in (True, False):
        sink = Lines()
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
def test_lines_that_cannot_be_written_are_counted_and_told_later(style: str) -> None:
    sink = Lines()
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


def test_no_more_lines_are_kept_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_LINES", 3)
    sink = Lines()
    writer = Writer(sink, Log())
    for _ in range(5):
        writer.handle(record("x"))
    writer.close()
    assert sink.lines == ["WARNING fingerd.log.writer: 2 lines could not be logged", *["WARNING fingerd: x"] * 3]


@pytest.mark.parametrize(("level", "count"), [("debug", 1), ("info", 1), ("warning", 0), ("error", 0)])
def test_connections_are_logged_at_the_level_info(level: str, count: int) -> None:
    sink = Lines()
    writer = Writer(sink, Log(level=level))  # type: ignore[arg-type]
    writer.log_access(Access("192.0.2.1", b"alice\r\n", "answered", 16, 0.001))
    writer.close()
    assert len(sink.lines) == count


def test_a_full_disk_is_no_end() -> None:
    with open("/dev/full", "wb") as full:
        writer = Writer(DescriptorSink(full.fileno(), stamped=True), Log())
        writer.handle(record("lost"))
        writer.close()


def test_standard_error_that_the_journal_reads_gets_no_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        status = os.fstat(stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        open_sink(Log(to="stderr"), True, None).write([Entry(20, time.time(), "plain")])
        monkeypatch.setenv("JOURNAL_STREAM", "1:2")
        open_sink(Log(to="stderr"), True, None).write([Entry(20, time.time(), "stamped")])
    first, second = (tmp_path / "stderr").read_text().splitlines()
    assert first == "plain"
    assert second.endswith("+00:00 stamped") or second[-13:-8].strip("+-")


def test_a_file_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file or directory") as caught:
        open_sink(Log(to=str(tmp_path / "missing" / "log")), False, None)
    assert caught.value.exit_code == 78


@pytest.mark.root
def test_root_is_led_to_nobody_else_s_file_by_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.touch(0o600)
    (tmp_path / "link").symlink_to(precious)
    os.link(precious, tmp_path / "hard")
    with pytest.raises(StartError, match="it is a symbolic link"):
        open_sink(Log(to=str(tmp_path / "link")), False, (65534, 65534))
    with pytest.raises(StartError, match="it has other names"):
        open_sink(Log(to=str(tmp_path / "hard")), False, (65534, 65534))
    open_sink(Log(to="/dev/null"), False, (65534, 65534))
    assert precious.stat().st_uid == os.stat("/dev/null").st_uid == 0


def test_every_line_of_a_traceback_has_its_time(tmp_path: Path) -> None:
    sink = open_sink(Log(to=str(tmp_path / "log")), False, None)
    writer = Writer(sink, Log())
    try:
        raise LookupError("a bug")
    except LookupError as error:
        caught = (LookupError, error, error.__traceback__)
        writer.handle(logging.LogRecord("fingerd", logging.ERROR, "", 0, "oh", None, caught))
    writer.close()
    sink.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) >= 4
    assert {line[:2] for line in lines} == {"20"}


def test_a_line_that_was_torn_is_ended_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("wb") as file:
        sink = DescriptorSink(file.fileno(), stamped=False)
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
