"""Responses as bytes. They are made as for GET, and can be given again: HEAD, 304 and Date are settled at the end."""

import hashlib
import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from fingerd.http.request import Request
from fingerd.ruip.ruip import Answer

SECURITY_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
RETRY_SECONDS = {HTTPStatus.TOO_MANY_REQUESTS: 60, HTTPStatus.SERVICE_UNAVAILABLE: 10}
CORS = ("Access-Control-Allow-Origin", "*")  # RFC 7033 5
HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"

Header = tuple[str, str]
_COMMON = (
    ("Cache-Control", "private, no-cache"),
    ("Content-Security-Policy", SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Vary", "Accept"),
    ("Connection", "close"),
)
_NOT_INDEXED = ("X-Robots-Tag", "noindex, nofollow, noarchive")


class Details(NamedTuple):
    """What is kept of a response beside its bytes: ``unchanged`` is the one to a client that has it already."""

    etag: str
    head_bytes: int
    unchanged: bytes


def respond(
    status: HTTPStatus,
    outcome: str,
    content_type: str,
    body: bytes,
    *headers: Header,
    is_indexed: bool = False,
    etag: str | None = None,
) -> Answer:
    """A whole response, as an answer that may be remembered.

    ``headers`` come beside those that every one has, or in place of one of the same name. ``etag`` is the tag if it is
    not that of the body; empty for none.
    """
    given = {name for name, _ in headers}
    common = [header for header in (*_COMMON, *(() if is_indexed else (_NOT_INDEXED,))) if header[0] not in given]
    if status in RETRY_SECONDS:
        headers = (*headers, ("Retry-After", str(RETRY_SECONDS[status])))
    if etag is None:
        digest = hashlib.sha256(b"\0".join((content_type.encode(), body))).hexdigest()
        etag = f'"{digest[:32]}"' if body else ""
    if etag:
        headers = (*headers, ("ETag", etag))
    typed: tuple[Header, ...] = (("Content-Type", content_type), ("Content-Length", str(len(body))))
    if status == HTTPStatus.NO_CONTENT:
        typed = ()  # RFC 9110 8.6
    head = _head(status, (*(typed if body else typed[1:]), *common, *headers))
    unchanged = _head(HTTPStatus.NOT_MODIFIED, (*common, *headers)) if etag and status == HTTPStatus.OK else b""
    return Answer(outcome, head + body, status.value, Details(etag, len(head), unchanged))


def _head(status: HTTPStatus, headers: Iterable[Header]) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("ascii")


def reply_to(request: Request | None, answer: Answer) -> Answer:
    """What a client is sent for a request, of which None was malformed."""
    outcome, reply, status, details = answer
    if not isinstance(details, Details):  # the client is closed without a word
        return answer
    if request is not None:
        if request.if_none_match and details.unchanged and _matches(request.if_none_match, details.etag):
            status, reply = HTTPStatus.NOT_MODIFIED.value, details.unchanged
        elif request.method == "HEAD":
            reply = reply[: details.head_bytes]
    first, end, rest = reply.partition(b"\r\n")
    return Answer(outcome, b"".join((first, end, _date(int(time.time())), rest)), status)


@lru_cache(1)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode("ascii")


def _matches(if_none_match: str, etag: str) -> bool:
    """Whether a condition names the tag, compared weakly (RFC 9110 13.1.2)."""
    return if_none_match.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
