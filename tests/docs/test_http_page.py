"""docs/http.md: each command on it prints what the page says, on a machine with what ``make run`` serves."""

import re
import sys
from pathlib import Path

import pytest

from tests.helpers.daemons import EXAMPLES, ROOT, Daemon, Machine
from tests.helpers.requirements import needs

PAGE = (ROOT / "docs" / "http.md").read_text()
COMMANDS = re.findall(r"^    \$ ((?:.*\\\n)*.*)\n((?:(?:    (?!\$).*)?\n)*)", PAGE, re.MULTILINE)


def lines_of(text: str) -> list[str]:
    """The lines, without blanks at their ends, and without empty lines around them."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]


@pytest.mark.root
@needs("namespaces", "ip", "curl", "jq", "lynx", "w3m")
def test_the_page_shows_what_is_printed(host: Machine, tmp_path: Path) -> None:
    pyfinger = tmp_path / "pyfinger"
    pyfinger.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m fingerd.client "$@"\n')
    pyfinger.chmod(0o755)
    assert len(COMMANDS) > 10
    daemon = Daemon(EXAMPLES / "demo.yaml", inside=host.inside)
    try:
        for command, shown in COMMANDS:
            script = f"export LC_ALL=C.UTF-8 PATH={tmp_path}:$PATH; {command}"
            done = host.run("bash", "-e", "-o", "pipefail", "-c", script)
            assert (done.returncode, done.stderr) == (0, ""), command
            assert lines_of(done.stdout) == [line.removeprefix("    ") for line in lines_of(shown)], command
    finally:
        daemon.stop()


def test_the_page_quotes_the_recipes() -> None:
    """Line by line, as far as there are blocks of the servers' configurations on it."""
    files = {"nginx": "nginx.conf", "apache": "apache.conf", "caddy": "Caddyfile"}
    blocks = re.findall(r"^```(nginx|apache|caddy)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == set(files)
    for language, block in blocks:
        lines = [line.strip() for line in (EXAMPLES / "http" / files[language]).read_text().splitlines()]
        for line in map(str.strip, block.splitlines()):
            assert line in lines
    unit = (EXAMPLES / "http" / "fingerd-http.socket").read_text()
    commands = re.findall(r"^    ((?:install|systemctl) .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert f"#     {command.replace('examples/http/', '')}\n" in unit


def test_the_configuration_on_the_page_is_in_the_example() -> None:
    block = re.findall(r"^```yaml\n(http:\n  listen:\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
    example = [line.partition("#")[0].strip() for line in (EXAMPLES / "http.yaml").read_text().splitlines()]
    for line in block.splitlines():
        assert line.strip() in example
