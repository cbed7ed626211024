"""The manual pages and the completions: every option and key, no others, with the real defaults."""

import argparse
import dataclasses
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import pytest

from fingerd.backends import backend_names, distribution_of, load_type
from fingerd.backends.command import _ENVIRONMENT
from fingerd.config.document import read_documents
from fingerd.config.file_time import is_option
from fingerd.config.schema import Reader
from fingerd.config.values import Integer, Seconds, Size, describe
from fingerd.daemon.cli import DEFAULT_CONFIG, EPILOG, main, parser
from fingerd.http.routes import ROUTES
from fingerd.listen_option import AddressOptions, SystemdSocket
from fingerd.log.format import Access, access_text
from fingerd.log.writer import Log
from fingerd.plans.web.routes import ROUTES as PLAN_ROUTES
from fingerd.protocol import reply
from fingerd.ruip.report import EMPTY_LIST_TEXT
from fingerd.server.listeners import ListenAddress as Address
from fingerd.server.listeners import UnixAddress, parse_listen
from fingerd.settings import Process, Settings, load_config
from tests.helpers.daemons import ROOT
from tests.helpers.requirements import needs

PAGES = ("fingerd.8.scd", "fingerd.yaml.5.scd")
COMMAND, FILE = ((ROOT / "man" / name).read_text() for name in PAGES)
BASH, ZSH = ROOT / "completion" / "fingerd.bash", ROOT / "completion" / "_fingerd"
BLOCK = re.compile(r"^```\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
ACTIONS = parser()._actions
OPTIONS = {option: action for action in ACTIONS for option in action.option_strings}
SECTIONS = get_type_hints(Settings, include_extras=True)
OUR_BACKENDS = [name for name in backend_names() if distribution_of(name) == "fingerd"]

STATED = {"log.to": "syslog"}  # None means syslog, or standard error in the foreground


class Key(NamedTuple):
    """A key of the configuration: its type, and its default or MISSING."""

    kind: Any
    default: Any


def prose(page: str) -> str:
    """The page without its literal blocks."""
    return BLOCK.sub("", page)


def section(page: str, title: str) -> str:
    """The text of a page below this heading."""
    found = re.search(rf"^# {title}\n(.*?)(?=^# |\Z)", prose(page), re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


# The command line


def heading(action: argparse.Action) -> str:
    names = ", ".join(f"*{option}*" for option in action.option_strings)
    return f"{names} _{action.metavar}_" if action.nargs is None else names


def test_the_page_describes_every_option_and_no_other() -> None:
    described = re.findall(r"^(\*-.*)\n\t", section(COMMAND, "OPTIONS"), re.MULTILINE)
    assert sorted(described) == sorted(map(heading, ACTIONS))


@pytest.mark.parametrize("page", [COMMAND, FILE], ids=PAGES)
def test_the_pages_mention_no_unknown_option(page: str) -> None:
    assert set(re.findall(r"\*(-[a-z-]+)\*", prose(page))) <= OPTIONS.keys()
    for block in BLOCK.findall(page):
        for arguments in re.findall(r"^(?:ExecStart=|ExecReload=)?(?:/usr/sbin/)?fingerd (-.*)$", block, re.MULTILINE):
            with_a_pid = re.sub(r"\$MAINPID|\$\(cat [^)]*\)", "1", arguments)
            parser().parse_args(shlex.split(with_a_pid))
    for arguments in re.findall(r"_fingerd (-[^_]*)_", prose(page)):
        parser().parse_args(shlex.split(arguments))


DEFAULTS = {
    "--config": DEFAULT_CONFIG,
    "--rundir": Process().rundir,
    "--umask": f"{Process().umask:03o}",
    "--prefix": Log().prefix,
    "--from": "127.0.0.1",
}


@pytest.mark.parametrize(("option", "default"), DEFAULTS.items(), ids=DEFAULTS)
def test_an_option_s_default_is_the_real_one(option: str, default: str) -> None:
    entry = section(COMMAND, "OPTIONS").partition(f"{heading(OPTIONS[option])}\n")[2].partition("\n\n")[0]
    assert f"The default is {default}." in " ".join(entry.replace("_", "").split())


def test_the_exit_codes_are_those_of_the_help() -> None:
    codes = re.findall(r"^\*(\d+)\*$", section(COMMAND, "EXIT STATUS"), re.MULTILINE)
    assert codes == re.findall(r"\b(\d+) ", EPILOG.partition("signals:")[0])


def test_the_environment_is_what_the_code_reads() -> None:
    read = {
        name
        for path in (ROOT / "fingerd").rglob("*.py")
        if path.parent.name != "client"  # another program
        for name in re.findall(r'environ(?:\.pop\(|\.get\(|\[)"(\w+)"', path.read_text())
    }
    described = set(re.findall(r"\*([A-Z_]+)\*", section(COMMAND, "ENVIRONMENT")))
    assert described == read | {"TZ", "TMPDIR", "LC_ALL"}
    assert _ENVIRONMENT.keys() <= described


def test_every_word_on_the_wire_is_there() -> None:
    words = {value for name, value in vars(reply).items() if name.isupper() and isinstance(value, str)}
    described = section(COMMAND, "QUERIES AND ANSWERS").replace("\\", "")
    for word in {word for word in words if " " in word.strip()} | {EMPTY_LIST_TEXT}:
        assert f"|  {word}\n" in described


def test_the_access_line_is_as_on_the_page() -> None:
    line = access_text(Access("192.0.2.7", b"/W bob\r\n", "answered", 212, 0.0004), "full", 0)
    assert f"{line}\n" in BLOCK.findall(COMMAND)


# The configuration


def mappings_in(kind: Any) -> Iterator[Any]:
    """The dataclasses whose fields are keys below an option of this type."""
    if get_origin(kind) is Annotated:
        return
    if kind == Address:
        yield UnixAddress
    elif dataclasses.is_dataclass(kind):
        yield kind
    else:
        for part in get_args(kind):
            yield from mappings_in(part)


def keys_of(kind: Any, path: str = "") -> Iterator[tuple[str, Key]]:
    """The keys that a dataclass gives, and those below them."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if is_option(field):
            name = path + field.name.rstrip("_")
            made = field.default_factory
            yield name, Key(hints[field.name], field.default if made is dataclasses.MISSING else made())
            for mapping in mappings_in(hints[field.name]):
                yield from keys_of(mapping, f"{name}.")


KEYS: dict[tuple[str, str], Key] = {
    **{("", name): key for name, key in keys_of(Settings)},
    **{("", name): key for name, key in keys_of(AddressOptions, "listen.")},
    **{("", name): key for name, key in keys_of(SystemdSocket, "listen.")},
    **{("", name): key for section in ("http", "plan") for name, key in keys_of(SystemdSocket, f"{section}.listen.")},
    ("", "backend.type"): Key(str, dataclasses.MISSING),
    **{(kind, name): key for kind in OUR_BACKENDS for name, key in keys_of(load_type(kind), "backend.")},
}
# A section beside Finger's has its proxies for all of its addresses.
KEYS = {key: value for key, value in KEYS.items() if not key[1].endswith(".listen.proxies")}


def described() -> dict[tuple[str, str], str]:
    """From the backend and the key on the page to what follows in brackets."""
    found, backend = {}, ""
    for line in prose(FILE).splitlines():
        if line.startswith("#"):
            backend = line.removeprefix("## ") if line.startswith("## ") else ""
        elif match := re.fullmatch(r"\*([a-z_.]+)\* \((.*)\)", line):
            assert (backend, match[1]) not in found
            found[backend, match[1]] = match[2]
    return found


def test_the_page_describes_every_key_and_no_other() -> None:
    assert described().keys() == KEYS.keys()


def test_the_page_has_a_heading_for_every_section_and_backend() -> None:
    for name in SECTIONS:
        assert f"*{name}* (" in section(FILE, name.upper())
    assert sorted(re.findall(r"^## (.*)$", section(FILE, "BACKEND"), re.MULTILINE)) == OUR_BACKENDS


@pytest.mark.parametrize("page", [COMMAND, FILE], ids=PAGES)
def test_the_pages_mention_no_unknown_key(page: str) -> None:
    mentioned = set(re.findall(rf"\*((?:{'|'.join(SECTIONS)})\.[a-z_.]+)\*", prose(page)))
    assert mentioned <= {name for _, name in KEYS}


def test_the_page_has_every_address_of_http_and_no_other() -> None:
    rows = re.findall(r"^\|  (/.*)$", section(FILE, "HTTP"), re.MULTILINE)
    assert [path for row in rows for path in row.split(", ")] == [route.path for route in ROUTES]


def test_the_page_has_every_address_at_which_plans_change_and_no_other() -> None:
    rows = re.findall(r"^\|  ([A-Z, ]+) (/.*)$", section(FILE, "PLAN"), re.MULTILINE)
    found = [(path, method) for methods, path in rows for method in methods.split(", ")]
    assert found == [(route.path, method) for route in PLAN_ROUTES for method in route.methods]


def read(kind: Any, text: str, directory: Path) -> Any:
    """The text of a configuration as a value of this type."""
    path = directory / "value.yaml"
    path.write_text(text)
    documents = read_documents(str(path))
    document = next(documents)
    assert document.root
    value = Reader(document, {Address: lambda _, node, __: parse_listen(node.value)}).read(document.root, kind, "")
    document.raise_problems()
    return value


def type_name(kind: Any) -> str | None:
    """The name of the type on the page; None if the page may use any."""
    if get_origin(kind) is Annotated:
        return getattr(get_args(kind)[1], "type_name", None)
    if get_origin(kind) is Literal or kind in (bool, str):
        return describe(kind)
    kinds = [part for part in get_args(kind) if part is not type(None)]
    return type_name(kinds[0]) if len(kinds) == 1 and type(None) in get_args(kind) else None


@pytest.mark.parametrize(("backend", "name"), KEYS, ids=lambda part: part or "-")
def test_a_key_s_type_default_and_range_are_the_real_ones(backend: str, name: str, tmp_path: Path) -> None:
    kind, default = KEYS[backend, name]
    name_on_page, *details = described()[backend, name].split("; ")
    assert type_name(kind) in (name_on_page, None)
    if default is not dataclasses.MISSING and dataclasses.is_dataclass(kind):
        assert (name_on_page, details) == ("mapping", [])
        return
    stated = details[0].removeprefix("default ")
    if default is dataclasses.MISSING:
        assert stated == "required"
    elif stated == "none":
        assert not default
    else:
        assert read(kind, stated, tmp_path) == (STATED[name] if default is None else default)
    converter = get_args(kind)[1] if get_origin(kind) is Annotated else None
    if isinstance(converter, Size | Seconds | Integer):
        minimum, maximum = re.findall(r"[\w.]+", details[1].removeprefix("from ").replace(" to ", " "))
        assert (read(kind, minimum, tmp_path), read(kind, maximum, tmp_path)) == (converter.minimum, converter.maximum)
    assert len(details) == (2 if isinstance(converter, Size | Seconds | Integer) else 1)


def test_every_configuration_on_the_page_is_valid_and_the_problems_are_as_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, story = tmp_path / "people.yaml", tmp_path / "lighthouse.toml"
    story.touch()
    others = []
    for block in BLOCK.findall(FILE):
        if block.partition(":")[0] not in SECTIONS:
            others.append(block)
            continue
        whole = block if "backend:" in block else f"{block}\nbackend: {{type: empty}}\n"
        whole = re.sub("(?<=user: )fingerd|(?<=group: )(adm|www-data)", "0", whole)
        path.write_text(whole.replace("/srv/finger/lighthouse.toml", str(story)))
        load_config(str(path))
    broken, problems = others
    path.write_text(broken)
    assert main(["-c", "people.yaml", "--check"]) == 78
    assert capsys.readouterr().err == problems


# Rendering


@needs("scdoc", "man")
@pytest.mark.parametrize("name", [*PAGES, "fingerd-plan.1.scd", "pyfinger.1.scd"])
def test_the_pages_are_rendered_without_warnings(name: str, tmp_path: Path) -> None:
    page = tmp_path / name.removesuffix(".scd")
    text = (ROOT / "man" / name).read_bytes()
    page.write_bytes(subprocess.run(["scdoc"], input=text, capture_output=True, check=True).stdout)
    environment = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "80"}
    shown = subprocess.run(
        ["man", "--warnings", "-l", page], capture_output=True, text=True, env=environment, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert re.search(r"^NAME\n +(fingerd|pyfinger)", shown.stdout, re.MULTILINE)
    assert "```" not in shown.stdout


# The completions


def completions(directory: Path, *words: str) -> set[str]:
    """What bash completes the last word to, in this directory."""
    script = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fingerd; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", script, "-", str(BASH), "fingerd", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=directory)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def test_bash_completes_every_option_and_no_other(tmp_path: Path) -> None:
    assert completions(tmp_path, "") == OPTIONS.keys()
    assert completions(tmp_path, "-n", "--c") == {"--config", "--chroot", "--check"}
    for option, action in OPTIONS.items():
        wants_argument = action.nargs is None
        assert ("--version" in completions(tmp_path, option, "")) != wants_argument, option


def test_bash_completes_the_arguments_of_options(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "just people.yaml").touch()
    for option in ("-c", "--config", "-l", "--logfile", "--pidfile", "-nc"):
        assert completions(tmp_path, option, "ju") == {"just people.yaml"}
        assert completions(tmp_path, option, "j") == {"just people.yaml", "jobs"}
    for option in ("--chroot", "--rundir"):
        assert completions(tmp_path, option, "") == {"jobs"}
    assert completions(tmp_path, "--config", "=") == {"just people.yaml", "jobs"}
    assert completions(tmp_path, "--config", "=", "jo") == {"jobs"}
    assert "root" in completions(tmp_path, "--uid", "roo")
    assert "root" in completions(tmp_path, "--gid", "roo")
    script = "printf fingerd > /proc/$$/comm && echo && read line"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as named:
        assert named.stdout
        named.stdout.readline()
        assert str(named.pid) in completions(tmp_path, "--reload", "")
        named.communicate()
    assert completions(tmp_path, "--query", "bob", "--from", "") == {"127.0.0.1", "unix"}


def test_bash_completes_the_command_fingerd() -> None:
    script = f". {shlex.quote(str(BASH))}; complete -p fingerd"
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "complete -F _fingerd fingerd\n"


def test_zsh_completes_every_option_and_no_other() -> None:
    lines = ZSH.read_text().splitlines()
    assert lines[0] == "#compdef fingerd"
    named = re.findall(r"(?<![\w-])--?[a-z]+", "\n".join(line for line in lines if line.startswith("  ")))
    assert set(named) - {"-"} == OPTIONS.keys()


@needs("zsh")
def test_zsh_parses_its_completion() -> None:
    stub = f'_arguments() {{ print -rl -- "$@" }}; . {shlex.quote(str(ZSH))}'
    done = subprocess.run(["zsh", "-f", "-c", stub], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    specs = [line for line in done.stdout.splitlines() if "[" in line]
    found = [re.fullmatch(r"(?:\([^)]*\))?(--?[a-z]+)([+=]?)\[[^]]+\](:[^:]+:.+)?", spec) for spec in specs]
    assert {match[1]: (bool(match[2]), bool(match[3])) for match in found if match} == {
        option: (action.nargs is None,) * 2 for option, action in OPTIONS.items()
    }
