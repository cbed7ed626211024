"""``ssh``: the commands that whoever has a key may give, through a forced command of authorized_keys.

sshd passes the command in SSH_ORIGINAL_COMMAND. It is split into words as a shell does, and nothing in it is expanded
or run. No word is an option or the name of a file.
"""

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from functools import partial

from fingerd.plans import commands
from fingerd.plans.commands import Person
from fingerd.plans.errors import UsageError

VARIABLE = "SSH_ORIGINAL_COMMAND"
MAX_COMMAND = 128 << 10  # characters: more than the kernel passes in one variable

# By name: the words that follow, of which those in brackets may be left out.
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "set": (),
    "clear": (),
    "show": ("[FIELD]",),
    "put": ("FIELD", "TEXT"),
    "remove": ("FIELD",),
    "hide": (),
    "unhide": (),
    "preview": (),
}
_RUN: Mapping[str, Callable[..., None]] = {
    "clear": commands.clear,
    "show": commands.show,
    "put": commands.put,
    "remove": commands.remove,
    "hide": commands.hide,
    "unhide": commands.unhide,
    "preview": commands.preview,
}


def read_input(size: int) -> bytes:
    """At most so many bytes of standard input."""
    return sys.stdin.buffer.read(size)


def run_forced(person: Person, environment: Mapping[str, str] = os.environ) -> None:
    """Do what the client of ssh asks for; UsageError for anything that is not allowed."""
    name, *words = split(environment.get(VARIABLE, ""))
    if name not in ALLOWED:
        raise UsageError(f"{name!r} is not allowed; allowed are {_summary()}")
    required = [word for word in ALLOWED[name] if not word.startswith("[")]
    if not len(required) <= len(words) <= len(ALLOWED[name]):
        raise UsageError(f"the command is {' '.join((name, *ALLOWED[name]))} (a text with spaces needs two quotes)")
    run = partial(commands.set_plan, read=read_input) if name == "set" else _RUN[name]
    run(person, *words)


def split(command: str) -> list[str]:
    """The words of a command; UsageError if it has none, is too long, or leaves a quote open."""
    if len(command) > MAX_COMMAND:
        raise UsageError("the command is too long")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the command cannot be split into words: {error}") from None
    if not words:
        raise UsageError(f"there is no shell here; allowed are {_summary()}")
    return words


def _summary() -> str:
    return ", ".join(" ".join((name, *words)) for name, words in ALLOWED.items())
