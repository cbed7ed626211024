"""One client's connection as data: what ``socketserver`` calls the request."""

import enum
import io
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any

from fingerd.errors import QueryError
from fingerd.protocol.query import Query
from fingerd.ruip.policy import Rule
from fingerd.ruip.ruip import Answer
from fingerd.server.active_config import ActiveConfig
from fingerd.server.answer_memory import Key
from fingerd.server.workers import WorkerPool

DRAIN_BYTES = 1 << 20  # read and ignored at most, after the request or in place of one


class State(enum.IntEnum):
    """What a connection does. It moves down this list, and may skip states."""

    NEW = 0  # the transport does not have it yet, or moves it on
    READING = 1  # its request is not complete
    HELD = 2  # what it sends is ignored
    ANSWERING = 3  # its request is complete, the answer is not; parts of it may be sent already
    WRITING = 4  # the answer is complete, the kernel has not taken all of it
    HALF_CLOSED = 5  # our FIN is queued; looked at after a moment
    FLUSHING = 6  # the kernel has not sent all of the answer; looked at again and again
    LINGERING = 7  # the answer is sent, the client's own FIN is late; watched
    CLOSED = 8


# Python 3.11 takes longer to find an attribute of an enumeration than a name.
NEW, READING, HELD, ANSWERING, WRITING, HALF_CLOSED, FLUSHING, LINGERING, CLOSED = State


@dataclass(slots=True, eq=False)
class Connection:
    """A client and its one request. Times are ``time.monotonic()`` seconds.

    A worker's thread may read it and write the answer into it while it is
    ANSWERING; everything else belongs to the loop's thread.
    """

    socket: socket.socket
    descriptor: int
    address: tuple[str, int]  # the client's and its port; ("unix", 0) for a unix socket
    client: str  # its address in one spelling, or "unix"
    rule_key: str  # by what its rule is found: the client, or with NOT_LOCAL before it
    limit_key: str  # what the client is counted by
    site_key: str  # of the larger network that it is counted by as well, or empty
    config: ActiveConfig  # by which it is answered: the active one when its request is complete
    door: Any  # the FrontDoor that it came by
    transport: Any  # which reads its request
    state: State = NEW
    deadline: float = 0.0  # of its state
    received: bytes = b""  # as far as it is there
    line: bytes = b""  # the request, with its line end
    rule: Rule | None = None  # of the policy, that holds for the client
    query: Query | QueryError | None = None  # what the line asks, or why it is no query; None before it is parsed
    asked: Any = None  # what the request asks, as another front door than Finger's understands it
    status: int = 0  # of HTTP, for the log; 0 for none
    key: Key | None = None  # by which its answer may be remembered
    answer: Answer | None = None  # that FingerHandler worked out, or that was remembered
    received_at: float = 0.0  # when the request was complete
    elapsed: float = 0.0  # seconds from then to the answer
    outcome: str = ""  # the log's word for how it went, empty before that is known
    chunks: deque[bytes] | None = None  # parts of an answer that is still coming; None if there were none
    out_buffer: bytes | memoryview = b""  # what the kernel has not taken yet
    sent: int = 0  # bytes that the kernel has taken
    unsent: int = 0  # bytes of a large answer that the client had not taken when last looked at
    drain_left: int = DRAIN_BYTES
    is_counted: bool = False  # by its limit key
    pool: "WorkerPool[Connection] | None" = None  # that it is left to
    is_working: bool = False  # a worker answers it now, and hands it back by itself
    committed_by: int = 0  # the thread of the worker that changes something, and alone may answer; 0 for none
    is_long: bool = False  # to answer it, many people are gone through
    is_leader: bool = False  # others wait for the answer to this one
    via: str = ""  # the address of the balancer whose PROXY header has named the client; empty for none
    abortive: bool = False  # close without half-close and linger: there is no answer to lose
    watched: bool = False  # the loop has a reader for it
    closing: bool = False  # answered, so only the loop's thread may touch it

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.descriptor

    def makefile(self, mode: str = "rb", buffering: int = -1) -> io.BytesIO:
        """The request as a file to read, from which ``StreamRequestHandler`` makes its ``rfile``."""
        return io.BytesIO(self.line)

    def write(self, data: bytes) -> None:
        """Append to the output buffer; ignored once the connection is closing. TypeError if it is not bytes."""
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        if not self.closing:
            self.out_buffer = bytes(self.out_buffer) + data if self.out_buffer else data

    sendall = write

    @property
    def buffered(self) -> int:
        """How many bytes of the answer wait here for the kernel."""
        return sum(map(len, self.chunks or ())) + len(self.out_buffer)

    def drop_chunks(self) -> None:
        """Forget what is left of the chunks."""
        if self.chunks:
            self.chunks.clear()

    def join_chunks(self) -> None:
        """Put what is left of the chunks before the rest of the answer."""
        if self.chunks:
            self.out_buffer = b"".join((*self.chunks, self.out_buffer))
            self.chunks.clear()
