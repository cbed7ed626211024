"""What is said of people: the record of {U} and the table of {C}, in the shapes of RFC 1288 section 4.

A person comes in with those atoms only that may be told. What a policy
allows is told in the short form too; the long form, of ``/W``, adds what is
left out for its length.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from wcwidth import wcswidth

from fingerd.people import LastLogin, Mail, Person, Session
from fingerd.ruip.times import date, idle_column, idle_time, weekday
from fingerd.text import one_line

NOBODY_LISTED = "No one logged on."
NO_PLAN_TEXT = "No Plan."
MORE_OF_PLAN = "[more with /W]"

SHORT_PLAN = 50  # lines that the short form tells of a plan
SECOND_COLUMN = 40  # of a record
SAME_LOGIN = 10.0  # seconds between what two sources say of one login


def records(people: Iterable[Person], now: float, verbose: bool, room: int) -> str:
    """Everything that is told of these people (RFC 1288 4.3), one after the other, an empty line between two.

    Nobody more is laid out once it is longer than ``room`` characters.
    """
    texts: list[str] = []
    for person in people:
        texts.append(_record(person, now, verbose) if person.text is None else person.text)
        room -= len(texts[-1])
        if room < 0:
            break
    return texts[0] if len(texts) == 1 else separated(texts)


def separated(texts: Iterable[str]) -> str:
    """The texts, an empty line between two."""
    return "\n".join(text if text.endswith("\n") else f"{text}\n" for text in texts)


def _record(person: Person, now: float, verbose: bool) -> str:
    """The record of one person (RFC 1288 4.2)."""
    office = ", ".join(filter(str.strip, map(one_line, (person.office, person.office_phone))))
    cells = [
        ("Login name", person.login, "In real life", person.name),
        ("Office", office, "Home phone", person.home_phone),
        ("Job", person.job, "", ""),
        ("Pronouns", person.pronouns, "Timezone", person.timezone),
    ]
    if verbose:
        cells.insert(2, ("Directory", person.directory, "Shell", person.shell))
    lines = [line for cell in cells if (line := _pair(*cell))]
    lines += _status(person, now)
    if verbose and person.forward.strip():
        lines.append(f"Mail forwarded to {one_line(person.forward.strip())}")
    if verbose and person.mail:
        lines.append(_mail(person.mail, now))
    lines += _texts(person, verbose)
    return "\n".join(lines)


def _pair(left: str, left_value: str, right: str, right_value: str) -> str:
    """One line of two columns, each of which may be missing."""
    values = (left, one_line(left_value)), (right, one_line(right_value))
    cells = [f"{label}: {value}" for label, value in values if value.strip()]
    return " ".join([_padded(cells[0], SECOND_COLUMN - 1), *cells[1:]]) if len(cells) > 1 else "".join(cells)


def _status(person: Person, now: float) -> Iterator[str]:
    """Whether they are logged in (R31, R32), or when they were."""
    for session in person.sessions or ():
        yield _session(session, now)
    if person.sessions:
        if person.last_login and _is_news(person.last_login, person.sessions):
            yield _last_login(person.last_login, now)
    elif person.last_login:
        yield _last_login(person.last_login, now)
    elif person.sessions is not None:
        yield "Not logged in."


def _is_news(login: LastLogin, sessions: Sequence[Session]) -> bool:
    """Whether the last login is over already, though an older one of these lasts.

    One that lasts may have another terminal's name there, and a time that is
    not the same to the second: different programs wrote them.
    """
    when = login.when
    began = [session.since for session in sessions if session.since is not None]
    if when is None or not began or login.terminal in [session.terminal for session in sessions]:
        return False
    return min(began) < when and all(abs(since - when) > SAME_LOGIN for since in began)


def _session(session: Session, now: float) -> str:
    since = "Logged in" if session.since is None else f"On since {date(session.since, now)}"
    idle = "" if session.idle is None else idle_time(session.idle)
    silent = "" if session.messages else " (messages off)"
    return f"{since}{_place(session.terminal, session.host)}{idle and ', idle '}{idle}{silent}"


def _last_login(login: LastLogin, now: float) -> str:
    if login.when is None:
        return "Never logged in."
    return f"Last login {date(login.when, now)}{_place(login.terminal, login.host)}"


def _place(terminal: str, host: str) -> str:
    return (f" on {one_line(terminal)}" if terminal else "") + (f" from {one_line(host)}" if host else "")


def _mail(mail: Mail, now: float) -> str:
    if mail.received is None:
        return "No unread mail"
    if mail.read is not None and mail.read >= mail.received:
        return f"Mail last read {date(mail.read, now)}"
    unread = "" if mail.read is None else f", unread since {date(mail.read, now)}"
    return f"New mail received {date(mail.received, now)}{unread}"


def _texts(person: Person, verbose: bool) -> Iterator[str]:
    """What they wrote themselves (R33)."""
    if person.project:
        project = person.project.strip("\r\n").rstrip()
        yield f"Project: {project}" if len(project.splitlines()) == 1 else f"Project:\n{project}".rstrip()
    if person.plan is not None:
        plan = person.plan.rstrip()
        lines = plan.splitlines()
        if len(lines) > SHORT_PLAN and not verbose:
            plan = "\n".join([*lines[:SHORT_PLAN], MORE_OF_PLAN])
        yield f"Plan:\n{plan}" if plan else NO_PLAN_TEXT
    if verbose:
        for label, key in (("PGP key", person.pgpkey), ("Public key", person.pubkey)):
            if key.strip():
                yield f"{label}:\n{key.rstrip()}"


class Column(NamedTuple):
    """How a column of the table looks: its heading and how far that is moved in, its least width, the blanks before."""

    heading: str
    indent: int
    width: int
    gap: int
    to_the_right: bool = False


# The atoms that the table tells.
LISTED = frozenset(("login", "name", "sessions", "office", "office_phone", "job"))

# RFC 1288 4.1, and two columns that it only speaks of (2.5.1). Empty ones are left out.
COLUMNS = (
    Column("Login", 0, 8, 0),
    Column("Name", 3, 20, 1),
    Column("TTY", 0, 3, 2),
    Column("Idle", 0, 4, 1, True),
    Column("When", 3, 9, 1),
    Column("Where", 0, 16, 2),
    Column("Office", 8, 11, 2),
    Column("", 0, 8, 1, True),
    Column("Job", 0, 3, 2),
)
WIDEST = 48  # columns of a terminal that a column grows to; a longer text pushes the rest of its row


def table(people: Iterable[Person], now: float, room: int) -> str:
    """The list of {C}: a row for each session, or for each person whose sessions are not known.

    No more people are asked for once it is longer than ``room`` characters.
    Somebody without a login whose text is there already is a list by
    themselves, and told as it is.
    """
    texts: list[str] = []
    rows: list[tuple[str, ...]] = []
    length = 0
    for person in people:
        if person.text is not None and not person.login:
            texts.append(person.text.rstrip("\r\n"))
            length += len(texts[-1])
        else:
            for row in _rows(person, now):
                rows.append(row)
                length += 1 + sum(map(len, row))
        if length > room:
            break
    return "\n".join([*_laid_out(rows), *texts]) or NOBODY_LISTED


def _rows(person: Person, now: float) -> Iterator[tuple[str, ...]]:
    for session in person.sessions or (None,):
        status = ("", "", "", "")
        if session:
            when = "" if session.since is None else weekday(session.since, now)
            terminal = one_line(session.terminal) if session.messages else f"*{one_line(session.terminal)}"
            status = (terminal, idle_column(session.idle), when, one_line(session.host))
        name = person.name or person.login  # RFC 1288 2.5.1 wants one
        office, phone, job = map(one_line, (person.office, person.office_phone, person.job))
        yield one_line(person.login), one_line(name), *status, office, phone, job


def _laid_out(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows under their headings, each column as wide as it has to be."""
    if not rows:
        return []
    cells = list(zip(*rows, strict=True))
    used = [number for number, texts in enumerate(cells) if any(map(str.strip, texts))]
    if _PHONE in used and _OFFICE not in used:
        used.insert(used.index(_PHONE), _OFFICE)  # whose heading is above both
    layout = [(number, COLUMNS[number], _width(COLUMNS[number], cells[number])) for number in used]
    heading, *lines = ["" for _ in range(len(rows) + 1)]
    start = 0  # of the column
    for place, (number, column, width) in enumerate(layout):
        gap = " " * (column.gap if place else 0)
        heading = heading.ljust(start := start + len(gap))
        if column.heading and heading[-1:].strip():  # the one before is wider than its column
            heading += gap
        heading += " " * column.indent + column.heading
        start += width
        for line, text in enumerate(cells[number]):
            lines[line] += gap + _padded(text, width, column.to_the_right)
    return [line.rstrip() for line in (heading, *lines)]


_OFFICE, _PHONE = 6, 7


def _width(column: Column, texts: Iterable[str]) -> int:
    return min(max(column.width, *map(_columns, texts)), max(column.width, WIDEST))


def _padded(text: str, width: int, to_the_right: bool = False) -> str:
    blanks = " " * (width - _columns(text))
    return blanks + text if to_the_right else text + blanks


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return len(text) if text.isascii() else max(wcswidth(text), 0)
