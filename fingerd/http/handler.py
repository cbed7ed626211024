"""The handler of HTTP: answers one request in the steps of ``socketserver``."""

import socketserver
import time
from typing import Any

from fingerd.bugs import report_bug
from fingerd.http.response import reply_to
from fingerd.http.site import Asked, Refused
from fingerd.ruip.ruip import Answer
from fingerd.server.connection import Connection


class HttpHandler(socketserver.BaseRequestHandler):
    """Answers one request, which is there already: nothing waits for the client."""

    request: Connection
    server: Any  # a FingerServer

    def handle(self) -> None:
        """Give the client its answer."""
        request, asked = self.request, self.request.asked
        if request.answer is None:
            request.answer = self._answer(asked)
        self.server.complete(request, reply_to(asked.request if asked else None, request.answer))

    def _answer(self, asked: Asked | Refused) -> Answer:
        context = self.server.context_of(self.request)
        try:
            answer = asked.answer(context)
            if answer.outcome == "error" and time.monotonic() >= context.deadline:  # it failed for want of time
                return asked.site.failure("busy", asked.form)
            return answer
        except BaseException as error:
            report_bug(error, f"while answering {self.request.line!r:.200}")
            return asked.site.failure("error", asked.form)
