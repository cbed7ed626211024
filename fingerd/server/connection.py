"""One client's connection: what socketserver calls the request. Nothing here ever waits."""

import io
import socket
import time
from collections import deque
from socket import MSG_DONTWAIT, MSG_MORE

from fingerd.ruip.ruip import Answer
from fingerd.server.active_config import Service

DRAIN_BYTES = 1 << 20  # read and thrown away at the most, after the line or instead of one
READ_BYTES = 1 << 16

# As plain numbers: joining two flags of an enumeration for each answer takes longer than all of this module.
_RECEIVE = int(MSG_DONTWAIT)
_SEND = int(MSG_DONTWAIT | MSG_MORE)
_SEND_NOW = int(MSG_DONTWAIT)


class Connection:
    """A client who is asking, being answered, or listening.

    It moves one way: it asks, it is answered, it leaves, it is closed. Times
    are ``time.monotonic()`` seconds.
    """

    __slots__ = (
        "address",  # the client and its port, 0 for a unix socket
        "answer",  # where it could be given at once
        "asked",  # when the line was whole
        "client",  # who it is: an address, or "unix"
        "counted",  # the name under which it is counted, "" if it is not
        "curt",  # to be closed without half-closing and draining: there is no answer to lose
        "deadline",  # for what it is doing now
        "descriptor",
        "drain_left",  # bytes
        "handed_over",  # to the crew
        "leaving",  # answered; only the porch may touch it now
        "outcome",  # the log's word for how it went, "" before that is known
        "parts",  # of an answer that is still coming, as far as the kernel did not take them; None if there were none
        "received",  # the line, as far as it is there
        "seat",  # where the porch keeps it
        "seconds",  # from the whole line to the answer
        "sent",  # bytes that the kernel took
        "service",  # the configuration by which it is answered, once it asked
        "socket",
        "unsent",  # bytes that the kernel did not take yet
        "watched",  # known to the porch's epoll
    )

    def __init__(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.socket = sock
        self.descriptor = sock.fileno()
        self.address = address
        self.client = address[0]
        self.counted = ""
        self.asked = self.deadline = time.monotonic()
        self.received = b""
        self.unsent: bytes | memoryview = b""
        self.outcome = ""
        self.parts: deque[bytes] | None = None
        self.service: Service | None = None
        self.answer: Answer | None = None
        self.seat: dict[int, Connection] | None = None
        self.sent = 0
        self.seconds = 0.0
        self.drain_left = DRAIN_BYTES
        self.curt = self.handed_over = self.leaving = self.watched = False

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.descriptor

    def hear(self, most: int) -> bool:
        """Read what is there; true when there is no more to wait for: a line, ``most`` bytes, the end, or a reset."""
        try:
            heard = self.socket.recv(max(most - len(self.received), 1), _RECEIVE)
        except BlockingIOError:
            return False
        except OSError:
            self.outcome = "hung-up"
            return True
        self.received = self.received + heard if self.received else heard
        return not heard or b"\n" in heard or len(self.received) >= most

    def line(self) -> bytes:
        """The line that was asked, with its line end; bytes after it are nobody's."""
        end = self.received.find(b"\n") + 1
        return self.received[:end] if end else self.received

    def makefile(self, mode: str = "rb", buffering: int = -1) -> io.BytesIO:
        """The line, to be read as a file; what ``StreamRequestHandler`` makes its ``rfile`` of."""
        return io.BytesIO(self.line())

    def write(self, data: bytes) -> None:
        """Put the data behind what is to be sent, which the porch sends; too late once the client leaves."""
        if not self.leaving:
            self.unsent = bytes(self.unsent) + data if self.unsent else data

    sendall = write

    def send(self) -> None:
        """Give the kernel as much of the reply as it takes; the last of it goes out with the FIN that follows."""
        try:
            sent = self.socket.send(self.unsent, _SEND)
        except BlockingIOError:
            return
        except OSError:
            self.outcome, self.unsent, self.curt = "hung-up", b"", True
            return
        self.sent += sent
        self.unsent = memoryview(self.unsent)[sent:] if sent < len(self.unsent) else b""

    def add_part(self, part: bytes) -> None:
        """From the crew: have this sent before the rest of the answer."""
        if self.parts is None:
            self.parts = deque()
        self.parts.append(part)

    def send_parts(self) -> None:
        """Give the kernel what is there of an answer that is still coming, as much as it takes."""
        while self.parts and not (self.leaving or self.curt):
            part = self.parts[0]
            try:
                sent = self.socket.send(part, _SEND_NOW)
            except BlockingIOError:
                return
            except OSError:
                self.outcome, self.curt = "hung-up", True
                return
            self.sent += sent
            if sent < len(part):
                self.parts[0] = part[sent:]
            else:
                self.parts.popleft()

    def gather(self) -> None:
        """Put what is left of the parts before the rest of the answer, which is there now."""
        left = []
        while self.parts:
            left.append(self.parts.popleft())
        self.unsent = b"".join((*left, self.unsent))

    def discard(self) -> bool:
        """Throw away what comes in; false when no more will come, or too much came."""
        try:
            heard = len(self.socket.recv(READ_BYTES, _RECEIVE))
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.drain_left -= heard
        return heard > 0 and self.drain_left > 0
