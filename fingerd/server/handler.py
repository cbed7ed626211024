"""The handler: answers one request in the steps of ``socketserver.StreamRequestHandler``."""

import io
import socketserver
import time
from typing import Any

from fingerd.bugs import report_bug
from fingerd.errors import QueryError
from fingerd.protocol.reply import INTERNAL_ERROR, SERVICE_BUSY
from fingerd.ruip.ruip import Answer
from fingerd.server.connection import Connection


class FingerHandler(socketserver.StreamRequestHandler):
    """Answers one request, which is there already: reading and writing never wait."""

    request: Connection
    server: Any  # a FingerServer, whose module imports this one

    def setup(self) -> None:
        """Let ``rfile`` read the request; ``wfile`` is the connection, which buffers what is written."""
        self.rfile = io.BytesIO(self.request.line)
        self.wfile: Any = self.request

    def handle(self) -> None:
        """Read the line and answer it."""
        self.server.complete(self.request, self.answer(self.rfile.readline()))

    # Nothing to flush, and nothing to close.
    finish = socketserver.BaseRequestHandler.finish

    def answer(self, line: bytes) -> Answer:
        """The answer to the line, and the log's word for it; after an internal error it says nothing of the cause."""
        request = self.request
        if request.answer is not None:
            return request.answer
        context = self.server.context_of(request)
        ruip, query, rule = request.config.ruip, request.query, request.rule
        try:
            if query is None or rule is None or line != request.line:  # not a query, or not the one that was parsed
                answer = ruip.answer_line(line, context, rule)
            elif isinstance(query, QueryError):
                answer = ruip.reject(query, context)
            else:
                answer = ruip.answer_query(query, rule, context)
            if answer.outcome == "error" and time.monotonic() >= context.deadline:  # it failed for want of time
                answer = ruip.text_answer("busy", SERVICE_BUSY, context)
        except BaseException as error:
            report_bug(error, f"while answering {line!r:.200}")
            answer = ruip.text_answer("error", INTERNAL_ERROR, context)
        request.answer = answer
        return answer
