"""The transport of requests with a body: what has come of one is read once, and never looked at again."""

import contextlib

from fingerd.plans.web.framing import BodyFraming, RequestReader
from fingerd.server.connection import Connection
from fingerd.server.transport import RECEIVE, Transport

READ_BYTES = 1 << 13  # in one turn of the loop; in chunks of one byte they take it some milliseconds
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyTransport(Transport):
    """The connections of a front door whose framing is BodyFraming. ``asked`` is the reader of each.

    ``received`` and ``line`` are the head alone.
    """

    _framing: BodyFraming

    def _receive(self, request: Connection) -> bool:
        """Read what is there; true when there is nothing to wait for: a whole request, the end, or a reset."""
        if request.asked is None:
            request.asked = self._framing.new_reader()
        reader: RequestReader = request.asked
        try:
            data = request.socket.recv(READ_BYTES, RECEIVE)
        except BlockingIOError:
            return False
        except OSError:
            request.outcome = "hung-up"
            return True
        is_complete = reader.feed(data)
        request.received = reader.head
        if is_complete or not data:
            request.line = reader.head
            return True
        if reader.is_awaited and not request.sent:
            with contextlib.suppress(OSError):  # where that fails, the rest does not come
                request.sent = request.socket.send(CONTINUE, RECEIVE)
        return False
