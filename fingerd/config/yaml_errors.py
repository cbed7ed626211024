"""PyYAML's errors in plain words: what is wrong, and what to do.

Nothing of the file is shown, as PyYAML does: it may be within a secret, which a log must not contain.
"""

import re

import yaml

NOT_YAML = "this is not valid YAML"

# Patterns of what an error is about (its context) and of what it says, and our words; the former begins in {line}.
_WORDS = (
    ("", r"found character '\\t'", "a tab is not allowed here: indent with spaces"),
    ("", "found character ", "a text cannot begin with this character: put it in quotes"),
    ("", "unexpected (end of stream|document separator)", "the quote opened in line {line} is never closed"),
    ("double-quoted", "escape", r"unknown escape: write \\ for a backslash, or use single quotes"),
    (
        "",
        "mapping values",
        "a colon is not allowed here: quote a text that has one, or correct the indentation or the line before",
    ),
    ("", "sequence entries", "a list begins in a line of its own: put a text that begins with - in quotes"),
    ("", "mapping keys", "no key is allowed here: put a text that begins with ? in quotes"),
    (
        "simple key",
        "",
        "the key in line {line} has no colon: write KEY: VALUE, with a space, or correct the indentation",
    ),
    ("block scalar", "", "after | or > the text begins in the next line: put a text that begins with it in quotes"),
    ("an anchor", "", "an anchor needs a name: put a text that begins with & in quotes"),
    ("an alias", "", "an alias needs a name: put a text that begins with * in quotes"),
    ("directive", "", "no such directive: put a text that begins with % in quotes"),
    ("tag", "", "not a tag: put a text that begins with ! in quotes"),
    ("", "undefined tag handle", "unknown tag: put a text that begins with ! in quotes"),
    ("", "undefined alias", "no anchor has this name: put a text that begins with * in quotes"),
    ("duplicate anchor", "", "this anchor is given twice, first in line {line}"),
    ("single document", "", "a second document begins here, and only one is allowed: remove this line"),
    (
        "block (mapping|collection)",
        r"found '(<scalar>|[,\[{])'",
        "nothing may follow a closing quote or bracket: put the whole text in quotes (and a ' within ' twice)",
    ),
    ("block (mapping|collection)", r"found '[\]}]'", "nothing was opened that this could close"),
    (
        "block (mapping|collection)",
        "expected <block end>",
        "wrong indentation: not in one column with line {line}, where this block begins; indent with spaces",
    ),
    ("flow mapping", "", "before this, a comma is missing, or the end of the brace opened in line {line}"),
    ("flow sequence", "", "before this, a comma is missing, or the end of the bracket opened in line {line}"),
    ("node", "expected the node content", "a value is missing here: put a text that begins with this in quotes"),
    (
        "",
        "<document start>",
        "nothing may follow here: correct the indentation, or put the whole text in quotes",
    ),
    ("", "directive|incompatible|duplicate tag handle", "remove this directive"),
)


def explain(error: yaml.MarkedYAMLError) -> str:
    """What is wrong with the file, and the remedy."""
    context, problem = str(error.context or ""), str(error.problem or "")
    for about, says, words in _WORDS:
        if re.search(about, context) and re.search(says, problem):
            return words.replace("{line}", str(error.context_mark.line + 1) if error.context_mark else "?")
    return NOT_YAML
