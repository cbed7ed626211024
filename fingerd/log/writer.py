"""The log writer, its options, and how it is installed in ``logging``.

One thread collects the lines and writes them in batches. So a slow disk or a blocked syslog does not delay an answer,
and a line costs little: a ``logging`` handler that writes each line itself costs more time than a whole answer.
"""

import logging
import logging.handlers
import re
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Literal

from fingerd.config.system_options import read_file
from fingerd.config.values import Scalar, did_you_mean, to_text
from fingerd.errors import write_error
from fingerd.log.format import Access, AddressDetail, Style, access_json, access_text, record_text
from fingerd.log.sinks import DescriptorSink, Entry, Sink, SyslogSink, journal_reads, open_log_file

FINAL_FLUSH_SECONDS = 3.0  # timeout of the last write: a blocked disk or syslog must not keep the daemon from exiting
FLUSH_SECONDS = 0.1  # lines are collected for this long before they are written
MAX_LINES = 100_000  # pending lines, about 20 MB; more are dropped and counted, as are those that cannot be written

INHERITED = ("/dev/stdout", "/dev/fd/", "/proc/self/fd/")  # names of open descriptors

access = logging.getLogger("fingerd.access")


def read_destination(scalar: Scalar) -> str:
    """``syslog``, ``stderr`` or the absolute path of a file. Raises ValueError if its directory does not exist."""
    if scalar.text in ("syslog", "stderr"):
        return scalar.text
    if scalar.text == "/dev/stderr":
        return "stderr"
    # The daemon closes standard output and inherited descriptors, so a reload could not open them again.
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
        self.sink = sink
        self._lines: deque[Entry | Sink] = deque()  # a sink among the entries takes all entries after it
        self._dropped = 0
        self._pending = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._settings = settings

    def start(self) -> None:
        """Start the thread. Call it after the last fork, since threads do not survive one."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def switch(self, sink: Sink, settings: Log) -> None:
        """Write pending lines to the present sink and close it, and all later lines to ``sink``."""
        self._settings = settings
        set_level(settings.level)
        self._lines.append(sink)
        self._pending.set()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a ``logging`` record."""
        self._put(Entry(record.levelno, record.created, record_text(record, self._settings.format)))

    def log_access(self, record: Access) -> None:
        """Queue the access line of one connection."""
        settings, now = self._settings, time.time()
        if settings.level in ("debug", "info"):
            access_line = access_json if settings.format == "json" else access_text
            self._put(Entry(logging.INFO, now, access_line(record, settings.addresses, now)))

    def close(self) -> None:
        """Write the pending lines, and stop the thread."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._pending.set()
        if self._thread:
            self._thread.join(FINAL_FLUSH_SECONDS)
        if not self._thread or not self._thread.is_alive():
            self._flush()
        super().close()

    def _put(self, line: Entry) -> None:
        if len(self._lines) >= MAX_LINES:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._pending.is_set():
            self._pending.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._pending.wait()
            self._closing.wait(FLUSH_SECONDS)
            self._pending.clear()
            self._flush()

    def _flush(self) -> None:
        lines: list[Entry] = []
        for _ in range(len(self._lines)):
            line = self._lines.popleft()
            if isinstance(line, Entry):
                lines.append(line)
                continue
            self._write(lines)
            self.sink.close()
            self.sink, lines = line, []
        self._write(lines)

    def _write(self, lines: list[Entry]) -> None:
        lost = self._dropped
        if lost:
            report = logging.LogRecord(__name__, logging.WARNING, "", 0, "%d lines could not be logged", (lost,), None)
            lines = [Entry(report.levelno, report.created, record_text(report, self._settings.format)), *lines]
        try:
            if lines:
                self.sink.write(lines)
                self._dropped -= lost
        except OSError:  # the disk is full, or syslog is gone; reported with the next lines that can be written
            self._dropped += len(lines) - bool(lost)


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
    if destination == "stderr":
        return DescriptorSink(sys.stderr.fileno(), timestamps and not journal_reads(sys.stderr.fileno()))
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
