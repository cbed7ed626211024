"""The log writer, its options, and how it is installed in ``logging``.

One thread collects the lines and writes them in batches. So a slow disk or a blocked syslog does not delay an answer,
and a line costs little: a ``logging`` handler that writes each line itself costs more time than a whole answer.
"""

import contextlib
import logging
import logging.handlers
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fingerd.bugs import report_bug
from fingerd.config.system_options import read_file
from fingerd.config.values import Scalar, did_you_mean, to_text
from fingerd.errors import write_error
from fingerd.log.buffer import Buffer, Line, Target
from fingerd.log.format import Access, AddressDetail, Style, access_json, access_text, record_text
from fingerd.log.sinks import AnyEntry, DescriptorSink, Entry, Sink, SyslogSink, journal_reads, open_log_file

FINAL_FLUSH_SECONDS = 3.0  # timeout of the last write: a blocked disk or syslog must not keep the daemon from exiting
FLUSH_SECONDS = 0.1  # lines are collected for this long before they are written

STDOUT = "/dev/stdout"
STREAMS = {"stderr": 2, STDOUT: 1}  # values of log.to, with their descriptors
# Other names of both. The descriptor that is open is written to: only root may be allowed to open the file again.
STREAM_NAMES = dict.fromkeys(("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"), "stderr")
STREAM_NAMES |= dict.fromkeys((STDOUT, "/dev/fd/1", "/proc/self/fd/1"), STDOUT)

INHERITED = ("/dev/fd/", "/proc/self/fd/")  # beginnings of the names of open descriptors

access = logging.getLogger("fingerd.access")


def read_destination(scalar: Scalar) -> str:
    """``syslog``, ``stderr``, STDOUT or the absolute path of a file. ValueError if its directory does not exist."""
    if scalar.text in ("syslog", "stderr"):
        return scalar.text
    if scalar.text in STREAM_NAMES:
        return STREAM_NAMES[scalar.text]
    # The daemon closes all other inherited descriptors, so a reload could not open them again.
    is_inherited = scalar.text.lower() == "stdout" or scalar.text.startswith(INHERITED)
    hint = " (did you mean stderr?)" if is_inherited else did_you_mean(scalar.text.lower(), ("syslog", "stderr"))
    # Any other word with a hint creates a file of that name in the working directory.
    if is_inherited or (hint and scalar.text.isalpha()):
        raise ValueError(f"must be syslog, stderr or the path of a file{hint}")
    return read_file(scalar)


def read_prefix(scalar: Scalar) -> str:
    """A syslog tag. Raises ValueError if it is not 1 to 48 printable ASCII characters, or has one of ``:[]``."""
    if not re.fullmatch(r"[!-9;-Z\\^-~]{1,48}", to_text(scalar)):
        raise ValueError("must be 1 to 48 ASCII characters without spaces, colons and brackets")
    return scalar.text


@dataclass(frozen=True, slots=True)
class Log:
    """The ``log`` section of the configuration."""

    to: Annotated[str, read_destination] | None = None  # syslog, or standard error in the foreground
    prefix: Annotated[str, read_prefix] = "fingerd"
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Style = "text"
    addresses: AddressDetail = "full"


class Writer(logging.Handler):
    """Collects lines from all threads, and writes them to a sink on its own thread, from ``start`` to ``close``."""

    def __init__(self, sink: Sink, settings: Log) -> None:
        super().__init__()
        self.buffer = Buffer()
        self._settings = settings  # of the lines that are added
        self._target = Target(sink, settings.format, settings.addresses)  # of those that are written
        self._pending = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        # Called when the thread begins to take much CPU time (true), and when that ends (false).
        self.on_long_work: Callable[[bool], None] = lambda begins: None

    def start(self) -> None:
        """Start the thread. Call it after the last fork, since threads do not survive one."""
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        thread.start()
        self._thread = thread

    def switch(self, sink: Sink, settings: Log) -> None:
        """Write pending lines to the present sink and close it, and all later lines to ``sink``."""
        self._settings = settings
        set_level(settings.level)
        self.buffer.add_target(Target(sink, settings.format, settings.addresses))
        self._pending.set()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a ``logging`` record. One that cannot be formatted raises nothing, and counts as lost."""
        try:
            self.buffer.add(Entry(record.levelno, record.created, record_text(record, self._settings.format)))
        except BaseException:  # a value's __str__ may raise anything; and there may be no memory
            self.buffer.lose(1)
        if not self._pending.is_set():
            self._pending.set()

    def log_access(self, record: Access) -> None:
        """Queue the access line of one connection."""
        if self._settings.level in ("debug", "info"):
            try:
                self.buffer.add_access(time.time(), record)
            except MemoryError:
                self.buffer.lose(1)
            if not self._pending.is_set():
                self._pending.set()

    def close(self) -> None:
        """Write the pending lines, and stop the thread."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._pending.set()
        if self._thread and self._thread.is_alive():
            self._thread.join(FINAL_FLUSH_SECONDS)
        if not self._thread or not self._thread.is_alive():
            self._flush()
        super().close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._pending.wait()
                self._closing.wait(FLUSH_SECONDS)
                self._pending.clear()
                self._flush()
            except BaseException as error:  # no memory even to wait
                self._pending.set()
                time.sleep(FLUSH_SECONDS)
                report_bug(error, "in the log")

    def _flush(self) -> None:
        """Write the lines that are there now, in batches, so that little memory is needed for their text."""
        if is_long := self.buffer.has_backlog:
            self.on_long_work(True)
        try:
            self._write_all()
        finally:
            if is_long:
                self.on_long_work(False)

    def _write_all(self) -> None:
        taken = None
        for taken in self.buffer.take_all():
            if isinstance(taken, Target):
                self._turn_to(taken)
            else:
                self._write(taken.lines)
        if taken is None and self.buffer.lost:
            self._write(())  # only how many were lost

    def _turn_to(self, target: Target) -> None:
        old, self._target = self._target, target
        with contextlib.suppress(OSError):  # such as a full disk, which NFS may report no sooner
            old.sink.close()

    def _write(self, lines: Sequence[Line]) -> None:
        """Write a batch; its lines count as lost if the disk is full, syslog is gone, or there is no memory."""
        lost = self.buffer.lost
        try:
            report = tuple(self._report(lost))
            written = self._target.sink.write([*report, *self._formatted(lines)])
        except BaseException as error:
            self.buffer.lose(len(lines))
            if not isinstance(error, MemoryError):
                report_bug(error, "in the log")
        else:
            reported = min(written, len(report))
            self.buffer.lose(len(lines) - (written - reported), lost if reported else 0)

    def _report(self, lost: int) -> Iterator[Entry]:
        """The line that says how many were lost, if any."""
        if lost:
            report = logging.LogRecord(__name__, logging.WARNING, "", 0, "%d lines could not be logged", (lost,), None)
            yield Entry(report.levelno, report.created, record_text(report, self._target.style))

    def _formatted(self, lines: Sequence[Line]) -> Iterator[AnyEntry]:
        """The lines as text; all of it for thousands of lines a second, so with few calls."""
        _, style, addresses = self._target
        access_line = access_json if style == "json" else access_text
        for line in lines:
            if isinstance(line, Entry):
                yield line
            else:
                now, access, is_short = line
                yield logging.INFO, now, access_line(access, addresses, now, is_short)


def log_access(record: Access) -> None:
    """Log the access line of one connection through ``logging``: for programs that embed the server."""
    if access.isEnabledFor(logging.INFO):
        access.info("%s", access_text(record, "full", 0))


def open_sink(settings: Log, stderr_by_default: bool, owner: tuple[int, int] | None) -> Sink:
    """Open the sink that the settings name, a file for ``owner`` (uid, gid). StartError: exit code 74, 77 or 78."""
    destination = settings.to or ("stderr" if stderr_by_default else "syslog")
    if destination == "syslog":
        return SyslogSink(settings.prefix)
    timestamps = settings.format == "text"
    if destination in STREAMS:
        descriptor = (sys.stderr if destination == "stderr" else sys.stdout).fileno()
        return DescriptorSink(descriptor, timestamps and not journal_reads(descriptor))
    try:
        return DescriptorSink(open_log_file(destination, owner), timestamps)
    except OSError as error:
        raise write_error(f"the log {destination}", error) from error


def install(writer: Writer, level: str) -> None:
    """Make the writer the only handler of ``logging``: for our loggers from ``level``, for libraries from WARNING."""
    root = logging.getLogger()
    root.handlers[:] = [writer]
    root.setLevel(logging.WARNING)
    set_level(level)
    logging.captureWarnings(True)


def set_level(level: str) -> None:
    """Set the level of our loggers."""
    logging.getLogger("fingerd").setLevel(level.upper())
