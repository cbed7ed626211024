"""The people that queries ask about.

RFC 1288 3.2.3 calls the pieces of user information atoms: each field of :class:`Person` but ``text`` and
``plan_changed`` is one, and a policy may hide each. An atom that is unknown or hidden is empty or None.
"""

import dataclasses
import unicodedata
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from fingerd.people.links import read_links
from fingerd.text import to_nfc


@dataclass(frozen=True, slots=True)
class Session:
    """One open login session; ``since`` is in ``time.time()`` seconds, ``idle`` the seconds since the last input.

    None if unknown. A session is never idle for longer than it lasts.
    """

    terminal: str
    host: str = ""  # that the user logged in from
    since: float | None = None
    idle: float | None = None
    messages: bool = True  # whether others may write to the terminal, mesg(1)


@dataclass(frozen=True, slots=True)
class LastLogin:
    """The last login; ``when`` is in ``time.time()`` seconds, None for never."""

    when: float | None
    terminal: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """When mail was last received and last read, in ``time.time()`` seconds; both None if the mailbox is empty."""

    received: float | None = None
    read: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The atoms that are plain text, which a file, a column or an option can hold."""

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
    links: Annotated[str, read_links] = ""  # one a line


NOFINGER = ("nofinger", ".nofinger")  # a file of one of these names, in a person's directory, hides the person
MAX_MATCHES = 100  # people that a search for one name returns; bounds the time and memory of an answer
TEXT_ATOMS = tuple(field.name for field in dataclasses.fields(Record))
MULTILINE_ATOMS = ("project", "plan", "pgpkey", "pubkey", "links")  # whose lines are kept, wherever they come from


@dataclass(frozen=True, slots=True)
class Person:
    """A person that a backend returns."""

    login: str  # "" for a text that is a whole user list ({C})
    text: str | None = None  # an answer that is sent as it is
    _: KW_ONLY
    name: str = ""  # the full name
    office: str = ""
    office_phone: str = ""
    home_phone: str = ""
    job: str = ""
    directory: str = ""
    shell: str = ""
    sessions: tuple[Session, ...] | None = None  # () if not logged in, None if that is unknown
    last_login: LastLogin | None = None
    mail: Mail | None = None
    forward: str = ""  # address that mail is forwarded to
    project: str = ""
    plan: str | None = None  # "" if the person has none
    pgpkey: str = ""
    pubkey: str = ""
    pronouns: str = ""
    timezone: str = ""
    links: str = ""  # one a line; those that are none are ignored, see fingerd.people.links
    plan_changed: float | None = None  # when, in ``time.time()`` seconds; part of the plan, and no atom of its own

    @classmethod
    def from_record(cls, login: str, record: Record, plan_changed: float | None = None) -> "Person":
        """A person with the atoms of ``record``; all others are unknown."""
        return cls(login, **{atom: getattr(record, atom) for atom in TEXT_ATOMS}, plan_changed=plan_changed)

    def redacted_to(self, atoms: Iterable[str]) -> "Person":
        """A copy with only these atoms; the login replaces a missing full name (RFC 1288 2.5.2)."""
        kept = {atom: getattr(self, atom) for atom in atoms}
        if "plan" in kept:
            kept["plan_changed"] = self.plan_changed
        if "name" in kept and not self.name.strip():
            kept["name"] = self.login
        kept.setdefault("login", "")
        return Person(**kept)

    def merged_with(self, other: "Person") -> "Person":
        """A copy whose unknown atoms are filled in from ``other``; the login stays."""
        values = {atom: getattr(other, atom) for atom in ("text", *ATOMS) if atom != "login"}
        known = {atom: value for atom, value in values.items() if value is not None}
        missing = {a: value for a, value in known.items() if getattr(self, a) in ((None, "") if value else (None,))}
        if "plan" in missing:
            missing["plan_changed"] = other.plan_changed
        return dataclasses.replace(self, **missing)

    def matches_name(self, name: str) -> bool:
        """Whether every word of ``name`` is a word of the full name, ignoring case (RFC 1288 2.5.3)."""
        wanted = name_words(name)
        return bool(wanted) and wanted <= name_words(self.name)


def name_words(name: str) -> frozenset[str]:
    """The words of a full name, case-folded and in NFC for comparison."""
    # Unicode 3.13, D145
    folded = name.casefold() if name.isascii() else to_nfc(unicodedata.normalize("NFD", name).casefold())
    return frozenset(folded.replace(",", " ").split())


ATOMS = tuple(field.name for field in dataclasses.fields(Person) if field.name not in ("text", "plan_changed"))
