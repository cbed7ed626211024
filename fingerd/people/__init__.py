"""The people whom queries are about.

What RFC 1288 names of them are its atoms (3.2.3): each field of a
:class:`Person` but ``text`` is one, and a policy may hide each. What is not
known, or may not be told, is empty or None.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """One login that lasts: where, since when (``time.time()``), and for how many seconds nothing was typed."""

    terminal: str
    host: str = ""  # where it comes from
    since: float | None = None
    idle: float | None = None
    messages: bool = True  # whether others may write to the terminal


@dataclass(frozen=True, slots=True)
class LastLogin:
    """The last login: when (``time.time()``; None for never), and where."""

    when: float | None
    terminal: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """The mailbox: when mail last came in and when it was last read (``time.time()``; None where it is empty)."""

    received: float | None = None
    read: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What can be written down of somebody: the atoms that are a text each."""

    name: str = ""  # the full name
    office: str = ""
    office_phone: str = ""
    home_phone: str = ""
    job: str = ""
    directory: str = ""
    shell: str = ""
    project: str = ""
    plan: str = ""
    pgpkey: str = ""
    pubkey: str = ""
    pronouns: str = ""
    timezone: str = ""


TEXT_ATOMS = tuple(field.name for field in dataclasses.fields(Record))


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom a backend knows.

    ``text`` is an answer that is laid out already, and told as it is; a list
    of {C} that is such a text has no login. ``sessions`` is () for somebody
    who is not logged in, and None where nobody knows; ``plan`` is "" for
    somebody who has none.
    """

    login: str
    text: str | None = None
    _: KW_ONLY
    name: str = ""  # the full name
    office: str = ""
    office_phone: str = ""
    home_phone: str = ""
    job: str = ""
    directory: str = ""
    shell: str = ""
    sessions: tuple[Session, ...] | None = None
    last_login: LastLogin | None = None
    mail: Mail | None = None
    forward: str = ""  # where their mail goes on to
    project: str = ""
    plan: str | None = None
    pgpkey: str = ""
    pubkey: str = ""
    pronouns: str = ""
    timezone: str = ""

    @classmethod
    def from_record(cls, login: str, record: Record) -> "Person":
        """Somebody of whom no more is known than what is written down."""
        return cls(login, **{atom: getattr(record, atom) for atom in TEXT_ATOMS})

    def redacted_to(self, atoms: Iterable[str]) -> "Person":
        """This person, with all but these atoms unknown; who has no full name is told by the login (RFC 1288 2.5.2)."""
        kept = {atom: getattr(self, atom) for atom in atoms}
        if "name" in kept and not self.name.strip():
            kept["name"] = self.login
        kept.setdefault("login", "")
        return Person(**kept)

    def merged_with(self, other: "Person") -> "Person":
        """This person, and what is not known of them as the other one has it; the login stays."""
        told = {atom: getattr(other, atom) for atom in ("text", *ATOMS) if atom != "login"}
        missing = {
            atom: value
            for atom, value in told.items()
            if value is not None and getattr(self, atom) in ((None, "") if value else (None,))
        }
        return dataclasses.replace(self, **missing)

    def matches_name(self, name: str) -> bool:
        """Whether every word of ``name`` is one of the full name's words, in any case (RFC 1288 2.5.3)."""
        wanted = name_words(name)
        return bool(wanted) and wanted <= name_words(self.name)


def name_words(name: str) -> frozenset[str]:
    """The words of a full name, as they are compared."""
    return frozenset(name.casefold().replace(",", " ").split())


ATOMS = tuple(field.name for field in dataclasses.fields(Person) if field.name != "text")
