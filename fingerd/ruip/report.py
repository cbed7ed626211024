"""People as text: the record of {U} and the list of {C}, in the formats of RFC 1288 section 4.

A person passed in holds only the atoms that the policy allows. The short form
leaves out what is long; the long form, of ``/W``, shows everything.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import NamedTuple

from wcwidth import wcswidth

from fingerd.people import LastLogin, Mail, Person, Session
from fingerd.people.links import link_texts
from fingerd.ruip.times import date_text, idle_column, idle_words, when_column
from fingerd.text import end_colors, one_line

EMPTY_LIST_TEXT = "No one logged on."
NO_PLAN_TEXT = "No Plan."
PLAN_CUT_TEXT = "[more with /W]"

SHORT_PLAN_LINES = 50  # of a plan, in the short form
SECOND_COLUMN = 40  # where it starts in a record
LOGIN_TOLERANCE_SECONDS = 10.0  # by which two sources may differ about the time of one login

_LINE_END = re.compile("[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")  # as for str.splitlines()


def terminal_width(text: str) -> int:
    """The columns that one line of printable text takes on a terminal, in UTF-8."""
    return len(text) if text.isascii() else max(wcswidth(text), 0)


def format_people(
    people: Iterable[Person],
    now: float,
    verbose: bool,
    max_characters: int,
    width_of: Callable[[str], int] = terminal_width,
    *,
    colors: bool = False,
) -> str:
    """The records of these people (RFC 1288 4.3), separated by empty lines.

    ``width_of`` counts the columns that a text takes in the answer's charset.

    Stops after the record with which the text exceeds ``max_characters``, and
    does not lay out what is beyond them in that record. With ``colors``, each
    plan, project and text that is colored ends in a reset.
    """
    end = end_colors if colors else str
    texts: list[str] = []
    for person in people:
        text = person.text
        record = _record(person, now, verbose, max_characters, width_of, end=end) if text is None else end(text)
        texts.append(record)
        max_characters -= len(texts[-1])
        if max_characters < 0:
            break
    return texts[0] if len(texts) == 1 else join_blocks(texts)


def join_blocks(texts: Iterable[str]) -> str:
    """The texts, each with a line end, separated by empty lines."""
    return "\n".join(text if text.endswith("\n") else f"{text}\n" for text in texts)


def _record(
    person: Person,
    now: float,
    verbose: bool,
    max_characters: int,
    width_of: Callable[[str], int],
    *,
    end: Callable[[str], str],
) -> str:
    """The record of one person (RFC 1288 4.2), in which each long text is cut to ``max_characters``."""
    office = ", ".join(filter(str.strip, map(one_line, (person.office, person.office_phone))))
    cells = [
        ("Login name", person.login, "In real life", person.name),
        ("Office", office, "Home phone", person.home_phone),
        ("Job", person.job, "", ""),
        ("Pronouns", person.pronouns, "Timezone", person.timezone),
    ]
    if verbose:
        cells.insert(2, ("Directory", person.directory, "Shell", person.shell))
    lines = [line for cell in cells if (line := _pair(*cell, width_of))]
    lines += login_texts(person, now)
    if verbose and person.forward.strip():
        lines.append(f"Mail forwarded to {one_line(person.forward.strip())}")
    if verbose and person.mail:
        lines.append(mail_text(person.mail, now))
    lines += _texts(person, verbose, max_characters, end)
    return "\n".join(lines)


def _pair(left: str, left_value: str, right: str, right_value: str, width_of: Callable[[str], int]) -> str:
    """One line with two columns; an empty value is left out, with its label."""
    values = (left, one_line(left_value)), (right, one_line(right_value))
    cells = [f"{label}: {value}" for label, value in values if value.strip()]
    if len(cells) > 1:
        return " ".join([_padded(cells[0], SECOND_COLUMN - 1, width_of), *cells[1:]])
    return "".join(cells)


def login_texts(person: Person, now: float) -> Iterator[str]:
    """A line for each session, or for the last login."""
    for session in person.sessions or ():
        yield session_text(session, now)
    if person.last_login and (not person.sessions or _is_separate(person.last_login, person.sessions)):
        yield last_login_text(person.last_login, now)
    elif person.sessions == ():
        yield "Not logged in."


def _is_separate(login: LastLogin, sessions: Sequence[Session]) -> bool:
    """Whether the last login is not one of the open sessions, but a later one that has ended.

    For one login, two sources may have different names of the terminal and
    times that differ by seconds, because different programs recorded them.
    """
    started = [session.since for session in sessions if session.since is not None]
    if login.when is None or not started or login.terminal in [session.terminal for session in sessions]:
        return False
    return min(started) < login.when and all(abs(since - login.when) > LOGIN_TOLERANCE_SECONDS for since in started)


def session_text(session: Session, now: float) -> str:
    """One session in words."""
    since = "Logged in" if session.since is None else f"On since {date_text(session.since, now)}"
    idle = "" if session.idle is None else idle_words(session.idle)
    messages = "" if session.messages else " (messages off)"
    return f"{since}{_origin(session.terminal, session.host)}{idle and ', idle '}{idle}{messages}"


def last_login_text(login: LastLogin, now: float) -> str:
    """The last login in words."""
    if login.when is None:
        return "Never logged in."
    return f"Last login {date_text(login.when, now)}{_origin(login.terminal, login.host)}"


def _origin(terminal: str, host: str) -> str:
    return (f" on {one_line(terminal)}" if terminal else "") + (f" from {one_line(host)}" if host else "")


def mail_text(mail: Mail, now: float) -> str:
    """The state of a mailbox in words."""
    if mail.received is None:
        return "No unread mail"
    if mail.read is not None and mail.read >= mail.received:
        return f"Mail last read {date_text(mail.read, now)}"
    unread = "" if mail.read is None else f", unread since {date_text(mail.read, now)}"
    return f"New mail received {date_text(mail.received, now)}{unread}"


def _texts(person: Person, verbose: bool, max_characters: int, end: Callable[[str], str]) -> Iterator[str]:
    """The atoms of several lines: project, plan and keys. One that is longer than an answer is not split as a whole.

    ``end`` ends what is colored; keys are not.
    """
    if person.project:
        project = person.project.strip("\r\n").rstrip()
        is_one_line = project.isprintable() or not _LINE_END.search(project)
        label = "Project: " if is_one_line else "Project:\n"
        yield f"{label}{end(project[:max_characters])}" if project else "Project:"
    if person.plan is not None:
        plan = person.plan.rstrip()[:max_characters]
        lines = plan.splitlines()
        if len(lines) > SHORT_PLAN_LINES and not verbose:
            short = "\n".join(lines[:SHORT_PLAN_LINES])
            yield f"Plan:\n{end(short)}\n{PLAN_CUT_TEXT}"
        else:
            yield f"Plan:\n{end(plan)}" if plan else NO_PLAN_TEXT
    if verbose:
        if links := "\n".join(link_texts(person.links)):
            yield f"Links:\n{links[:max_characters]}"
        for label, key in (("PGP key", person.pgpkey), ("Public key", person.pubkey)):
            if key.strip():
                yield f"{label}:\n{key.rstrip()[:max_characters]}".replace("\x1b", "?")


class Row(NamedTuple):
    """One row of a list: the text of each column."""

    login: str
    name: str
    terminal: str
    idle: str
    when: str
    host: str
    office: str
    office_phone: str
    job: str


class Column(NamedTuple):
    """The layout of a column, in columns of the terminal: ``gap`` precedes it, its heading fits into ``min_width``."""

    heading: str
    min_width: int
    gap: int
    align_right: bool = False


# The columns of a Row: RFC 1288 4.1, and two that it only mentions (2.5.1), Where and Job. Its rows have these places;
# its headings do not stand over them, and it has none for the telephone.
COLUMNS = (
    Column("Login", 8, 0),
    Column("Name", 20, 1),
    Column("TTY", 3, 2),
    Column("Idle", 4, 1, True),
    Column("When", 9, 1),
    Column("Where", 16, 2),
    Column("Office", 11, 2),
    Column("Phone", 8, 1, True),
    Column("Job", 3, 2),
)
MAX_COLUMN_WIDTH = 48  # a longer text moves the rest of its row to the right
LIST_ATOMS = frozenset(("login", "name", "sessions", "office", "office_phone", "job"))  # that a list shows


def format_list(
    people: Iterable[Person],
    now: float,
    max_characters: int,
    width_of: Callable[[str], int] = terminal_width,
    *,
    colors: bool = False,
) -> str:
    """The list of {C}: a row for each session, or one for a person without known sessions.

    Stops after the person with whom the list exceeds ``max_characters``. A
    person without a login whose text is given is a list by itself: the text
    follows the rows unchanged.
    """
    texts: list[str] = []
    rows: list[Row] = []
    length = 0
    for person in people:
        if person.text is not None and not person.login:
            text = person.text.rstrip("\r\n")
            texts.append(end_colors(text) if colors else text)
            length += len(texts[-1])
        else:
            for row in _rows(person, now):
                rows.append(row)
                length += 1 + sum(map(len, row))
        if length > max_characters:
            break
    return "\n".join([*_render(rows, width_of), *texts]) or EMPTY_LIST_TEXT


def _rows(person: Person, now: float) -> Iterator[Row]:
    login, name = one_line(person.login), one_line(person.name or person.login)  # RFC 1288 2.5.1 requires a name
    office, phone, job = map(one_line, (person.office, person.office_phone, person.job))
    for session in person.sessions or (None,):
        terminal = idle = when = host = ""
        if session:
            terminal = one_line(session.terminal) if session.messages else f"*{one_line(session.terminal)}"
            idle = idle_column(session.idle)
            when = "" if session.since is None else when_column(session.since, now)
            host = one_line(session.host)
        yield Row(login, name, terminal, idle, when, host, office, phone, job)


def _render(rows: Sequence[Row], width_of: Callable[[str], int]) -> list[str]:
    """The rows below their headings, each over its column; a column without text is left out."""
    if not rows:
        return []
    cells = list(zip(*rows, strict=True))
    is_used = [any(map(str.strip, texts)) for texts in cells]
    lines = [""] * (1 + len(rows))
    for column, texts in compress(zip(COLUMNS, cells, strict=True), is_used):
        gap = " " * column.gap if lines[0] else ""
        width = min(max(column.min_width, *map(width_of, texts)), MAX_COLUMN_WIDTH)
        for number, text in enumerate((column.heading, *texts)):
            lines[number] += gap + _padded(text, width, width_of, column.align_right)
    return [line.rstrip() for line in lines]


def _padded(text: str, width: int, width_of: Callable[[str], int], align_right: bool = False) -> str:
    spaces = " " * (width - width_of(text))
    return spaces + text if align_right else text + spaces
