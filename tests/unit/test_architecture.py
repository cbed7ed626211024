"""The code keeps to ARCHITECTURE.md: imports go downward and not round, and folders and modules stay readable."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.helpers.daemons import ROOT

PACKAGE = ROOT / "fingerd"
FOLDER_MODULES = 20  # at most, in one folder
MODULE_LINES = 300  # at most, in one module

TOP = ("__init__", "__main__")  # the library's face and ``python -m fingerd``: these may import everything
APART = {"client": {"protocol", "net", "text", "errors"}, "conformance": set[str]()}

# What does not keep to it yet. Entries are only ever removed.
EXCEPTIONS: set[str] = set()

ROW = re.compile(r"^\| (\d+) \| (.+) \|$", re.MULTILINE)


def layers() -> dict[str, int]:
    """The table of ARCHITECTURE.md: each package with its layer."""
    section = (ROOT / "ARCHITECTURE.md").read_text().partition("\n## The layers\n")[2].partition("\n## ")[0]
    rows = ROW.findall(section)
    return {name: int(number) for number, names in rows for name in re.findall(r"`(\w+)`", names)}


def modules() -> dict[str, Path]:
    """Every module of the program by its name, without ``fingerd.``; a package by its own."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """The modules of the program that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix("fingerd.") in MODULES else node.module for name in inner]
        else:
            continue
        found |= {name.removeprefix("fingerd.") for name in names if name.split(".")[0] == "fingerd"}
    return {"__init__" if name == "fingerd" else name for name in found}


GRAPH = {name: imports(path) for name, path in MODULES.items()}


def wrong_directions() -> Iterator[str]:
    """Imports that do not go downward, and modules of which ARCHITECTURE.md does not say where they belong."""
    table = layers()
    for name, used in GRAPH.items():
        package = name.split(".")[0]
        if package not in table and package not in (*TOP, *APART):
            yield f"{name}: in no layer"
            continue
        for other in used:
            below = other.split(".")[0]
            if below == package or package in TOP or other == "__init__":
                continue
            allowed = below in APART[package] if package in APART else table.get(below, 99) < table[package]
            if not allowed:
                yield f"{name} imports {other}"


def imports_between_backends() -> Iterator[str]:
    """Backends know the protocol of all backends, and their own modules; nothing of each other."""
    for name, used in GRAPH.items():
        parts = name.split(".")
        if parts[0] == "backends" and len(parts) > 1:
            others = (other for other in used if other.startswith("backends."))
            yield from (f"{name} imports {other}" for other in others if other.split(".")[1] != parts[1])


def imports_in_functions() -> Iterator[str]:
    """Imports that run late: in a chroot they fail."""
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node)
            ):
                yield f"{name}.{node.name} imports"


def too_large() -> Iterator[str]:
    """Folders with too many modules, and modules with too many lines."""
    for folder, number in Counter(path.parent for path in MODULES.values()).items():
        if number > FOLDER_MODULES:
            yield f"{folder.relative_to(ROOT)}: too many modules"
    for name, path in MODULES.items():
        if len(path.read_text().splitlines()) > MODULE_LINES:
            yield f"{name}: too many lines"


def missing_packages() -> Iterator[str]:
    """Packages that ARCHITECTURE.md tells of and that are not there."""
    packages = {name.split(".")[0] for name in MODULES}
    yield from (f"{name}: no such package" for name in layers() if name not in packages)


def test_the_code_keeps_to_the_architecture() -> None:
    found = {
        *wrong_directions(),
        *imports_between_backends(),
        *imports_in_functions(),
        *too_large(),
        *missing_packages(),
    }
    assert found == EXCEPTIONS


def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        raise AssertionError(" → ".join(error.args[1])) from None
