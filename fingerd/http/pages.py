"""Pages by Jinja2. The templates are compiled when this is imported: a chroot has none."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import jinja2
import jinja2.debug  # imported by jinja2 where a template fails, which fails in a chroot
from markupsafe import Markup

from fingerd.http.masking import linked, masked
from fingerd.people import Person
from fingerd.people.links import Link, parse_links
from fingerd.ruip.report import login_texts, mail_text
from fingerd.ruip.times import idle_words, local_time
from fingerd.text import one_line

_FOLDER = files("fingerd.http") / "templates"
_SOURCES = {entry.name: entry.read_text(encoding="utf-8") for entry in _FOLDER.iterdir() if entry.is_file()}
STYLE = _SOURCES.pop("style.css")


def person_path(login: str) -> str:
    """The path of a person's page."""
    return f"/~{quote(login, safe='')}"


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.DictLoader(_SOURCES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
    cache_size=-1,
)
_ENVIRONMENT.globals["person_path"] = person_path
_TEMPLATES = {name: _ENVIRONMENT.get_template(name) for name in _SOURCES}


def render(name: str, /, **values: Any) -> str:
    """A page from the template of this name."""
    return _TEMPLATES[name].render(values)


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a record, with the class that microformats have for it."""

    label: str
    text: str
    css_class: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One person, as a page shows it. ``text`` is an answer that has no fields."""

    login: str
    heading: str
    fields: Sequence[Field] = ()
    logins: Sequence[str] = ()
    links: Sequence[Link] = ()
    texts: Sequence[tuple[str, str, Markup]] = ()  # heading, class, text
    text: Markup | None = None


_FIELDS = (
    ("login", "Login", "p-nickname"),
    ("name", "Name", "p-name"),
    ("pronouns", "Pronouns", "p-pronouns"),
    ("job", "Job", "p-job-title"),
    ("office", "Office", "p-extended-address"),
    ("office_phone", "Office phone", "p-tel"),
    ("home_phone", "Home phone", "p-tel"),
    ("timezone", "Time zone", "p-tz"),
    ("directory", "Directory", ""),
    ("shell", "Shell", ""),
    ("forward", "Mail forwarded to", ""),
)
_TEXTS = (
    ("project", "Project", ""),
    ("plan", "Plan", "p-note"),
    ("pgpkey", "PGP key", "u-key"),
    ("pubkey", "Public key", ""),
)


def record_of(person: Person, profile_url: str, max_characters: int) -> Record:
    """What a page shows of a person, each text cut to ``max_characters``."""
    heading = one_line(person.name or person.login)
    if person.text is not None:
        return Record(person.login, heading, text=linked(masked(person.text)[:max_characters]))
    now = time.time()
    values = ((label, one_line(getattr(person, atom)).strip(), css) for atom, label, css in _FIELDS)
    logins = [*login_texts(person, now), *([mail_text(person.mail, now)] if person.mail else ())]
    texts = [
        (label, css, linked(masked(text.strip("\r\n").rstrip())[:max_characters]))
        for atom, label, css in _TEXTS
        if (text := getattr(person, atom))
    ]
    if person.plan == "":
        texts.append(("Plan", "", Markup("No Plan.")))
    return Record(
        person.login,
        heading,
        [Field(*value) for value in values if value[1]],
        logins,
        parse_links(person.links, profile_url),
        texts,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the list."""

    login: str
    name: str
    where: str = ""
    idle: str = ""
    since: str = ""
    office: str = ""
    text: str | None = None


def rows_of(person: Person) -> list[Row]:
    """The rows of one person: one for each session."""
    if person.text is not None and not person.login:
        return [Row("", "", text=masked(person.text))]
    login, name = one_line(person.login), one_line(person.name or person.login)
    office = ", ".join(filter(None, map(one_line, (person.office, person.office_phone, person.job))))
    return [
        Row(
            login,
            name,
            " from ".join(filter(None, (one_line(session.terminal), one_line(session.host)))) if session else "",
            idle_words(session.idle) if session and session.idle is not None else "",
            f"{local_time(session.since):%a %d %b %H:%M}" if session and session.since is not None else "",
            office,
        )
        for session in person.sessions or (None,)
    ]
