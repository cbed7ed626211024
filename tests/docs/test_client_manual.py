"""The manual page and the completions of pyfinger: every option, no other, with the real defaults."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from fingerd.client import cli as client
from fingerd.client.cli import EPILOG, parse, parser
from fingerd.client.target import read_target
from tests.docs.test_manual import BLOCK, heading, prose, section
from tests.helpers.daemons import ROOT
from tests.helpers.requirements import needs

PAGE = (ROOT / "man" / "pyfinger.1.scd").read_text()
BASH, ZSH = ROOT / "completion" / "pyfinger.bash", ROOT / "completion" / "_pyfinger"
ACTIONS = [action for action in parser()._actions if action.option_strings]
OPTIONS = {option: action for action in ACTIONS for option in action.option_strings}


def entry(option: str) -> str:
    """The description of an option, as one line."""
    return " ".join(section(PAGE, "OPTIONS").partition(f"{heading(OPTIONS[option])}\n")[2].partition("\n\n")[0].split())


def test_the_page_describes_every_option_and_no_other() -> None:
    described = re.findall(r"^(\*-.*)\n\t", section(PAGE, "OPTIONS"), re.MULTILINE)
    assert sorted(described) == sorted(map(heading, ACTIONS))
    assert set(re.findall(r"\*(-[a-z0-9-]+)\*", prose(PAGE))) <= OPTIONS.keys()


def test_the_synopsis_has_every_option_but_help_and_version() -> None:
    named = set(re.findall(r"\*(-[a-z0-9-]+)\*", section(PAGE, "SYNOPSIS")))
    for action in ACTIONS:
        assert bool(named & set(action.option_strings)) != (action.dest in ("help", "version")), action.dest


def test_every_command_on_the_page_is_valid() -> None:
    commands = [line for block in BLOCK.findall(PAGE) for line in block.splitlines()]
    assert commands
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "pyfinger"
        for target in parse(arguments).targets:
            read_target(target)


NUMBERS = {
    "--port": (client.PORT, "1", "65535", "0", "65536"),
    "--timeout": (client.SECONDS, "0.1", "86400", "0.09", "86401"),
    "--max-bytes": (client.MAX_BYTES, "1", "1073741824", "0", "1073741825"),
}


@pytest.mark.parametrize(("option", "numbers"), NUMBERS.items(), ids=NUMBERS)
def test_defaults_and_ranges_are_the_real_ones(option: str, numbers: tuple[float, str, str, str, str]) -> None:
    default, minimum, maximum, *outside = numbers
    assert f"From {minimum} to {maximum}. The default is {default:.10g}." in entry(option)
    assert OPTIONS[option].default == default
    for number in (minimum, maximum):
        parser().parse_args([option, number])
    for number in outside:
        with pytest.raises(SystemExit):
            parser().parse_args([option, number])


def test_the_exit_codes_are_those_of_the_help() -> None:
    codes = re.findall(r"^\*(\d+)\*$", section(PAGE, "EXIT STATUS"), re.MULTILINE)
    codes_in_help = EPILOG.partition("exit codes:")[2].partition("environment:")[0]
    assert codes == re.findall(r"(?:^  |; |  )(\d+) ", codes_in_help, re.MULTILINE)


def test_the_environment_is_what_the_code_reads() -> None:
    read = set(re.findall(r'environ\.get\("(\w+)"', (ROOT / "fingerd" / "client" / "cli.py").read_text()))
    assert read
    assert set(re.findall(r"\*([A-Z_]+)\*", section(PAGE, "ENVIRONMENT"))) == read | {"LC_ALL", "LC_CTYPE", "LANG"}
    for name in read:
        assert name in EPILOG


def test_the_forms_of_targets_on_the_page_are_targets() -> None:
    forms = re.findall(r"^(?=\S)(.*)\n\t", section(PAGE, "TARGETS"), re.MULTILINE)
    written = [form for line in forms for form in line.split(", ")]
    assert len(written) == 6
    for form in written:
        plain = form.replace("_", "").replace(":port", ":79")
        read_target(plain.replace("[", "").replace("]", ""))


# The completions


def completions(*words: str) -> set[str]:
    """What bash completes the last word to."""
    script = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pyfinger; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", script, "-", str(BASH), "pyfinger", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def test_bash_completes_every_option_and_no_other() -> None:
    assert completions("") == OPTIONS.keys()
    assert completions("-l", "--ip") == {"--ipv4", "--ipv6"}
    for option, action in OPTIONS.items():
        assert ("--version" in completions(option, "")) != (action.nargs is None), option


def test_bash_completes_hosts_and_ports() -> None:
    assert "@localhost" in completions("bob", "@")
    assert "localhost" in completions("bob", "@", "local")
    assert completions("-p", "10") == {"1079"}


def test_bash_completes_the_command_pyfinger() -> None:
    script = f". {shlex.quote(str(BASH))}; complete -p pyfinger"
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "complete -F _pyfinger pyfinger\n"


@needs("zsh")
def test_zsh_parses_its_completion() -> None:
    assert ZSH.read_text().startswith("#compdef pyfinger\n")
    stub = f'_arguments() {{ print -rl -- "$@" }}; . {shlex.quote(str(ZSH))}'
    done = subprocess.run(["zsh", "-f", "-c", stub], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    specs = [line for line in done.stdout.splitlines() if "[" in line]
    found = [re.fullmatch(r"(?:\([^)]*\))?(--?[a-z0-9-]+)([+=]?)\[[^]]+\](:[^:]+:.+)?", spec) for spec in specs]
    assert len(found) == len(specs)
    assert {match[1]: (bool(match[2]), bool(match[3])) for match in found if match} == {
        option: (action.nargs is None,) * 2 for option, action in OPTIONS.items()
    }


def test_the_debian_package_installs_all_of_it() -> None:
    debian = ROOT / "debian"
    for name, line in {
        "fingerd.manpages": "debian/pyfinger.1",
        "clean": "debian/pyfinger.1",
        "fingerd.bash-completion": "completion/pyfinger.bash pyfinger",
        "install": "completion/_pyfinger usr/share/zsh/vendor-completions",
    }.items():
        assert line in Path(debian / name).read_text().splitlines()
