"""docs/rfc1288.md and docs/conformance.md agree with the tests: each clause has tests, and each test a clause."""

import re
from pathlib import Path

import pytest

from fingerd.conformance.clauses import CLAUSES
from tests.helpers.daemons import ROOT

PAGE = (ROOT / "docs" / "rfc1288.md").read_text()
VERDICTS = (ROOT / "docs" / "conformance.md").read_text()
NUMBERS = tuple(range(1, 58))
CELLS = re.compile(r"(?<!\\)\|")


def rows(page: str) -> list[list[str]]:
    """The table rows of a page that begin with a clause's number."""
    found = ([cell.strip() for cell in CELLS.split(line)[1:-1]] for line in page.splitlines() if line.startswith("| R"))
    return list(found)


ROWS = {int(row[0][1:]): row for row in rows(PAGE)}


def clause_tests(number: int) -> dict[str, str]:
    """The tests of a clause, and their files."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for name in re.findall(rf"^def (test_r{number:02}_\w+)\(", path.read_text(), re.MULTILINE):
            found[name] = f"../tests/rfc1288/{path.name}"
    return found


def test_every_clause_has_one_row() -> None:
    assert sorted(ROWS) == list(NUMBERS)
    assert len(rows(PAGE)) == len(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_tests_of_a_clause_are_in_its_row_and_there_are_no_others(number: int) -> None:
    *cells, tests = ROWS[number]
    assert dict(re.findall(r"\[(\w+)\]\(([^)]+)\)", tests)) == clause_tests(number)
    assert clause_tests(number), "no test"
    assert all(cells)


def test_every_test_belongs_to_a_clause() -> None:
    known = {name for number in NUMBERS for name in clause_tests(number)}
    for path in Path(__file__).parent.glob("test_[234]*.py"):
        assert set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)) <= known


def test_sections_are_in_the_order_of_the_rfc() -> None:
    sections = [[int(part) for part in row[1].split(".")] for row in ROWS.values()]
    flow = [section for section in sections if section != [1, 4]]  # changes of 1.4 are in 2.1
    assert flow == sorted(flow)


def test_every_must_should_and_may_is_listed() -> None:
    levels = [row[2] for row in ROWS.values()]
    assert {level: levels.count(level) for level in sorted(set(levels))} == {
        "MAY": 1,
        "MUST": 15,
        "SHOULD": 17,
        "d": 24,
    }


def test_the_conformance_test_uses_the_clauses_of_the_page() -> None:
    for clause in CLAUSES:
        row = ROWS[int(clause.number[1:])]
        assert row[1] == clause.section
        assert clause.level in ("d", row[2])


def test_the_verdicts_have_the_conformance_test_s_requirements_and_ours_fails_none() -> None:
    found = rows(VERDICTS)
    assert [row[:4] for row in found] == [[each.number, each.section, each.level, each.requirement] for each in CLAUSES]
    (head,) = (line for line in VERDICTS.splitlines() if line.startswith("| clause"))
    ours = [cell.strip() for cell in CELLS.split(head)[1:-1]].index("fingerd (ours)")
    assert {row[ours] for row in found} <= {"ok", "?"}


def test_the_claim_of_compliance_is_in_both_pages() -> None:
    assert "unconditionally compliant" in PAGE.split("\n\n")[1]
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert "[unconditionally compliant](docs/rfc1288.md)" in readme
