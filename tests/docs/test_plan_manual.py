"""The manual page, the completions and the page about fingerd-plan: every command and option, no other."""

import argparse
import re
import shlex
import subprocess

import pytest

from fingerd.backends.system.homes import FILE_ATOMS
from fingerd.people import TEXT_ATOMS
from fingerd.plans.cli import DEFAULT_CONFIG, EPILOG, parser
from fingerd.plans.commands import STRANGER
from fingerd.plans.forced import ALLOWED, VARIABLE
from tests.docs.test_manual import BLOCK, heading, prose, section
from tests.helpers.daemons import ROOT
from tests.helpers.requirements import needs

PAGE = (ROOT / "man" / "fingerd-plan.1.scd").read_text()
GUIDE = (ROOT / "docs" / "plans.md").read_text()
BASH, ZSH = ROOT / "completion" / "fingerd-plan.bash", ROOT / "completion" / "_fingerd-plan"
ACTIONS = [action for action in parser()._actions if action.option_strings]
OPTIONS = {option: action for action in ACTIONS for option in action.option_strings}
(_CHOICES,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
COMMANDS: dict[str, argparse.ArgumentParser] = dict(_CHOICES or {})
(_ACTIONS,) = (
    action.choices for action in COMMANDS["token"]._actions if isinstance(action, argparse._SubParsersAction)
)
WHOLE = {name: command for name, command in COMMANDS.items() if name != "token"}
WHOLE |= {f"token {name}": action for name, action in dict(_ACTIONS or {}).items()}


def words(command: str) -> list[str]:
    """The words after a command, as the page has them."""
    found = []
    for action in WHOLE[command]._actions:
        if action.option_strings and action.dest != "help":
            found.append(f"[*{action.option_strings[0]}* _{action.metavar}_]")
        elif not action.option_strings:
            word = f"_{action.metavar}_"
            found.append(f"[{word}]" if action.nargs == "?" else word)
    return found


def test_the_page_describes_every_command_and_no_other() -> None:
    described = re.findall(r"^(\*\w+(?: \w+)?\*.*)\n\t", section(PAGE, "COMMANDS"), re.MULTILINE)
    assert described == [" ".join((f"*{command}*", *words(command))) for command in WHOLE]


def test_the_page_describes_every_option_and_no_other() -> None:
    described = re.findall(r"^(\*-.*)\n\t", section(PAGE, "OPTIONS"), re.MULTILINE)
    assert sorted(described) == sorted(map(heading, ACTIONS))
    assert set(re.findall(r"\*(-[a-z-]+)\*", prose(PAGE))) <= OPTIONS.keys() | {"--from"}
    assert f"The default is _{DEFAULT_CONFIG}_." in PAGE
    assert f"is {STRANGER}, an address" in " ".join(PAGE.split())


def test_the_fields_are_those_that_the_daemon_reads() -> None:
    of_people, of_accounts = (
        set(re.findall(r"\w+", found)) for found in re.findall(r": ([\w, \n]+?)\.", section(PAGE, "FIELDS"))[:2]
    )
    assert of_people == set(TEXT_ATOMS)
    assert of_accounts == set(FILE_ATOMS)
    assert set(re.findall(r"`(\w+)`", GUIDE.partition("fields are those")[2].partition(". With")[0])) == {*TEXT_ATOMS}


def test_the_commands_of_a_forced_command_are_named() -> None:
    named = section(PAGE, "SSH").partition("may then use")[2].partition("The\n")[0]
    assert re.findall(r"\*(\w+)\*", named) == list(ALLOWED)
    allowed = re.findall(
        r"`([^`]+)`", GUIDE.partition("    ssh fingerd-plan@HOST hide\n")[2].partition(" are allowed")[0]
    )
    assert allowed == [" ".join((name, *rest)) for name, rest in ALLOWED.items()]


def test_the_exit_codes_are_those_of_the_help() -> None:
    codes = re.findall(r"^\*(\d+)\*$", section(PAGE, "EXIT STATUS"), re.MULTILINE)
    in_help = re.findall(r"(?:^  |; )(\d+) ", EPILOG.partition("environment:")[0], re.MULTILINE)
    assert codes == [*in_help, "130", "141"]


def test_the_environment_is_that_of_the_help() -> None:
    names = ["VISUAL", "EDITOR", "TMPDIR", VARIABLE]
    assert re.findall(r"\*([A-Z_]+)\*", section(PAGE, "ENVIRONMENT")) == names
    assert re.findall(r"\b[A-Z_]{5,}\b", EPILOG.partition("environment:")[2]) == names


@pytest.mark.parametrize("page", ["".join(BLOCK.findall(PAGE)), GUIDE], ids=["page", "guide"])
def test_every_command_on_the_pages_is_valid(page: str) -> None:
    commands = re.findall(r'^(?:    )?(?:.*(?:\| |="))?(fingerd-plan [^"<#|\n]*)', page, re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        parser().parse_args(shlex.split(command)[1:])
    for command in re.findall(r"^    ssh fingerd-plan@HOST (.*?)(?: <.*)?$", page, re.MULTILINE):
        name, *rest = shlex.split(*shlex.split(command) if command.startswith('"') else [command])
        assert len(rest) == len(ALLOWED[name]) or ALLOWED[name][len(rest)].startswith("[")


# The completions


def completions(*words: str) -> set[str]:
    """What bash completes the last word to."""
    script = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fingerd_plan; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", script, "-", str(BASH), "fingerd-plan", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def test_bash_completes_every_command_and_option_and_no_other() -> None:
    assert completions("") == OPTIONS.keys() | COMMANDS.keys()
    assert completions("-c", "x.yaml", "--as", "zoe", "un") == {"unhide"}
    for command in ("show", "put", "remove"):
        assert completions(command, "") == {*TEXT_ATOMS, *FILE_ATOMS}
    assert completions("--as", "show", "clear", "") == set()
    assert completions("token", "") == {"-h", "--help", *(name.partition(" ")[2] for name in WHOLE if " " in name)}
    assert completions("preview", "") == {"-h", "--help", "--from"}
    assert STRANGER in completions("preview", "--from", "")
    assert "README.md" in completions("set", "READ")
    assert "README.md" in completions("-c", "READ")
    assert "root" in completions("--as", "roo")


@needs("zsh")
def test_zsh_parses_its_completion() -> None:
    assert ZSH.read_text().startswith("#compdef fingerd-plan\n")
    stub = f'_arguments() {{ print -rl -- "$@" $commands $fields }}; f() {{ . {shlex.quote(str(ZSH))} }}; f'
    done = subprocess.run(["zsh", "-f", "-c", stub], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    options = {match[1] for line in lines if (match := re.match(r"(?:\([^)]*\))?(--?[a-z-]+)[+=]?\[", line))}
    assert options == OPTIONS.keys()
    assert [line.partition(":")[0] for line in lines if re.match(r"[a-z]+:[a-z]", line)] == list(COMMANDS)
    assert {*TEXT_ATOMS, *FILE_ATOMS} <= set(lines)


def test_the_debian_package_installs_all_of_it() -> None:
    debian = ROOT / "debian"
    for name, line in {
        "fingerd.manpages": "debian/fingerd-plan.1",
        "clean": "debian/fingerd-plan.1",
        "fingerd.bash-completion": "completion/fingerd-plan.bash fingerd-plan",
        "install": "completion/_fingerd-plan usr/share/zsh/vendor-completions",
        "docs": "docs/plans.md",
    }.items():
        assert line in (debian / name).read_text().splitlines()
    assert "scdoc < man/fingerd-plan.1.scd > debian/fingerd-plan.1" in (debian / "rules").read_text()
