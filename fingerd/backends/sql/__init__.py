"""``type: sql``: a database is asked for every query.

The user's name is the value of a parameter, and never a part of the
statement. The rows are the people, and their columns the atoms.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from fingerd.backends import Backend, Lookup
from fingerd.backends.sql.database import Database, Rows
from fingerd.backends.sql.statement import check_statement
from fingerd.config.system_options import SecretFile
from fingerd.config.values import Integer, Seconds
from fingerd.errors import BackendError, OptionError, option_errors
from fingerd.people import Person
from fingerd.people.mapping import LOGIN, MAPPABLE_ATOMS, check_fields, person_of
from fingerd.text import is_text

MOST = 100  # people that one name means


@dataclass(frozen=True)
class Sql(Backend):
    """Asks a database: one SELECT, in which ``:user`` stands for the name that was asked for.

    Each row is somebody. Its columns are called as the atoms, or ``fields``
    tells for an atom the column.
    """

    url: str = field(repr=False)  # may hold a password
    query: str
    list_query: str | None = None
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    password_file: SecretFile | None = None
    password_env: str | None = None
    timeout: Annotated[float, Seconds(0.1)] = 10  # for the whole look-up, waiting for a connection included
    connections: Annotated[int, Integer(1, 1000)] = 32  # at most; limits.threads' default
    _database: Database = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self.fields)
        with option_errors("query"):
            check_statement(self.query, frozenset({"user"}))
        if self.list_query is not None:
            with option_errors("list_query"):
                check_statement(self.list_query, frozenset())
        password = self._password()
        with option_errors("url"):
            database = Database(self.url, password, self.timeout, self.connections)
        object.__setattr__(self, "_database", database)

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Everyone in the rows, the exact login first; BackendError where the database cannot tell."""
        if "\0" in lookup.username or not is_text(lookup.username):  # which no database can hold
            return ()
        rows = self._database.select(self.query, lookup.username, lookup.deadline, MOST)
        people = [person_of(lookup.username, values) for values in self._atoms(rows)]
        return sorted(people, key=lambda person: person.login != lookup.username)

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """Everybody in the rows of ``list_query``, as they come; BackendError where the database cannot tell."""
        return None if self.list_query is None else self._everybody(self.list_query, lookup.deadline)

    def close(self) -> None:
        """Close the connections that are kept for the next query."""
        self._database.close()

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """SQLite's file, or the way to the server."""
        return self._database.missing_requirements(root, self.list_query)

    def _password(self) -> str | None:
        if self.password_file and self.password_env:
            raise OptionError("is given, and password_env too", "password_file")
        if self.password_env and not os.environ.get(self.password_env):
            raise OptionError(f"there is no variable {self.password_env} in the environment", "password_env")
        if self.password_env:
            return os.environ[self.password_env]
        return self.password_file.text if self.password_file else None

    def _everybody(self, query: str, deadline: float) -> Iterator[Person]:
        for rows in self._database.stream(query, deadline):
            for values in self._atoms(rows):
                if LOGIN not in values:
                    raise BackendError(f"sql {self._database.name}: list_query gives no logins")
                person = person_of("", values)
                if person.login.strip():  # the policy knows nobody without a login
                    yield person

    def _atoms(self, rows: Rows) -> Iterator[Mapping[str, object]]:
        """The atoms of each row; BackendError where the rows have none, or not those that ``fields`` names."""
        if not rows.columns:
            return
        places = {name: number for number, name in reversed(list(enumerate(rows.columns)))}
        wanted = self.fields or {atom: atom for atom in MAPPABLE_ATOMS if atom in places}
        lacking = [column for column in wanted.values() if column not in places]
        if lacking or not wanted:
            what = f"no column {lacking[0]}" if lacking else "no column that is an atom"
            raise BackendError(f"sql {self._database.name}: the query gives {what}, but {', '.join(rows.columns)}")
        for row in rows.rows:
            yield {atom: row[places[column]] for atom, column in wanted.items()}
