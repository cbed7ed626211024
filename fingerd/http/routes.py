"""The addresses that there are: one table, looked at from above."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

Kind = Literal["home", "person", "list", "webfinger", "robots", "style"]


@dataclass(frozen=True, slots=True)
class Route:
    """One address. NAME in ``path`` stands for a name; ``form`` is empty where Accept decides."""

    path: str
    kind: Kind
    form: str = ""


ROUTES = (
    Route("/", "home", "page"),
    Route("/~NAME", "person"),
    Route("/~NAME/json", "person", "json"),
    Route("/~NAME/text", "person", "text"),
    Route("/~NAME/feed", "person", "feed"),
    Route("/list/json", "list", "json"),
    Route("/list/text", "list", "text"),
    Route("/feed", "list", "feed"),
    Route("/.well-known/webfinger", "webfinger", "jrd"),
    Route("/robots.txt", "robots", "text"),
    Route("/style.css", "style", "text"),
)
_FIXED = {route.path: route for route in ROUTES if "NAME" not in route.path}
_OF_PERSON = {route.path.partition("NAME")[2]: route for route in ROUTES if "NAME" in route.path}


def find_route(path: str) -> tuple[Route, str] | None:
    """The route of a path that is not decoded, and the name in it, which is not either; None if there is none."""
    if route := _FIXED.get(path):
        return route, ""
    if path.startswith(("/%7E", "/%7e")):  # another spelling of the same address (RFC 3986 6.2.2.2)
        path = f"/~{path[4:]}"
    name, slash, rest = path.removeprefix("/~").partition("/")
    found = _OF_PERSON.get(slash + rest) if path.startswith("/~") else None
    return (found, name) if found else None


def person_path(login: str) -> str:
    """The path of a person's page."""
    return f"/~{quote(login, safe='', errors='replace')}"
