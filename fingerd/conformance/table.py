"""What was found, as a text, as Markdown, as JSON."""

import json
from collections import Counter
from collections.abc import Sequence

from fingerd.conformance.clauses import Finding
from fingerd.conformance.verdicts import FAILS, NOTE, OK, UNKNOWN

HEAD = ("clause", "section", "level", "verdict", "what was asked", "what was seen")


def as_text(findings: Sequence[Finding]) -> str:
    """A table in columns, and below it how many verdicts there are of each kind."""
    rows = [HEAD, *map(_row, findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", summary(findings)]) + "\n"


def as_markdown(findings: Sequence[Finding]) -> str:
    """The same, as a Markdown table."""
    rows = [HEAD, ("---",) * len(HEAD), *map(_row, findings)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + f"\n{summary(findings)}\n"


def as_json(findings: Sequence[Finding]) -> str:
    """The same, as a JSON array."""
    names = ("clause", "section", "level", "verdict", "asked", "seen")
    return json.dumps([dict(zip(names, _row(finding), strict=True)) for finding in findings], indent=1) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    """One line that counts the verdicts."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in (OK, FAILS, NOTE, UNKNOWN))


def _row(finding: Finding) -> tuple[str, ...]:
    clause = finding.clause
    return clause.number, clause.section, clause.level, finding.verdict, clause.question, finding.seen
