"""The addresses that there are, and the methods of each."""

import re
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from fingerd.http.request import HttpError, Request, malformed
from fingerd.plans.errors import UsageError
from fingerd.plans.places import check_name

Kind = Literal["plan", "edit", "style"]


@dataclass(frozen=True, slots=True)
class Route:
    """One address; NAME in ``path`` stands for the name of a person."""

    path: str
    kind: Kind
    methods: tuple[str, ...]


ROUTES = (
    Route("/~NAME/plan", "plan", ("PUT", "DELETE")),
    Route("/~NAME/edit", "edit", ("GET", "HEAD", "POST")),
    Route("/style.css", "style", ("GET", "HEAD")),
)
_STYLE = ROUTES[2]
_REQUEST_LINE = re.compile(rb"([^ \r\n]+) (?:https?://[^/?#\s]*)?(/[^?#\s]*)", re.IGNORECASE)
_METHODS = {method.value.encode() for method in HTTPMethod}
_UNKNOWN = b"-"  # in the log, for what may be anything
# A token as a name, or the secret part of one: 32 bytes in base64url are 43 characters.
_LIKE_TOKEN = re.compile(rb"fgd_|[a-z0-9_-]{40}", re.IGNORECASE)
_OF_PERSON = {route.path.partition("NAME")[2]: route for route in ROUTES if "NAME" in route.path}


def find_route(request: Request) -> tuple[Route, str]:
    """The route of a request, and the name in it, in NFC. HttpError: 400, 404 or 405."""
    found, name = _route_of(request.path)
    if request.has_body and request.method not in ("PUT", "POST"):
        raise malformed("This request must have no body")
    if request.is_malformed:
        raise malformed("Malformed request")
    if found is None:
        raise HttpError(HTTPStatus.NOT_FOUND, "No such page", "unknown")
    if request.method not in found.methods:
        allowed = ("Allow", ", ".join(found.methods))
        raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, f"Only {allowed[1]} are answered here", "refused", allowed)
    if found is _STYLE:
        return found, ""
    if not (person := _person_of(name)):
        raise HttpError(HTTPStatus.NOT_FOUND, "This cannot be the name of a person", "unknown")
    return found, person


def logged(received: bytes) -> bytes:
    """What the log shows of a request that begins with these bytes: the method, and the address in its one spelling.

    Nothing else that a client has sent is there, since any of it may be a token: not another word than a known method,
    no address that there is not, no query string. A name that may be a token is ``[token]``.
    """
    match = _REQUEST_LINE.match(received)
    if match is None:
        return received and _UNKNOWN
    method = match[1] if match[1] in _METHODS else _UNKNOWN
    return b"%b %b" % (method, _logged_path(match[2].decode("latin-1")))


def is_for_programs(received: bytes) -> bool:
    """Whether the answer to a request that begins with these bytes is text, and no page."""
    match = _REQUEST_LINE.match(received)
    found = _route_of(match[2].decode("latin-1"))[0] if match else None
    return found is not None and found.kind == "plan"


def sent_form(line: bytes) -> str:
    """The path of the form that was sent by a request which is logged so; empty if it was none."""
    method, _, path = line.decode("ascii").partition(" ")
    return path if method == "POST" and path.endswith("/edit") and "[" not in path else ""


def unquoted(text: bytes, max_times: int) -> bytes:
    """The text without percent-encoding, also where that is encoded itself, ``max_times`` at most."""
    for _ in range(max_times):
        before, text = text, unquote_to_bytes(text)
        if text == before:
            break
    return text


def edit_path(name: str) -> str:
    """The path of the form for a person."""
    return f"/~{quote(name, safe='')}/edit"


def _logged_path(path: str) -> bytes:
    found, name = _route_of(path)
    if found is None or found is _STYLE:
        return found.path.encode() if found else _UNKNOWN
    if not (person := _person_of(name)):
        return _UNKNOWN
    # Each turn makes the name shorter, so all of its encodings are taken away.
    is_token = _LIKE_TOKEN.search(unquoted(person.encode(), len(person)))
    return found.path.replace("NAME", "[token]" if is_token else quote(person, safe="")).encode()


def _person_of(name: str) -> str:
    """The name in NFC that is percent-encoded in an address; empty if it cannot be that of a person.

    Nobody has a token for a name that is not printable, and texts to the client have the name in them.
    """
    try:
        person = check_name(unquote_to_bytes(name).decode())
    except (UsageError, UnicodeDecodeError):
        return ""
    return person if person.isprintable() else ""


def _route_of(path: str) -> tuple[Route | None, str]:
    """The route of a path that is not decoded, and the name in it, which is not either."""
    if path == _STYLE.path:
        return _STYLE, ""
    if path.startswith(("/%7E", "/%7e")):  # another spelling of the same address (RFC 3986 6.2.2.2)
        path = f"/~{path[4:]}"
    name, slash, rest = path.removeprefix("/~").partition("/")
    return (_OF_PERSON.get(slash + rest) if path.startswith("/~") else None), name
