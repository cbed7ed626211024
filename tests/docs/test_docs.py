"""What the documentation says is so: its configurations load, its links lead somewhere, its tables are whole."""

import re
from pathlib import Path

import pytest

from fingerd.backends import backend_names
from fingerd.settings import load_config
from tests.helpers.daemons import ROOT
from tests.soak.attacks.catalogue import ATTACKS
from tests.soak.client_kinds import KINDS

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


def test_readme_names_both_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make run" in readme
    assert "make test" in readme


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
