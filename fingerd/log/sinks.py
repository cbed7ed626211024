"""Sinks for log lines: an open file, a standard stream, syslog."""

import errno
import logging
import logging.handlers
import os
import select
import socket
import stat
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from fingerd.log.format import timestamp

_NOT_REGULAR = "it is not a regular file"
_NULL_DEVICE = os.makedev(1, 3)  # /dev/null


class Entry(NamedTuple):
    """One formatted log line, with what a sink needs to add its own prefix; ``time`` is seconds since the epoch."""

    level: int
    time: float
    text: str


AnyEntry = tuple[int, float, str]  # an Entry, or a tuple like it, which is made in a tenth of the time


class Sink(Protocol):
    """Where log lines are written."""

    def write(self, lines: Sequence[AnyEntry]) -> int:
        """Write the lines. Returns how many, the first ones, are written: fewer than all if it fails."""

    def descriptors(self) -> Sequence[int]:
        """The descriptors that must stay open."""

    def close(self) -> None:
        """Release the descriptors."""


class DescriptorSink:
    """An open file, standard error or standard output. With ``timestamps``, each line begins with its time."""

    def __init__(self, descriptor: int, timestamps: bool) -> None:
        self._descriptor = descriptor
        self._timestamps = timestamps
        self._partial_line = False  # the last write ended within a line

    def write(self, lines: Sequence[AnyEntry]) -> int:
        """Append the lines, in as few writes as the system accepts. Returns how many are written."""
        joined = "".join(map(self._as_text, lines) if self._timestamps else (f"{text}\n" for _, _, text in lines))
        data = (b"\n" if self._partial_line else b"") + joined.encode("utf-8", "backslashreplace")
        unwritten = memoryview(data)
        try:
            while unwritten:
                written = self._write_some(unwritten)
                self._partial_line = unwritten[written - 1] != ord("\n")
                unwritten = unwritten[written:]
        except OSError:  # the disk is full, or nobody reads any more
            left = len(unwritten)
            for count, line in enumerate(reversed(lines)):
                if left <= 0:
                    return len(lines) - count
                left -= len(self._as_text(line).encode("utf-8", "backslashreplace"))
            return 0
        return len(lines)

    def _write_some(self, data: memoryview) -> int:
        """Write a part of the data. Waits for a slow reader, also if another process has made the file non-blocking."""
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                queue = select.poll()
                queue.register(self._descriptor, select.POLLOUT)
                queue.poll()

    def _as_text(self, line: AnyEntry) -> str:
        """The entry, with timestamps with its time before each of its lines; a traceback has several."""
        _, now, text = line
        if not self._timestamps:
            return f"{text}\n"
        time = timestamp(int(now))
        if "\n" not in text:
            return f"{time} {text}\n"
        return "".join(f"{time} {part}\n" for part in text.split("\n"))

    def descriptors(self) -> Sequence[int]:
        """The open descriptor."""
        return (self._descriptor,)

    def close(self) -> None:
        """Close the file, but not a standard stream."""
        if self._descriptor > 2:
            os.close(self._descriptor)


def open_log_file(path: str, owner: tuple[int, int] | None) -> int:
    """Open a log file to append to it, and give it to ``owner`` (uid, gid). Never waits, whatever the path is.

    It may be a terminal or ``/dev/null`` instead. Raises OSError for anything else, such as a FIFO.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        # The directory may belong to the owner, whose link must not make root give away another user's file.
        descriptor = os.open(path, flags | (os.O_NOFOLLOW if owner else 0), 0o640)
    except OSError as error:
        reasons = {errno.ELOOP: "it is a symbolic link", errno.ENXIO: _NOT_REGULAR}  # ENXIO: a FIFO without a reader
        raise OSError(error.errno, reasons.get(error.errno or 0, error.strerror)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            if not os.isatty(descriptor) and status.st_rdev != _NULL_DEVICE:
                raise OSError(errno.EINVAL, _NOT_REGULAR)
        elif owner:
            if status.st_nlink != 1:
                raise OSError(errno.EMLINK, "it has several hard links")
            os.fchown(descriptor, *owner)  # who reopens it at a reload
        os.set_blocking(descriptor, True)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class SyslogSink(logging.handlers.SysLogHandler):
    """The local syslog. Connects when constructed, and reconnects when needed, if ``/dev/log`` is still visible."""

    socket: socket.socket

    def __init__(self, prefix: str) -> None:
        super().__init__("/dev/log", self.LOG_DAEMON)
        self._prefix = prefix

    def _connect_unixsocket(self, address: str) -> None:
        """As the base class, but a stream socket whose queue is full is an error: connecting to it would wait."""
        for kind in (self.socktype,) if self.socktype else (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            self.socket = socket.socket(socket.AF_UNIX, kind)
            self.socket.setblocking(False)
            try:
                self.socket.connect(address)
            except OSError as error:
                self.socket.close()
                failure = error
            else:
                self.socket.setblocking(True)
                self.socktype = kind
                return
        raise failure

    @property
    def connected(self) -> bool:
        """Whether the socket is connected to a syslog daemon."""
        try:
            self.socket.getpeername()
        except OSError:
            return False
        return True

    def write(self, lines: Sequence[AnyEntry]) -> int:
        """Send the lines, tagged with prefix and pid. Returns how many syslog has accepted."""
        self.ident = f"{self._prefix}[{os.getpid()}]: "
        for count, (level, _, text) in enumerate(lines):
            try:
                self.emit(logging.LogRecord("", level, "", 0, text, None, None))
            except OSError:
                return count
        return len(lines)

    def descriptors(self) -> Sequence[int]:
        """The descriptor of the connected socket."""
        return (self.socket.fileno(),)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise  # noqa: PLE0704 - called while the exception is being handled: the writer counts the lost lines


def journal_reads(descriptor: int) -> bool:
    """Whether systemd's journal, which adds the time, reads this descriptor (JOURNAL_STREAM, systemd.exec(5))."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
