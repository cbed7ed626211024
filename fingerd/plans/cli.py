"""The command line of ``fingerd-plan``."""

import argparse
import logging
import os
import pwd
from collections.abc import Callable, Sequence
from functools import partial

from fingerd import __version__
from fingerd.config.system_options import remember_cwd
from fingerd.daemon.descriptors import ensure_standard_fds
from fingerd.daemon.output import ArgumentParser, ErrorHandler, print_error, run_command
from fingerd.daemon.signals import reset_signals
from fingerd.errors import ConfigError, StartError
from fingerd.plans import commands
from fingerd.plans.commands import STRANGER, Person
from fingerd.plans.configuration import read_plan_config
from fingerd.plans.editing import edit
from fingerd.plans.errors import PlanError, UsageError
from fingerd.plans.forced import read_input, run_forced
from fingerd.plans.web import token_commands
from fingerd.plans.web.loader import serve
from fingerd.text import escape_controls

DEFAULT_CONFIG = "/etc/fingerd.yaml"

EPILOG = """\
exit codes:
  0 success; 64 usage, or a name that cannot be a file's;
  65 the text is too long, not UTF-8, or has control characters;
  69 serve: an address cannot be bound; 70 internal error;
  74 output, or a file, cannot be written, or the editor failed;
  77 permission denied, no such person, or a link in the place of a file; 78 configuration

environment:
  VISUAL, EDITOR          the editor (default: sensible-editor, else vi)
  TMPDIR                  where the copy for the editor is made
  SSH_ORIGINAL_COMMAND    what ssh does, from sshd
"""


def parser() -> argparse.ArgumentParser:
    """The command line that fingerd-plan(1) documents."""
    result = ArgumentParser(
        prog="fingerd-plan",
        description="Change what a finger daemon tells of you.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=DEFAULT_CONFIG,
        help="the daemon's configuration (default: %(default)s)",
    )
    result.add_argument("--as", metavar="NAME", dest="name", help="the person (default: your login)")
    result.add_argument("--version", action="version", version=f"fingerd-plan {__version__}")
    add = partial(
        result.add_subparsers(metavar="COMMAND", dest="command", required=True).add_parser, allow_abbrev=False
    )
    add("edit", help="edit the plan")
    add("set", help="replace the plan").add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="the new plan (default: standard input)"
    )
    add("clear", help="remove the plan")
    add("show", help="print a field as it is stored").add_argument(
        "field", metavar="FIELD", nargs="?", default="plan", help="default: %(default)s"
    )
    putting = add("put", help="set another field, such as project")
    putting.add_argument("field", metavar="FIELD")
    putting.add_argument("text", metavar="TEXT", help="after -- if it begins with -")
    add("remove", help="remove a field").add_argument("field", metavar="FIELD")
    add("hide", help="have the daemon know no such person")
    add("unhide", help="undo hide")
    add("preview", help="print what others are told").add_argument(
        "--from",
        metavar="ADDRESS",
        dest="client",
        default=STRANGER,
        help="the client: an IP address, or unix (default: a stranger, %(default)s)",
    )
    add("ssh", help="for a forced command of sshd: do what SSH_ORIGINAL_COMMAND says")
    add("serve", help="let people with a token change their plans by HTTP")
    _add_token_commands(add("token", help="give people tokens for serve, list them, or revoke one"))
    return result


def _add_token_commands(token: argparse.ArgumentParser) -> None:
    add = partial(token.add_subparsers(metavar="ACTION", dest="action", required=True).add_parser, allow_abbrev=False)
    adding = add("add", help="print a new token for a person")
    adding.add_argument("person", metavar="NAME")
    adding.add_argument("label", metavar="LABEL", help="what it is for, as laptop")
    add("list", help="print person, label and date of all tokens, or of one person's").add_argument(
        "person", metavar="NAME", nargs="?"
    )
    revoking = add("revoke", help="make a token worthless")
    revoking.add_argument("person", metavar="NAME")
    revoking.add_argument("label", metavar="LABEL")


def main(argv: Sequence[str] | None = None) -> int:
    """Run fingerd-plan with these arguments (default: ``sys.argv``). Returns the exit code (sysexits.h)."""
    reset_signals()
    return run_command(lambda: _exit_code(argv))


def _exit_code(argv: Sequence[str] | None) -> int:
    try:
        ensure_standard_fds()
        arguments = parser().parse_args(argv)
        remember_cwd()
        return _run(arguments)
    except ConfigError as error:
        print_error(*error.problems)
        return error.exit_code
    except (PlanError, StartError) as error:
        print_error(*(f"fingerd-plan: {escape_controls(line)}" for line in str(error).split("\n")))
        return error.exit_code
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
        print_error(f"fingerd-plan: {escape_controls(what)}")
        return os.EX_IOERR


def _run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    if arguments.command == "serve":
        return serve(arguments.config)
    logging.basicConfig(format="fingerd-plan: warning: %(message)s", handlers=[ErrorHandler()])
    if arguments.command == "token":
        _run_token(arguments)
    else:
        _run_for_person(arguments)
    return os.EX_OK


def _run_token(arguments: argparse.Namespace) -> None:
    config, person = arguments.config, arguments.person
    if arguments.action == "list":
        token_commands.list_all(config, person)
    else:
        change = {"add": token_commands.add, "revoke": token_commands.revoke}[arguments.action]
        change(config, person, arguments.label)


def _run_for_person(arguments: argparse.Namespace) -> None:
    name = _own_login() if arguments.name is None else arguments.name
    person = Person(read_plan_config(arguments.config), name)
    run: dict[str, Callable[[], None]] = {
        "edit": lambda: edit(person),
        "set": lambda: commands.set_plan(person, partial(_read_text, arguments.file)),
        "clear": lambda: commands.clear(person),
        "show": lambda: commands.show(person, arguments.field),
        "put": lambda: commands.put(person, arguments.field, arguments.text),
        "remove": lambda: commands.remove(person, arguments.field),
        "hide": lambda: commands.hide(person),
        "unhide": lambda: commands.unhide(person),
        "preview": lambda: commands.preview(person, arguments.client),
        "ssh": lambda: run_forced(person),
    }
    run[arguments.command]()


def _own_login() -> str:
    """The login of the real uid."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise UsageError(f"uid {os.getuid()} has no login: --as NAME says whose plan is meant") from None


def _read_text(file: str, size: int) -> bytes:
    """At most so many bytes of the file, ``-`` for standard input."""
    if file == "-":
        return read_input(size)
    try:
        with open(file, "rb") as opened:
            return opened.read(size)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {getattr(error, 'strerror', error)}") from error
