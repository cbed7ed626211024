"""Statements of SQL as the configuration gives them: one SELECT, whose parameters are known to be values."""

import re

from fingerd.backends.sql.database import parameters_of

# What a database does not read as a part of the statement; what is not closed is left to be found.
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_LOOSE = re.compile(r"""['"`]|/\*|\*/""")
_SELECT = re.compile(r"\s*(select|with)\b", re.IGNORECASE)


def check_statement(query: str, parameters: frozenset[str]) -> None:
    """ValueError for a query that is not one SELECT with exactly these parameters.

    A parameter in quotes would be a name that is put into the statement, with
    quotes of its own: it is looked for in everything that any database may
    read as quoted, and what databases read differently is refused.
    """
    if re.search(r"""\\['"`]""", query):
        raise ValueError(
            "a backslash before a quote means different things to different databases: write '' for a quote"
        )
    if re.search(r"\$\w*\$", query):
        raise ValueError("texts between $$ are not read: write them in single quotes")
    if "\0" in query:
        raise ValueError("holds a NUL")
    for part in _QUOTED.findall(query):
        if found := parameters_of(part):
            raise ValueError(
                f"has :{min(found)} in quotes or in a comment; a colon that is only a colon is written \\:"
            )
    bare = _QUOTED.sub(" ", query)
    if _LOOSE.search(bare):
        raise ValueError("has a quote or a comment that does not end")
    if not _SELECT.match(bare):
        raise ValueError("must begin with SELECT, or with WITH")
    if ";" in bare.rstrip("; \t\r\n"):
        raise ValueError("must be one statement only")
    found = parameters_of(bare)
    if missing := parameters - found:
        if f":{min(missing)}::" in bare:
            raise ValueError(f"a cast is written CAST(:{min(missing)} AS …), not with ::")
        raise ValueError(f"has no :{min(missing)} in it, which stands for the name that was asked for")
    if strange := found - parameters:
        raise ValueError(f"has the parameter :{min(strange)}, which stands for nothing")
