"""Output of the findings: as text, as Markdown, as JSON."""

import json
from collections import Counter
from collections.abc import Sequence

from fingerd.conformance.clauses import Finding
from fingerd.conformance.verdicts import FAILS, INCONCLUSIVE, NOTE, OK

HEAD = ("clause", "section", "level", "verdict", "requirement", "evidence")


def as_text(findings: Sequence[Finding]) -> str:
    """A table in columns, and the number of verdicts of each kind."""
    rows = [HEAD, *map(_row, findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", summary(findings)]) + "\n"


def as_markdown(findings: Sequence[Finding]) -> str:
    """The same as a Markdown table."""
    rows = [HEAD, ("---",) * len(HEAD), *map(_row, findings)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + f"\n{summary(findings)}\n"


def as_json(findings: Sequence[Finding]) -> str:
    """The same as a JSON array."""
    names = ("clause", "section", "level", "verdict", "asked", "seen")  # other programs read them
    return json.dumps([dict(zip(names, _row(finding), strict=True)) for finding in findings], indent=1) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    """One line with the number of verdicts of each kind."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in (OK, FAILS, NOTE, INCONCLUSIVE))


def _row(finding: Finding) -> tuple[str, ...]:
    clause = finding.clause
    return clause.number, clause.section, clause.level, finding.verdict, clause.requirement, finding.evidence
