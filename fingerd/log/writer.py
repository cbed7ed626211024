"""Where log lines go, and how they look: a file, standard error or syslog; text or JSON.

Lines are gathered and written together by one thread, so that neither a slow
disk nor a stuck syslog holds a query up, and a line costs little: every
``logging`` call that writes for itself costs more than a whole answer.
"""

import errno
import logging
import logging.handlers
import os
import re
import stat
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Literal

from fingerd.config.system_options import read_file
from fingerd.config.values import Scalar, did_you_mean, to_text
from fingerd.errors import StartError
from fingerd.log.format import Access, Kept, Style, access_json, access_text, record_text
from fingerd.log.sinks import DescriptorSink, Entry, Sink, SyslogSink, journal_reads

LAST_SECONDS = 3.0  # that the last lines may take, lest a stuck disk or syslog keeps the daemon from ending
MOMENT = 0.1  # seconds for which lines are gathered
MOST_LINES = 100_000  # gathered at most, about 20 MB; more, and those that cannot be written, are counted and dropped

access = logging.getLogger("fingerd.access")


def read_destination(scalar: Scalar) -> str:
    """``syslog``, ``stderr`` or the absolute path of a file; ValueError where its folder is missing."""
    if scalar.text in ("syslog", "stderr"):
        return scalar.text
    hint = " (did you mean stderr?)" if scalar.text.lower() == "stdout" else ""
    hint = hint or did_you_mean(scalar.text.lower(), ("syslog", "stderr"))
    if hint and scalar.text.isalpha():  # it would make a file of that name, wherever the daemon was started
        raise ValueError(f"must be syslog, stderr or the path of a file{hint}")
    return read_file(scalar)


def read_prefix(scalar: Scalar) -> str:
    """A syslog tag: some printable characters without blanks, colons and brackets."""
    if not re.fullmatch(r"[!-9;-Z\\^-~]{1,48}", to_text(scalar)):
        raise ValueError("must be up to 48 characters without blanks, colons and brackets")
    return scalar.text


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, where, and how."""

    to: Annotated[str, read_destination] | None = None  # syslog; in the foreground standard error
    prefix: Annotated[str, read_prefix] = "fingerd"
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Style = "text"
    addresses: Kept = "full"


class Writer(logging.Handler):
    """Gathers lines from all threads, and writes them on one of its own, from ``start`` until ``close``."""

    def __init__(self, sink: Sink, settings: Log) -> None:
        super().__init__()
        self.sink = sink
        self._lines: deque[Entry | Sink] = deque()  # a sink among them: where the next ones go
        self._dropped = 0
        self._waiting = threading.Event()  # there are lines
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._obey(settings)

    def _obey(self, settings: Log) -> None:
        self._settings = settings
        self._access = access_json if settings.format == "json" else access_text

    def start(self) -> None:
        """Begin to write; to be called in the process that stays."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def change(self, sink: Sink, settings: Log) -> None:
        """Write the lines that are here to where they were meant for, and all later ones to ``sink``."""
        self._obey(settings)
        set_level(settings.level)
        self._lines.append(sink)
        self._waiting.set()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of ``logging``."""
        self._put(Entry(record.levelno, record.created, record_text(record, self._settings.format)))

    def log_access(self, seen: Access) -> None:
        """Take the line of one connection."""
        if self._settings.level in ("debug", "info"):
            now = time.time()
            self._put(Entry(logging.INFO, now, self._access(seen, self._settings.addresses, now)))

    def close(self) -> None:
        """Write what is left, and take nothing more."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._waiting.set()
        if self._thread:
            self._thread.join(LAST_SECONDS)
        if not self._thread or not self._thread.is_alive():
            self._flush()
        super().close()

    def _put(self, line: Entry) -> None:
        if len(self._lines) >= MOST_LINES:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._waiting.is_set():
            self._waiting.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._waiting.wait()
            self._ending.wait(MOMENT)
            self._waiting.clear()
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
            told = logging.LogRecord(__name__, logging.WARNING, "", 0, "%d lines could not be logged", (lost,), None)
            lines = [Entry(told.levelno, told.created, record_text(told, self._settings.format)), *lines]
        try:
            if lines:
                self.sink.write(lines)
                self._dropped -= lost
        except OSError:  # the disk is full, or syslog is gone; told as soon as it takes lines again
            self._dropped += len(lines) - bool(lost)


def log_access(seen: Access) -> None:
    """The line of one connection, through ``logging``: for programs that embed the server."""
    if access.isEnabledFor(logging.INFO):
        access.info("%s", access_text(seen, "full", 0))


def open_sink(settings: Log, talks: bool, owner: tuple[int, int] | None) -> Sink:
    """The place where lines go. A log file belongs to ``owner`` (uid, gid), so that they can open it again.

    StartError with exit code 77 where the file may not be written, 78 where it cannot.
    """
    destination = settings.to or ("stderr" if talks else "syslog")
    if destination == "syslog":
        return SyslogSink(settings.prefix)
    stamped = settings.format == "text"
    if destination == "stderr":
        return DescriptorSink(sys.stderr.fileno(), stamped and not journal_reads(sys.stderr.fileno()))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
    try:
        # The folder may be the owner's, who must not lead root, by a link, to a file that is not theirs.
        descriptor = os.open(destination, flags | (os.O_NOFOLLOW if owner else 0), 0o640)
        status = os.fstat(descriptor)
        if owner and stat.S_ISREG(status.st_mode):
            if status.st_nlink != 1:
                raise OSError(errno.EMLINK, "it has other names")
            os.fchown(descriptor, *owner)
    except OSError as error:
        code = os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_CONFIG
        what = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StartError(f"cannot write the log {destination}: {what}", code) from error
    return DescriptorSink(descriptor, stamped)


def install(writer: Writer, level: str) -> None:
    """Let everything that is logged go through the writer: ours from ``level``, libraries' from warnings."""
    root = logging.getLogger()
    root.handlers[:] = [writer]
    root.setLevel(logging.WARNING)
    set_level(level)
    logging.captureWarnings(True)


def set_level(level: str) -> None:
    """Log what is at least this important; of libraries, warnings."""
    logging.getLogger("fingerd").setLevel(level.upper())
