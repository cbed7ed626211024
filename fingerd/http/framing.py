"""The framing of HTTP: a request is its head, up to the empty line. A body is not read."""

import re

from fingerd.server.limits import Limits

MAX_HEAD_BYTES = 8192

_EMPTY_LINE = re.compile(rb"\n\r?\n")  # RFC 9112 2.2 lets a server take a single LF for a line end; h11 does
_METHOD_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")
_REQUEST_LINE = re.compile(rb"[^\n]* HTTP/[0-9]\.[0-9]\r?\n")


class HeadFraming:
    """A request is complete with the empty line after its head, or as soon as it cannot become one of HTTP/1."""

    @staticmethod
    def find_end(received: bytes) -> int:
        """The place of the last byte of the head, or -1."""
        match = _EMPTY_LINE.search(received)
        return match.end() - 1 if match else -1

    @staticmethod
    def find_other_end(received: bytes) -> int:
        """The end of what is no request: TLS, another protocol, or HTTP/0.9, whose client would wait for ever."""
        is_wrong = not _METHOD_START.match(received) or (b"\n" in received and not _REQUEST_LINE.match(received))
        return len(received) - 1 if received and is_wrong else -1

    def max_bytes(self, limits: Limits) -> int:
        """One more than a head may have, so that a longer one is known."""
        return MAX_HEAD_BYTES + 1
