"""The places where log lines end: an open file, standard error, syslog."""

import logging
import logging.handlers
import os
import socket
import sys
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from fingerd.log.format import stamp

SYSLOG = "/dev/log"


class Entry(NamedTuple):
    """One line, finished but for what the place where it goes to adds."""

    level: int
    time: float
    text: str


class Sink(Protocol):
    """A place for log lines."""

    def write(self, lines: Sequence[Entry]) -> None:
        """Write them all; OSError where that cannot be done."""
        ...

    def descriptors(self) -> Sequence[int]:
        """The descriptors that must stay open for it."""
        ...

    def close(self) -> None:
        """Give them back."""
        ...


class DescriptorSink:
    """An open file or standard error; ``stamped`` lines begin with their time."""

    def __init__(self, descriptor: int, stamped: bool) -> None:
        self._descriptor = descriptor
        self._stamped = stamped
        self._torn = False  # the last write ended inside of a line

    def write(self, lines: Sequence[Entry]) -> None:
        """Append the lines, in as few writes as the system takes."""
        text = "".join(map(self._stamp, lines) if self._stamped else (f"{line.text}\n" for line in lines))
        left = memoryview((b"\n" if self._torn else b"") + text.encode("utf-8", "backslashreplace"))
        while left:
            written = os.write(self._descriptor, left)
            self._torn = left[written - 1] != ord("\n")
            left = left[written:]

    @staticmethod
    def _stamp(line: Entry) -> str:
        """The entry, each of its lines behind its time."""
        time = stamp(int(line.time))
        return (
            f"{time} {line.text}\n"
            if "\n" not in line.text
            else "".join(f"{time} {part}\n" for part in line.text.split("\n"))
        )

    def descriptors(self) -> Sequence[int]:
        """The one."""
        return (self._descriptor,)

    def close(self) -> None:
        """Close the file; standard error stays."""
        if self._descriptor != sys.stderr.fileno():
            os.close(self._descriptor)


class SyslogSink:
    """The host's syslog. Connected when made; connects again by itself while ``/dev/log`` can be seen."""

    def __init__(self, prefix: str) -> None:
        self._handler = _SyslogHandler(SYSLOG, logging.handlers.SysLogHandler.LOG_DAEMON)
        self._prefix = prefix

    @property
    def connected(self) -> bool:
        """Whether somebody takes the lines now."""
        try:
            self._handler.socket.getpeername()
        except OSError:
            return False
        return True

    def write(self, lines: Sequence[Entry]) -> None:
        """Send the lines, tagged with prefix and pid; OSError where syslog takes them no more."""
        self._handler.ident = f"{self._prefix}[{os.getpid()}]: "
        for line in lines:
            self._handler.emit(logging.LogRecord("", line.level, "", 0, line.text, None, None))

    def descriptors(self) -> Sequence[int]:
        """The connected socket's."""
        return (self._handler.socket.fileno(),)

    def close(self) -> None:
        """Close the connection."""
        self._handler.close()


class _SyslogHandler(logging.handlers.SysLogHandler):
    socket: socket.socket

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise  # noqa: PLE0704 - called while the exception is being handled: the writer counts what is lost


def journal_reads(descriptor: int) -> bool:
    """Whether systemd's journal, which adds the time itself, is on the other end (systemd.exec(5), JOURNAL_STREAM)."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
