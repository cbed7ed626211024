"""The addresses that there are, and the methods of each."""

from dataclasses import dataclass
from http import HTTPStatus
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
    try:
        return found, check_name(unquote_to_bytes(name).decode())
    except (UsageError, UnicodeDecodeError):
        raise HttpError(HTTPStatus.NOT_FOUND, "This cannot be the name of a person", "unknown") from None


def is_for_programs(path: str) -> bool:
    """Whether an answer at this path is text, and no page."""
    found, _ = _route_of(path)
    return found is not None and found.kind == "plan"


def edit_path(name: str) -> str:
    """The path of the form for a person."""
    return f"/~{quote(name, safe='')}/edit"


def _route_of(path: str) -> tuple[Route | None, str]:
    """The route of a path that is not decoded, and the name in it, which is not either."""
    if path == _STYLE.path:
        return _STYLE, ""
    if path.startswith(("/%7E", "/%7e")):  # another spelling of the same address (RFC 3986 6.2.2.2)
        path = f"/~{path[4:]}"
    name, slash, rest = path.removeprefix("/~").partition("/")
    return (_OF_PERSON.get(slash + rest) if path.startswith("/~") else None), name
