"""People as pages show them: what is laid out, in which order, and under which labels."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from markupsafe import Markup, escape

from fingerd.http.masking import linked, masked_line, masked_start
from fingerd.http.people_json import rfc3339
from fingerd.http.routes import person_path
from fingerd.people import Person, Session
from fingerd.people.links import Link, parse_links
from fingerd.ruip.report import NO_PLAN_TEXT, login_texts, mail_text
from fingerd.ruip.times import date_text, idle_words, when_column

_ROW_CHARACTERS = 100  # that a row has at least, in a list that is cut


@dataclass(frozen=True, slots=True)
class Field:
    """A label and its lines, with the class that microformats have for them."""

    label: str
    lines: Sequence[str]
    css_class: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of several lines; without a heading it is the whole answer. ``changed`` is in ``time.time()`` seconds."""

    heading: str
    html: Markup
    css_class: str = ""
    changed: str = ""
    changed_rfc3339: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One person, as a page shows it."""

    heading: str
    path: str  # of the person's own page; empty if the login is hidden
    fields: Sequence[Field] = ()
    links: Sequence[Link] = ()
    texts: Sequence[Text] = ()


_FIELDS = (
    ("login", "Login", "p-nickname"),
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
    ("pgpkey", "PGP key", ""),
    ("pubkey", "Public key", ""),
)


def heading_of(person: Person, max_characters: int) -> str:
    """Who somebody is, in one line; empty if neither name nor login are shown."""
    return masked_line(person.name or person.login)[:max_characters]


def record_of(person: Person, max_characters: int) -> Record:
    """What a page shows of a person, each of the texts cut to ``max_characters``."""
    heading = heading_of(person, max_characters)
    path = person_path(person.login) if person.login else ""
    if person.text is not None:
        return Record(heading, path, texts=[Text("", linked(masked_start(person.text, max_characters)))])
    links = parse_links(_whole_lines(person.links, max_characters))
    return Record(heading, path, list(_fields(person, max_characters)), links, list(_texts(person, max_characters)))


def _fields(person: Person, max_characters: int) -> Iterator[Field]:
    now = time.time()
    for atom, label, css_class in _FIELDS:
        value: str = getattr(person, atom)
        if value and (line := masked_line(value)[:max_characters]):
            yield Field(label, [line], css_class)
    if logins := "\n".join(map(masked_line, login_texts(person, now))):
        yield Field("Logins", _whole_lines(logins, max_characters).splitlines())
    if person.mail:
        yield Field("Mail", [mail_text(person.mail, now)])


def _texts(person: Person, max_characters: int) -> Iterator[Text]:
    for atom, label, css_class in _TEXTS:
        text = masked_start(getattr(person, atom) or "", max_characters).strip("\n").rstrip()
        when = person.plan_changed if atom == "plan" else None
        if text and when is not None:
            yield Text(label, linked(text), css_class, date_text(when, time.time()), rfc3339(when))
        elif text:
            yield Text(label, linked(text), css_class)
        elif atom == "plan" and person.plan is not None:
            yield Text(label, escape(NO_PLAN_TEXT))


def _whole_lines(text: str, max_characters: int) -> str:
    """The lines of a text that are complete within ``max_characters``."""
    return text if len(text) <= max_characters else text[:max_characters].rpartition("\n")[0]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the list."""

    name: str
    login: str
    path: str  # of the person's own page; empty if the login is hidden
    where: str
    since: str
    idle: str
    office: str


def item_of(person: Person, max_characters: int) -> list[Row] | Markup:
    """What the list shows of a person: one row for each session; or a text that is a list by itself.

    Of what is longer than ``max_characters`` only the beginning.
    """
    if person.text is not None and not person.login:
        return linked(masked_start(person.text, max_characters))
    login, name = masked_line(person.login), masked_line(person.name or person.login)[:max_characters]
    path = person_path(person.login) if person.login else ""
    office = ", ".join(filter(None, map(masked_line, (person.office, person.office_phone, person.job))))
    sessions = islice(person.sessions or (None,), max(max_characters // _ROW_CHARACTERS, 1))
    now = time.time()
    return [Row(name, login, path, *_session(session, now), office[:max_characters]) for session in sessions]


def _session(session: Session | None, now: float) -> tuple[str, str, str]:
    """Where somebody is logged in, since when, and the idle time."""
    if session is None:
        return "", "", ""
    return (
        " from ".join(filter(None, map(masked_line, (session.terminal, session.host)))),
        "" if session.since is None else when_column(session.since, now),
        "" if session.idle is None else idle_words(session.idle),
    )
