"""Parses the head of a request, by h11; raises :class:`HttpError` for a head that is refused."""

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import parse_qsl

import h11

from fingerd.http.framing import MAX_HEAD_BYTES
from fingerd.text import decode_line

SHORT_HEAD_BYTES = 1024  # of a head that is remembered when it was parsed; that of a browser has some 700
SHORT_HEADS_MAX = 128  # heads, some 2 KB each, and at most 25
METHODS = ("GET", "HEAD")
MALFORMED = "Malformed request"
MAX_FIELDS = 100  # of a header, and of a query string; each takes h11 4 µs on the loop's thread
MAX_ACCEPT_CHARACTERS = 1000  # a longer one is ignored: to compare its ranges takes milliseconds
_ABSOLUTE = re.compile(rb"https?://[^/?#]*(?=[/?]|\Z)", re.IGNORECASE)  # RFC 9112 3.2.2: a server must accept it
_ORIGIN_FORM = re.compile(rb"/(?:[!$&-~]|%[0-9A-Fa-f]{2})*")  # as it is sent: RFC 3986 2.1, and no fragment
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")  # RFC 3986 3.2.2, 3.2.3
_FOLDED = re.compile(rb"\n[ \t]")  # RFC 9112 5.2
_VERSION = re.compile(rb" HTTP/[0-9.]+\Z")


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
    """What a client asks. The path is still percent-encoded: ``%2F`` in a name does not separate segments."""

    method: str
    has_body: bool
    is_malformed: bool  # the target: the path is empty then, or the fields are
    path: str
    fields: tuple[tuple[str, str], ...]  # of the query string, decoded
    accept: str
    if_none_match: str
    forwarded_for: tuple[str, ...]  # the X-Forwarded-For fields, in their order


def malformed(text: str) -> HttpError:
    """The error for a request that is none."""
    return HttpError(HTTPStatus.BAD_REQUEST, text, "malformed")


def parse_request(head: bytes) -> Request:
    """The request of a whole head. Raises HttpError: 400, 414, 431 or 505.

    What a proxy passes on, so that the client can be named, is left to ``check_request``.
    """
    event = parse_head(head)
    return request_of(event, fields_of(event))


def fields_of(event: h11.Request) -> dict[bytes, list[bytes]]:
    """The fields of a header: the values of each, by lower-case names."""
    fields: dict[bytes, list[bytes]] = {}
    for name, value in event.headers.raw_items():  # to iterate over h11's headers takes longer
        fields.setdefault(name.lower(), []).append(value)
    return fields


def request_of(event: h11.Request, fields: dict[bytes, list[bytes]]) -> Request:
    """The request of a head with these fields. HttpError (400) for a Host that is none."""
    if not all(map(_HOST.fullmatch, fields.get(b"host", ()))):  # RFC 9112 3.2; h11 refuses none and several
        raise malformed(MALFORMED)
    # h11 takes Content-Length beside Transfer-Encoding, which is how requests are smuggled past a proxy.
    has_body = b"transfer-encoding" in fields or any(length.strip(b"0") for length in fields.get(b"content-length", ()))
    path, query = _split_target(event.target)
    parameters = _parsed_query(query)
    accept, if_none_match = (
        b",".join(fields.get(name, ())).decode("latin-1") for name in (b"accept", b"if-none-match")
    )
    return Request(
        event.method.decode("ascii"),
        has_body,
        not path or parameters is None,
        path,
        parameters or (),
        accept if len(accept) <= MAX_ACCEPT_CHARACTERS else "",
        if_none_match,
        tuple(value.decode("latin-1") for value in fields.get(b"x-forwarded-for", ())),
    )


def _split_target(target: bytes) -> tuple[str, str]:
    """The path and the query string of a target in origin or absolute form; both are empty if it is neither."""
    if not target.startswith(b"/"):
        target, is_absolute = _ABSOLUTE.subn(b"", target, count=1)
        if is_absolute and not target.startswith(b"/"):
            target = b"/" + target
    if not _ORIGIN_FORM.fullmatch(target):
        return "", ""
    path, _, query = target.decode("ascii").partition("?")
    return path, query


def _parsed_query(query: str) -> tuple[tuple[str, str], ...] | None:
    """The fields of a query string, UTF-8 or windows-1252; None for too many, and for bytes that are no text."""
    try:
        fields = parse_qsl(query, keep_blank_values=True, encoding="latin-1", max_num_fields=MAX_FIELDS)
        return tuple((_decoded(field), _decoded(value)) for field, value in fields)
    except ValueError:
        return None


def _decoded(text: str) -> str:
    return decode_line(text.encode("latin-1"))[0]


_parse_short_request = lru_cache(SHORT_HEADS_MAX)(parse_request)


def read_request(head: bytes) -> Request:
    """The request of a whole head, as ``parse_request`` has it. Most programs send the same short heads all the time.

    Raises what ``parse_request`` raises.
    """
    return _parse_short_request(head) if len(head) <= SHORT_HEAD_BYTES else parse_request(head)


def check_request(request: Request) -> None:
    """Raise HttpError for a body or a malformed target (400), or another method than GET and HEAD (405)."""
    if request.has_body:
        raise malformed("A request must have no body")
    if request.method not in METHODS:
        status = HTTPStatus.METHOD_NOT_ALLOWED
        raise HttpError(status, "Only GET and HEAD are answered", "refused", ("Allow", ", ".join(METHODS)))
    if request.is_malformed:
        raise malformed(MALFORMED)


def parse_head(head: bytes) -> h11.Request:
    """What h11 reads of a whole head. HttpError as in ``parse_request``."""
    if len(head) > MAX_HEAD_BYTES:
        if b"\n" not in head:
            raise HttpError(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long", "too-long")
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise HttpError(status, f"The header is longer than {MAX_HEAD_BYTES} bytes", "too-long")
    lines = head.count(b"\n")
    if lines > MAX_FIELDS + 2:  # the request line, and the empty one
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise HttpError(status, f"The header has more than {MAX_FIELDS} fields", "too-long")
    # A proxy may take other line ends for line ends than we do, and so pass on a field of its client's as its own.
    if head.count(b"\r\n") not in (0, lines) or _FOLDED.search(head):
        raise malformed(MALFORMED)
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        parser.receive_data(head)
        event = parser.next_event()
    except (h11.RemoteProtocolError, ValueError) as error:  # h11 0.14 makes a number of a length of any length
        raise malformed(MALFORMED) from error
    if not isinstance(event, h11.Request):  # the client has closed before its head was complete
        raise malformed(MALFORMED)
    if not event.http_version.startswith(b"1."):
        raise HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1 is answered", "malformed")
    return event


def logged(head: bytes) -> bytes:
    """The method and the target of a request's first line, or the whole line if it has no version."""
    line = head.partition(b"\n")[0].rstrip(b"\r")
    return _VERSION.sub(b"", line)
