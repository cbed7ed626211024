"""A request's head to a :class:`Request`, by h11. What is no request of ours raises :class:`HttpError`."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

import h11

from fingerd.http.framing import MAX_HEAD_BYTES

METHODS = ("GET", "HEAD")
_ABSOLUTE = re.compile(rb"https?://[^/?#]*(?=[/?]|\Z)", re.IGNORECASE)  # RFC 9112 3.2.2: a server must accept it
_ORIGIN_FORM = re.compile(rb"/[!-~]*")
MAX_FIELDS = 100  # of a query string


class HttpError(Exception):
    """A request that gets no page: the status, the words, the log's word for the outcome, and further header fields."""

    def __init__(self, status: HTTPStatus, text: str, outcome: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.outcome = outcome
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks: the path is not decoded, for a slash in a name is none of the path."""

    method: str
    has_body: bool
    path: str
    fields: tuple[tuple[str, str], ...]  # of the query string, decoded
    accept: str
    if_none_match: str
    forwarded_for: tuple[str, ...]  # the X-Forwarded-For fields, in their order


def malformed(text: str) -> HttpError:
    """The error for a request that is none."""
    return HttpError(HTTPStatus.BAD_REQUEST, text, "malformed")


def parse_request(head: bytes) -> Request:
    """The request of a whole head. Raises HttpError: 400, 414 or 431."""
    event = _parse(head)
    fields: dict[bytes, list[bytes]] = {}
    for name, value in event.headers:
        fields.setdefault(name, []).append(value)
    # h11 takes Content-Length beside Transfer-Encoding, which is how requests are smuggled past a proxy.
    has_body = b"transfer-encoding" in fields or any(int(length) for length in fields.get(b"content-length", ()))
    target = _ABSOLUTE.sub(b"", event.target, count=1) if not event.target.startswith(b"/") else event.target
    if event.target != target and not target.startswith(b"/"):
        target = b"/" + target
    if not _ORIGIN_FORM.fullmatch(target):
        raise malformed("Malformed request")
    path, _, query = target.decode("ascii").partition("#")[0].partition("?")
    try:
        parsed = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise malformed("Malformed request") from None
    text = {name: b",".join(fields.get(name, ())).decode("latin-1") for name in (b"accept", b"if-none-match")}
    forwarded = tuple(value.decode("latin-1") for value in fields.get(b"x-forwarded-for", ()))
    method = event.method.decode("ascii")
    return Request(method, has_body, path, tuple(parsed), text[b"accept"], text[b"if-none-match"], forwarded)


def check_request(request: Request) -> None:
    """Raise HttpError for a request with a body (400), or with another method than GET and HEAD (405)."""
    if request.has_body:
        raise malformed("A request must have no body")
    if request.method not in METHODS:
        status = HTTPStatus.METHOD_NOT_ALLOWED
        raise HttpError(status, "Only GET and HEAD are answered", "refused", ("Allow", ", ".join(METHODS)))


def _parse(head: bytes) -> h11.Request:
    if len(head) > MAX_HEAD_BYTES:
        if b"\n" not in head:
            raise HttpError(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long", "too-long")
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise HttpError(status, f"The header is longer than {MAX_HEAD_BYTES} bytes", "too-long")
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        parser.receive_data(head)
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise malformed("Malformed request") from error
    if not isinstance(event, h11.Request):  # the client has closed before its head was complete
        raise malformed("Malformed request")
    return event


def logged(head: bytes) -> bytes:
    """The method and the target of a request's first line, or the whole line if it has no version."""
    line = head.partition(b"\n")[0].rstrip(b"\r")
    return re.sub(rb" HTTP/[0-9.]+\Z", b"", line)
