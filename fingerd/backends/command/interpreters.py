"""Finds a shell, an interpreter or a program like them that would take the user's name for code. Pure.

No list of such programs is complete. So the check is strict for those that it knows: an argument with the name is
accepted only behind the code, the script or the program that the configuration names, where it is data.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence, Set

from fingerd.backends.command.programs import PROGRAMS, SHELLS, Program

USER = "{user}"

# Programs whose names are common words: anywhere but in the place of a program they are probably arguments.
_WORDS = re.compile(
    "R|at|batch|bb|coffee|command|ed|es|ex|exec|expect|find|gs|java|make|nice|parallel|pike|rc|screen|script|time|timeout|"
    "view|watch"
)
_VERSION = r"(?:-?[0-9][0-9.]*(?:-.+)?|-static)?"  # python3.11, perl5.36-x86_64-linux-gnu, ksh93, busybox-static
_HAS_C = re.compile("-[a-zA-Z]*c[a-zA-Z]*")


def code_taker(argv: Sequence[str], names_of: Callable[[str], Set[str]]) -> str | None:
    """Return the program in the command that may take an argument with ``{user}`` for code or a program; None if none.

    ``names_of`` returns the names of the file that a program is, links followed.
    """
    programs = {0}  # where a program stands for certain
    names_of_code = set[int]()  # where a shell's $0 stands, behind the code after -c
    for position, word in enumerate(argv):
        is_program = position in programs or "/" in word
        names = {os.path.basename(word), *(names_of(word) if is_program else ())}
        following = argv[position + 1 :]
        if position in names_of_code and not _HAS_C.fullmatch(following[0] if following else ""):
            continue
        for program, name in _matches(names):
            if not is_program and _WORDS.fullmatch(name):
                continue
            scan = _Scan(program)
            end = scan.end(following)
            if scan.found:
                return name
            if end is None:
                continue
            if program.is_wrapper:
                programs.add(position + 1 + end)
            if program is SHELLS and any(map(_HAS_C.fullmatch, following[:end])):
                names_of_code |= {position + 2 + end} if _is_shell(argv[position + 2 + end :][:1]) else set()
    return None


def _matches(names: Set[str]) -> Iterator[tuple[Program, str]]:
    for program in PROGRAMS:
        yield from ((program, name) for name in sorted(names) if re.fullmatch(f"(?:{program.names}){_VERSION}", name))


def _is_shell(words: Sequence[str]) -> bool:
    return any(re.fullmatch(SHELLS.names, word) for word in words)


class _Scan:
    """Reads the arguments of one program up to the point from which on they are data.

    An option that is not known may have a value or not. It is read as if it had one, unless an option follows: then
    what comes after is data in either case, or it is not accepted.
    """

    def __init__(self, program: Program) -> None:
        self.found = False  # {user} is in an argument that is not data
        self._program = program
        self._operands = program.operands
        self._values: list[str] = []  # what the next arguments are: a value, code, data, unknown

    def end(self, arguments: Sequence[str]) -> int | None:
        """Return the position of the last argument that is not data; None if there may be no data at all."""
        program, poisoned, options_ended = self._program, False, False
        if program.requires and not any(re.fullmatch(program.requires, argument) for argument in arguments):
            self.found = any(USER in argument for argument in arguments)
            return None
        for position, argument in enumerate(arguments):
            kind = self._kind(argument, options_ended)
            is_unsafe = kind not in ("data", "free") or poisoned
            if USER in argument and is_unsafe and not (kind == "assigned" and re.match(r"\w+=", argument)):
                self.found = True
                return None
            if program.poison and kind in ("option", "code") and re.search(program.poison, argument):
                poisoned = True
            if kind == "code":
                self._operands = 0
                if program.code_ends_options:
                    return None if poisoned else position
            options_ended = options_ended or kind == "end"
            if kind == "operand" and not self._operands and not (program.permutes or poisoned):
                return position
            if kind == "free" and not (program.permutes or poisoned):
                return position - 1
        return None

    def _kind(self, argument: str, options_ended: bool) -> str:
        """Return what an argument is, and remember what the ones behind it are."""
        is_option = argument[:1] in self._program.prefixes and argument != ""
        if self._values and not (self._values[0] == "unknown" and is_option):
            return self._values.pop(0)
        self._values.clear()
        if is_option and not options_ended:
            if argument == "--":
                return "end"
            self._values = self._program.values_of(argument)
            return "code" if self._values == ["joined code"] and self._values.pop() else "option"
        if not options_ended and self._program.needs_dashes:
            return "before"
        if self._program.assignments and re.match(r"[A-Za-z_]\w*=", argument):
            return "option"
        if not self._operands:
            return "free"
        self._operands -= 1
        return "operand"
