"""``type: sql``: queries a database for every lookup.

The username is a bound parameter, never a part of the statement. Each row is a person, and its columns are the atoms.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

from fingerd.backends import Backend, Lookup
from fingerd.backends.sql.database import Database
from fingerd.backends.sql.driver import Rows
from fingerd.backends.sql.statement import Statement, read_statement
from fingerd.config.system_options import SecretFile
from fingerd.config.values import Integer, Seconds
from fingerd.errors import BackendError, OptionError, option_errors
from fingerd.people import MAX_MATCHES, Person
from fingerd.people.mapping import LOGIN, MAPPABLE_ATOMS, as_text, check_fields, person_of
from fingerd.text import is_one_of, is_same_name, is_text, spellings

log = logging.getLogger(__name__)

ASKED = "asked"  # the column with the name by which the row was found, if that is not the login


@dataclass(frozen=True)
class Sql(Backend):
    """Queries a database with one SELECT, in which the parameter ``:user`` is the username.

    Each row is a person. The name of a column is that of its atom, unless ``fields`` maps atoms to columns. Rows whose
    login, or column ``asked`` if there is one, is not exactly the username are ignored.
    """

    url: str = field(repr=False)  # may contain a password
    query: str
    list_query: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    password_file: SecretFile | None = None
    password_env: str | None = None
    timeout: Annotated[float, Seconds(0.1)] = 10  # for the whole lookup, the wait for a connection included
    connections: Annotated[int, Integer(1, 1000)] = 32  # the maximum; as many as limits.threads by default
    names: tuple[str, ...] | None = None  # nothing is asked for any other name; "weather:*" is all that begin so
    _layouts: dict[tuple[str, ...], "_Layout"] = field(default_factory=dict, init=False, repr=False, compare=False)
    _logged: set[str] = field(default_factory=set, init=False, repr=False, compare=False)  # warnings

    def __post_init__(self) -> None:
        check_fields(self.fields)
        _ = self._statements  # created now: a chroot may lack the modules that the database imports

    @cached_property
    def _statements(self) -> tuple[Statement, Statement | None]:
        """The statements of ``query`` and ``list_query``."""
        with option_errors("query"):
            query = read_statement(self.query, frozenset({"user"}))
        with option_errors("list_query"):
            list_query = None if self.list_query is None else read_statement(self.list_query, frozenset())
        database = self._database
        return database.compile(query, MAX_MATCHES), None if list_query is None else database.compile(list_query)

    @cached_property
    def _database(self) -> Database:
        password = self.password_file.text if self.password_file else None
        if self.password_env:
            if self.password_file:
                raise OptionError("cannot be combined with password_env", "password_file")
            password = os.environ.get(self.password_env)
            if not password:
                raise OptionError(f"environment variable {self.password_env} is not set", "password_env")
        with option_errors("url"):
            return Database(self.url, password, self.timeout, self.connections)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person of each row, the exact login first; BackendError if the query fails or the deadline passes."""
        if "\0" in lookup.username or not is_text(lookup.username):  # no database can store it
            return ()
        if self.names is not None and not is_one_of(lookup.username, self.names):
            return ()
        people: Sequence[Person] = ()
        for username in spellings(lookup.username):  # most databases compare bytes
            if people := self._find(username, lookup):
                break
        return sorted(people, key=lambda person: not is_same_name(person.login, lookup.username))

    def _find(self, username: str, lookup: Lookup) -> Sequence[Person]:
        """The person of each row that is found by this spelling of the username."""
        rows = self._database.select(self._statements[0], username, lookup.deadline, MAX_MATCHES)
        if not rows.columns:
            return ()
        layout = self._layout(rows.columns)
        return [_person_of(lookup.username, row, layout.atoms) for row in self._exact(rows, username, layout)]

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The person of each row of ``list_query``, or None without that; BackendError as in find()."""
        statement = self._statements[1]
        return None if statement is None else self._people(statement, lookup.deadline)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """SQLite's file, or what a connection to the server needs."""
        statement = self._statements[1]
        return self._database.driver.missing_requirements(root, None if statement is None else statement.sql)

    def _people(self, statement: Statement, deadline: float) -> Iterator[Person]:
        for rows in self._database.stream(statement, deadline):
            atoms = self._layout(rows.columns).atoms
            if LOGIN not in atoms:
                raise BackendError(f"sql {self._database.name}: list_query returns no column for login")
            for row in rows.rows:
                person = _person_of("", row, atoms)
                if person.login.strip():  # the policy redacts only people with a login
                    yield person

    def _layout(self, columns: tuple[str, ...]) -> "_Layout":
        """What these columns are; BackendError if a column of ``fields``, or every column for an atom, is missing."""
        if columns not in self._layouts:
            self._layouts[columns] = self._read_layout(columns)
        return self._layouts[columns]

    def _read_layout(self, columns: tuple[str, ...]) -> "_Layout":
        indexes = {name: index for index, name in reversed(list(enumerate(columns)))}  # the first of a name wins
        names = self.fields or {atom: atom for atom in MAPPABLE_ATOMS if atom in indexes}
        missing = [column for column in names.values() if column not in indexes]
        if missing or not names:
            what = f"no column {missing[0]}" if missing else "no column named after an atom"
            raise BackendError(f"sql {self._database.name}: the query returns {what}, only {', '.join(columns)}")
        compared = next((name for name in (ASKED, self.fields.get(LOGIN, LOGIN)) if name in indexes), None)
        return _Layout(
            {atom: indexes[column] for atom, column in names.items()}, compared or "", indexes.get(compared or "")
        )

    def _exact(self, rows: Rows, username: str, layout: "_Layout") -> Sequence[Sequence[object]]:
        """The rows that are exactly for this name: a database may compare without case, accents or trailing spaces."""
        index = layout.index
        if index is None:
            self._warn_once(f"the query returns neither {LOGIN} nor {ASKED}, so other spellings are not told apart")
            return rows.rows
        exact = [row for row in rows.rows if row[index] is not None and is_same_name(as_text(row[index]), username)]
        if len(exact) < len(rows.rows):
            self._warn_once(
                f"rows were found whose {layout.compared} is not exactly the requested name, and are ignored"
            )
        return exact

    def _warn_once(self, what: str) -> None:
        if what not in self._logged:
            self._logged.add(what)
            log.warning("sql %s: %s", self._database.name, what)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which column of a row each atom is, and which one is compared with the requested name."""

    atoms: Mapping[str, int]
    compared: str
    index: int | None


def _person_of(username: str, row: Sequence[object], atoms: Mapping[str, int]) -> Person:
    return person_of(username, {atom: row[index] for atom, index in atoms.items()})
