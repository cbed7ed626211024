"""What the documentation says is so: its configurations load, its links lead somewhere, its tables are whole."""

import re
from pathlib import Path

import pytest

from fingerd.backends import backend_names
from fingerd.settings import load_config
from tests.helpers.daemons import ROOT
from tests.soak.attacks.catalogue import ATTACKS
from tests.soak.client_kinds import KINDS

SPEEDS = "50 clients at a time"
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_configuration_in_the_documentation_loads(page: Path, tmp_path: Path) -> None:
    text = page.read_text().replace("user: fingerd\n", "user: nobody\n")  # the pages say how to make that account
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block if "backend:" in block else f"{block}\nbackend: {{type: empty}}\n")
        load_config(str(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), (target, anchor)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_names_every_backend_and_the_architecture_every_module() -> None:
    for name in backend_names():
        assert f"`{name}`" in (ROOT / "docs" / "people.md").read_text()
    tree = (ROOT / "ARCHITECTURE.md").read_text().partition("## The tree")[2].partition("\n## ")[0]
    for path in (ROOT / "fingerd").rglob("*.py"):
        name = f"{path.parent.name}/" if path.stem in ("__init__", "__main__") else path.name
        assert re.search(rf"\b{re.escape(name)}", tree), path


def test_the_package_has_all_pages() -> None:
    listed = (ROOT / "debian" / "docs").read_text().splitlines()
    assert not {str(page.relative_to(ROOT)) for page in PAGES} - {"ARCHITECTURE.md", "RELEASING.md", *listed}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_is_longer_than_debian_s_checker_allows(page: Path) -> None:
    """lintian, which is only asked once a package is built, complains of lines of over 512 bytes with their ends."""
    assert max(map(len, page.read_bytes().splitlines(keepends=True))) <= 512


def test_readme_is_short() -> None:
    assert len(README.split()) <= 1100
    (configuration,) = re.findall(r"^```yaml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert len(configuration.splitlines()) == 10


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without the line below its head."""
    text = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith("|")]
    return [row for row in rows if not set("".join(row)) <= set("-: ")]


def test_the_table_in_readme_is_that_of_the_other_pages() -> None:
    shown = {row[0]: row[1:] for row in table(README, "Beside other servers")}
    verdicts = table((ROOT / "docs" / "conformance.md").read_text(), "The verdicts")
    servers = list(zip(*verdicts, strict=True))[4:]  # each its name, and its verdicts
    assert shown[""] == ["fingerd", *(name for name, *_ in servers[1:])]
    assert shown["clauses of RFC 1288 that fail"] == [str(column.count("**fails**")) for column in servers]
    (silent,) = (row for row in verdicts if row[3] == "silent clients are closed")
    assert shown["closes silent clients"] == ["yes" if verdict == "ok" else "no" for verdict in silent[4:]]
    speeds = {row[0]: row[1].split()[0] for row in table((ROOT / "bench" / "RESULTS.md").read_text(), SPEEDS)}
    measured = ("ours", "Debian's", "efingerd", "cfingerd", "pyfingerd", "Twisted")
    assert shown["queries a second, 50 clients"] == [speeds.get(name, "") for name in measured]


def test_readme_names_both_commands() -> None:
    assert "\nmake run\n" in README
    assert "\nmake test\n" in README


def test_the_page_for_developers_names_every_target() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "test" in targets
    named = re.findall(r"`make ([a-z-]+)`", (ROOT / "docs" / "develop.md").read_text())
    assert set(targets) - {"help"} == set(named)


def test_every_test_and_attack_that_security_names_exists() -> None:
    """A test is named by its module, or by ``::`` alone where it is in the module before."""
    text = (ROOT / "SECURITY.md").read_text()
    missing, module = [], ""
    for path, name in re.findall(r"`([a-z0-9_/]*(?:\.py)?)::(test_[a-z0-9_]+)`", text):
        module = path or module
        if not re.search(rf"^def {name}\(", (ROOT / "tests" / module).read_text(), re.MULTILINE):
            missing.append(f"{module}::{name}")
    assert not missing
    known = {attack.name for attack in ATTACKS} | {kind.name for kind in KINDS}
    named = [name.strip() for names in re.findall(r"make soak: ([a-z, -]+?) \|", text) for name in names.split(",")]
    assert named
    assert not set(named) - known


def test_every_module_that_security_names_exists() -> None:
    """In brackets, as a path below fingerd/ or the root directory."""
    cells = re.findall(r"\[(`[^\]]+`)\] ?(?:[|,;.]|$)", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    names = {name for cell in cells for name in re.findall(r"`([a-z0-9_]+[a-z0-9_/.-]{2,})`", cell)}
    assert len(names) > 50
    missing = [n for n in names if not any((ROOT / p).exists() for p in (n, f"fingerd/{n}", f"fingerd/{n}.py"))]
    assert not missing
