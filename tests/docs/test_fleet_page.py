"""docs/fleet.md: what it quotes is in the recipes that the tests start, and its commands are theirs."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from fingerd.client.cli import parse
from fingerd.client.target import read_target
from tests.helpers.daemons import EXAMPLES, ROOT
from tests.helpers.requirements import find, needs

RECIPES = EXAMPLES / "fleet"
PAGE = (ROOT / "docs" / "fleet.md").read_text()
FILES = {"haproxy": ("haproxy.cfg", "haproxy-tls.cfg", "haproxy-health.cfg"), "stunnel": ("stunnel.conf",)}


def lines_of(path: Path) -> list[str]:
    """The lines of a configuration, without comments of lines of their own."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip()[:1] not in ("#", ";", "")]


def blocks(language: str) -> list[str]:
    """What the page quotes in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("language", FILES)
def test_the_page_quotes_the_recipes(language: str) -> None:
    recipes = [lines_of(RECIPES / name) for name in FILES[language]]
    assert blocks(language)
    for block in blocks(language):
        lines = [line.strip() for line in block.splitlines() if line]
        assert any(set(lines) <= set(recipe) for recipe in recipes), block


def test_the_configurations_on_the_page_are_those_of_fingerd_s_recipes() -> None:
    recipes = [yaml.safe_load((RECIPES / name).read_text()) for name in ("fingerd.yaml", "tls.yaml", "processes.yaml")]
    for block in blocks("ya?ml"):  # yml: it names a file that is not everywhere, so it is not loaded as the others are
        ((key, value),) = yaml.safe_load(block).items()
        assert value in [recipe[key] for recipe in recipes]


def test_every_recipe_is_on_the_page() -> None:
    for path in RECIPES.iterdir():
        assert f"examples/fleet/{path.name}" in PAGE or path.suffix == ".yml", path.name


def test_each_recipe_is_installed_as_the_page_says() -> None:
    named = [
        path for path in RECIPES.iterdir() if path.suffix in (".cfg", ".conf", ".socket") or path.stem == "processes"
    ]
    commands = {line.strip() for line in re.findall(r"^    (?:cat|install|systemctl) .*$", PAGE, re.MULTILINE)}
    for path in named:
        told = re.findall(r"^[#;]     (.*)$", path.read_text(), re.MULTILINE)
        assert told
        for command in told:
            assert command.replace(path.name, f"examples/fleet/{path.name}", 1) in commands or command in commands


def test_the_commands_of_pyfinger_are_valid() -> None:
    commands = re.findall(r"^    pyfinger (.*)$", PAGE, re.MULTILINE)
    assert commands
    for command in commands:
        arguments = parse(shlex.split(command))
        assert arguments.tls
        for target in arguments.targets:
            read_target(target)


@needs("haproxy", "openssl")
@pytest.mark.parametrize("name", FILES["haproxy"])
def test_haproxy_finds_nothing_to_say_of_its_recipes(name: str, tmp_path: Path) -> None:
    pem = tmp_path / "finger.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*make, "-subj", "/CN=x", "-keyout", pem, "-out", tmp_path / "c"], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + (tmp_path / "c").read_bytes())
    config = tmp_path / name
    config.write_text((RECIPES / name).read_text().replace("/etc/haproxy/finger.pem", str(pem)))
    program = find("haproxy")
    assert program
    done = subprocess.run([program, "-c", "-L", "lb1", "-f", str(config)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "`balance leastconn`" in PAGE
    config.write_text(re.sub(r"balance hash .*\n *hash-type .*", "balance leastconn", config.read_text()))
    alone = subprocess.run([program, "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert alone.returncode == 0
    assert ("no peer named" in alone.stderr) is (name == "haproxy.cfg")
