"""docs/container.md: its options are those that are tested, its files those of the image."""

import re

import pytest

from tests.container.conftest import RIGHTS
from tests.container.podman import PROGRAMS
from tests.helpers.daemons import ROOT

PAGE = (ROOT / "docs" / "container.md").read_text()
CONTAINERFILE = (ROOT / "Containerfile").read_text()
CI = (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    "option", [*RIGHTS, "--sysctl=net.ipv4.ip_unprivileged_port_start=79", "--env=FINGERD_PORT=1079"]
)
def test_the_page_has_the_options_that_the_checks_use(option: str) -> None:
    assert option in PAGE


def test_the_image_is_made_as_the_page_says() -> None:
    assert re.findall("^FROM (.*)$", CONTAINERFILE, re.MULTILINE) == ["debian:bookworm-slim"]
    assert re.findall("^USER (.*)$", CONTAINERFILE, re.MULTILINE) == ["fingerd"]
    assert re.findall("^EXPOSE (.*)$", CONTAINERFILE, re.MULTILINE) == ["79/tcp 8079/tcp"]
    assert "pyfinger" in CONTAINERFILE.partition("HEALTHCHECK")[2]
    assert set(re.findall(r"--publish (\d+):\1", PAGE)) == {"79", "8079"}
    (libraries,) = re.findall(r"--no-install-recommends (.*) /mnt", CONTAINERFILE)
    assert libraries.split() == ["systemd-standalone-sysusers", "python3-h11", "python3-jinja2"]


def test_the_packages_that_the_checks_need_are_named_and_installed() -> None:
    (named,) = re.findall(r"it needs the packages (.*?)\. ", PAGE.replace("\n", " "))
    packages = re.findall("`(.*?)`", named)
    assert packages == sorted({*PROGRAMS.values(), "python3-pytest"} - {"util-linux"})
    for package in packages:
        assert re.search(rf"\b{re.escape(package)}\b", CI), package
