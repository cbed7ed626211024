"""The SQL statements of the configuration: one SELECT, whose parameters can only be values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

# What databases do not parse as a part of the statement. _UNTERMINATED matches the rest of an unterminated one.
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_UNTERMINATED = re.compile(r"""['"`]|/\*|\*/""")
_SELECT = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_BRACKETS = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement for a driver: ``sql`` with its placeholders, and the ``names`` of the parameters for them."""

    sql: str
    names: tuple[str, ...]
    positional: bool  # the driver takes a sequence of values, not a mapping

    def values(self, user: str) -> Sequence[str] | Mapping[str, str]:
        """What the driver takes beside the statement, with ``user`` as the value of each parameter."""
        return (user,) * len(self.names) if self.positional else dict.fromkeys(self.names, user)


def compile_statement(query: str, dialect: Any) -> Statement:
    """The statement with the placeholders of the dialect's driver; ``\\:`` becomes a colon."""
    compiled = text(query).compile(dialect=dialect)
    names = compiled.positiontup if compiled.positional else compiled.params
    return Statement(str(compiled), tuple(names or ()), compiled.positional)


def read_statement(query: str, parameters: frozenset[str]) -> str:
    """The query up to its semicolon: nothing else is sent. ValueError unless it is one SELECT with these parameters.

    A parameter in quotes would insert the name into the statement, between quotes of its own. So no parameter may be in
    anything that any database parses as quoted, and what databases parse differently is refused.
    """
    if re.search(r"""\\['"`]""", query):
        raise ValueError("databases read a backslash before a quote differently: write '' for a quote")
    if re.search(r"\$\w*\$", query):
        raise ValueError("dollar-quoted text is not supported: use single quotes")
    if "\0" in query:
        raise ValueError("contains a NUL")
    for quoted in _QUOTED.findall(query):
        if found := _parameters(quoted):
            raise ValueError(f"has :{min(found)} in quotes or in a comment: write \\: for a literal colon")
        if quoted.startswith("/*") and (quoted.startswith("/*!") or "/*" in quoted[2:]):
            raise ValueError("databases read a comment with /*! or with another /* in it differently")
    unquoted = _QUOTED.sub(lambda match: " " * len(match[0]), query)  # every place stays what it is
    if _UNTERMINATED.search(unquoted):
        raise ValueError("has an unterminated quote or comment")
    if not _SELECT.match(unquoted):
        raise ValueError("must begin with SELECT or WITH")
    statement, _, rest = unquoted.partition(";")
    if rest.strip("; \t\r\n"):
        raise ValueError("must be a single statement")
    _check_brackets(statement)
    found = _parameters(statement)
    if missing := parameters - found:
        if f":{min(missing)}::" in statement:
            raise ValueError(f"write the cast as CAST(:{min(missing)} AS …), not with ::")
        raise ValueError(f"must contain :{min(missing)}, the name to look up")
    if unknown := found - parameters:
        raise ValueError(f"has an unknown parameter :{min(unknown)}")
    return query[: len(statement)].rstrip()


def _check_brackets(statement: str) -> None:
    """ValueError for a bracket without its partner: the statement could close one that is put around it."""
    opened: list[str] = []
    for character in statement:
        if character in _BRACKETS.values():
            opened.append(character)
        elif character in _BRACKETS and (not opened or opened.pop() != _BRACKETS[character]):
            raise ValueError(f"has a {character} without its {_BRACKETS[character]}")
    if opened:
        raise ValueError(f"has a {opened[-1]} that is never closed")


def _parameters(query: str) -> frozenset[str]:
    """The names of the parameters, such as ``:user``, also of those in quotes and comments."""
    return frozenset(text(query).compile().params)
