"""Pages by Jinja2. The templates are compiled when this is imported: a chroot has none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import jinja2
import jinja2.debug  # imported by jinja2 where a template fails, which fails in a chroot
from markupsafe import Markup

from fingerd.http.fitting import fitting, size_of_item, size_of_text
from fingerd.http.masking import LINK_REL
from fingerd.http.records import heading_of, item_of, record_of
from fingerd.http.routes import person_path
from fingerd.people import Person
from fingerd.ruip.report import EMPTY_LIST_TEXT

_FOLDER = files("fingerd.http") / "templates"
_SOURCES = {entry.name: entry.read_text(encoding="utf-8") for entry in _FOLDER.iterdir() if entry.is_file()}
STYLE = _SOURCES.pop("style.css")

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.DictLoader(_SOURCES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
    cache_size=-1,
    keep_trailing_newline=True,  # an included template ends its last line
)
_ENVIRONMENT.globals |= {"home": "/", "link_rel": LINK_REL, "empty_list": EMPTY_LIST_TEXT}
_TEMPLATES = {name: _ENVIRONMENT.get_template(name) for name in _SOURCES}

_TITLE_CHARACTERS = 80
_LOGIN_HINT = "A login name, spelled as its owner does: capital letters count."
_NAME_HINT = "A login name, or words of a full name."
_HINTS = {  # what somebody can do about an error
    HTTPStatus.TOO_MANY_REQUESTS: "Wait a minute, then load this page again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Wait some seconds, then load this page again.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The fault is not yours: try again later.",
}


def render(name: str, /, **values: Any) -> str:
    """A page from the template of this name."""
    return _TEMPLATES[name].render(values)


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one site. ``max_bytes`` is what people may take of one, ``searches`` whether names may be parts."""

    title: str
    name_characters: int
    max_bytes: int
    has_feeds: bool

    def _render(self, template: str, *, searches: bool = False, asked: str = "", **values: object) -> str:
        hint = _NAME_HINT if searches else _LOGIN_HINT
        field = {"asked": asked, "name_hint": hint, "name_characters": self.name_characters}
        return render(template, title=self.title, **field, **values)

    def home(self, people: Iterator[Person] | None, *, searches: bool) -> str:
        """The page with the field for a name and the list, or None for a list that is refused."""
        items, is_cut = fitting(people or iter(()), item_of, size_of_item, self.max_bytes)
        rows = [row for item in items if not isinstance(item, str) for row in item]
        return self._render(
            "home.html",
            searches=searches,
            is_listed=people is not None,
            rows=rows,
            texts=[item for item in items if isinstance(item, str)],
            is_cut=is_cut,
            has_login=any(row.login and row.login != row.name for row in rows),
            has_sessions=any(row.where or row.since or row.idle for row in rows),
            has_office=any(row.office for row in rows),
            path="/list",
            feed_path="/feed" if self.has_feeds else "",
        )

    def person(self, people: Sequence[Person], name: str, *, searches: bool) -> str:
        """The page of everyone whom a name means."""
        is_several = len(people) > 1
        path = person_path(name)

        def record(person: Person, max_characters: int) -> Markup:
            values = {"name": name, "here": path, "level": 2 if is_several else 1}
            return Markup(render("record.html", record=record_of(person, max_characters), **values))  # noqa: S704

        records, is_cut = fitting(people, record, size_of_text, self.max_bytes)
        return self._render(
            "person.html",
            searches=searches,
            name=name if is_several else heading_of(people[0], _TITLE_CHARACTERS) or name,
            is_several=is_several,
            records=records,
            is_cut=is_cut,
            path=path,
            feed_path=f"{path}/feed" if self.has_feeds and any(person.plan for person in people) else "",
        )

    def unknown(self, text: str, name: str, *, searches: bool, is_listed: bool) -> str:
        """The page for a name that nobody has, or that is hidden: both alike."""
        hint = "Only people of this host are looked up here." if "@" in name else ""
        return self._render(
            "error.html", searches=searches, asked=name, text=text, hint=hint, is_listed=is_listed, may_ask=True
        )

    def error(self, status: HTTPStatus, text: str, *, may_ask: bool) -> str:
        """The page for a request that gets no other; ``may_ask``, whether another one might."""
        return self._render("error.html", text=text, hint=_HINTS.get(status, ""), is_listed=False, may_ask=may_ask)
