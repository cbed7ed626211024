"""Checks of the SQL statements in the configuration: one SELECT, whose parameters can only be values."""

import re

from sqlalchemy import text

# What databases do not parse as a part of the statement. _UNTERMINATED matches the rest of an unterminated one.
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_UNTERMINATED = re.compile(r"""['"`]|/\*|\*/""")
_SELECT = re.compile(r"\s*(select|with)\b", re.IGNORECASE)


def check_statement(query: str, parameters: frozenset[str]) -> None:
    """ValueError unless the query is one SELECT with exactly these parameters.

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
    unquoted = _QUOTED.sub(" ", query)
    if _UNTERMINATED.search(unquoted):
        raise ValueError("has an unterminated quote or comment")
    if not _SELECT.match(unquoted):
        raise ValueError("must begin with SELECT or WITH")
    if ";" in unquoted.rstrip("; \t\r\n"):
        raise ValueError("must be a single statement")
    found = _parameters(unquoted)
    if missing := parameters - found:
        if f":{min(missing)}::" in unquoted:
            raise ValueError(f"write the cast as CAST(:{min(missing)} AS …), not with ::")
        raise ValueError(f"must contain :{min(missing)}, the name to look up")
    if unknown := found - parameters:
        raise ValueError(f"has an unknown parameter :{min(unknown)}")


def _parameters(query: str) -> frozenset[str]:
    """The names of the parameters, such as ``:user``, also of those in quotes and comments."""
    return frozenset(text(query).compile().params)
