"""A request to change a plan: what ``fingerd.http`` reads of a head, and what only these requests have."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

from fingerd.http.request import METHODS, HttpError, Request, fields_of, malformed, parse_head, request_of
from fingerd.plans.web.conditions import check_condition
from fingerd.plans.web.framing import RequestReader
from fingerd.plans.web.routes import unquoted
from fingerd.plans.web.tokens import TOKEN_PREFIX
from fingerd.text import decode_line

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FORM_FIELDS = 20
MAX_ENCODINGS = 8  # of one character of an address, each around the one before, beneath which a token is looked for

_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_CONDITIONS = ("If-Match", "If-None-Match")  # of changes; of other requests they are left to fingerd.http
_ONCE = (b"authorization", b"content-encoding", b"content-range", b"content-type", b"origin")


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A whole request. The texts of fields that it does not have are empty."""

    request: Request
    body: bytes = field(repr=False)
    token: str = field(repr=False)
    content_type: str
    origin: str
    if_match: str
    user: str  # whom the field names that ``plan.remote_user`` means, whoever sent it


def parse_plan_request(reader: RequestReader, user_field: str) -> PlanRequest:
    """The request that was read. HttpError if it is none, or not complete, or too long."""
    event = parse_head(reader.head)
    fields = fields_of(event)
    request = request_of(event, fields)
    if not reader.is_complete:
        raise malformed("The request ended before it was complete")
    if reader.problem:
        raise reader.problem
    if b"transfer-encoding" in fields and event.http_version != b"1.1":  # RFC 9112 6.1
        raise malformed("HTTP/1.0 has no chunks")
    name = user_field.encode("ascii")
    if any(len(fields.get(field, ())) > 1 for field in (*_ONCE, name)):
        raise malformed("A field is there twice")
    if TOKEN_PREFIX.encode() in unquoted(event.target, MAX_ENCODINGS).lower():
        raise malformed("A token is in the address, and so in the logs of others: have it revoked")
    if b"content-encoding" in fields or b"content-range" in fields:
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A text must be whole, and not compressed", "malformed")

    def text_of(field: bytes) -> str:
        return b",".join(fields.get(field, ())).decode("latin-1").strip()

    if request.method not in METHODS:
        for condition in _CONDITIONS:
            if condition.lower().encode() in fields:
                check_condition(condition, text_of(condition.lower().encode()))
    bearer = _BEARER.fullmatch(text_of(b"authorization"))
    return PlanRequest(
        request,
        bytes(reader.body),
        bearer[1] if bearer else "",
        text_of(b"content-type").partition(";")[0].strip().lower(),
        text_of(b"origin"),
        text_of(b"if-match"),
        decode_line(text_of(name).encode("latin-1"))[0] if user_field else "",
    )


def form_fields(request: PlanRequest) -> dict[str, bytes]:
    """The fields of a form. HttpError for another type (415), and for what is no form, or has a field twice (400)."""
    if request.content_type != FORM_TYPE:
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"A form must be {FORM_TYPE}", "malformed")
    try:
        found = parse_qsl(
            request.body.decode("latin-1"), True, encoding="latin-1", max_num_fields=MAX_FORM_FIELDS, separator="&"
        )
    except ValueError:
        raise malformed("The form has too many fields") from None
    fields = {name: value.encode("latin-1") for name, value in found}
    if len(fields) < len(found):
        raise malformed("The form has a field twice")
    return fields
