"""The packages that tests need are the same wherever they are named, and a skip names those that are missing."""

import configparser
import re

import pytest

from fingerd.backends import EXTRAS
from tests.deb import fresh
from tests.helpers.daemons import ROOT
from tests.helpers.requirements import PACKAGES, RIGHTS, find, lacking, summary

DEVELOP = (ROOT / "docs" / "develop.md").read_text()
INSTALL = (ROOT / "docs" / "install.md").read_text()


def test_the_page_installs_all_that_tests_use() -> None:
    (command,) = re.findall(r"^apt install --no-install-recommends (.*)$", DEVELOP, re.MULTILINE)
    assert command.split() == sorted(set(PACKAGES.values()))


def test_the_minimal_system_has_what_the_page_names() -> None:
    (named,) = re.findall(r"On Debian both `make run` and `make test` need the packages (.*?);", DEVELOP)
    assert sorted(re.findall(r"`([^`]+)`", named)) == sorted(fresh.PACKAGES)
    assert f"`apt install git {' '.join(sorted(fresh.PACKAGES))}`" in (ROOT / "README.md").read_text()


def test_the_continuous_integration_installs_the_same() -> None:
    lists = re.findall(r"^packages\+?=\((.*)\)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    for_tests, *others = (names.split() for names in lists)
    assert for_tests == sorted({*PACKAGES.values(), *fresh.PACKAGES})
    for package in (name for names in others for name in names):
        assert f"`{package}`" in DEVELOP + INSTALL


def test_a_reason_names_the_package_of_each_missing_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.helpers.requirements.FOLDERS", ())
    monkeypatch.setenv("PATH", "/nowhere")
    assert find("ip") is None
    assert lacking() == ""
    assert lacking("scdoc", "man") == "needs scdoc and man (Debian: apt install man-db scdoc)"


def test_the_summary_says_what_to_install_and_which_right_is_missing() -> None:
    one, two = "needs ip (Debian: apt install iproute2)", "needs slapd and ip (Debian: apt install iproute2 slapd)"
    both = f"needs {RIGHTS['namespaces']} and lynx (Debian: apt install lynx)"
    assert summary([one, "needs the network", two, "needs root", both, both]) == [
        "2 tests were skipped for programs that are missing here. On Debian:",
        "    apt install iproute2 slapd",
        "1 test was skipped without root.",
        f"2 tests were skipped without {RIGHTS['namespaces']}.",
    ]
    assert summary(["needs IPv6 on loopback"]) == []


def test_a_hint_names_packages_that_pip_finds() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = {
        name: re.findall(r"^[\w-]+", text, re.MULTILINE) for name, text in config["options.extras_require"].items()
    }
    assert {name: [package] for name, (package, _) in EXTRAS.items()} == {name: extras[name] for name in EXTRAS}
    assert "psycopg2-binary" in extras["postgresql"]
    folders = (ROOT / folder for folder in ("fingerd", "docs", "man", "examples", "etc"))
    files = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".png"}
    ]
    for path in (*files, *ROOT.glob("*.md"), ROOT / "CHANGES", *(ROOT / "debian").glob("[NR]*")):
        assert not re.search(r"pip install '?fingerd", path.read_text()), path  # PyPI has no fingerd of ours
