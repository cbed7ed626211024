"""Finds the arguments of a command that a shell or another interpreter runs as code. Pure."""

import os
import re
from collections.abc import Iterator, Sequence

_SHELLS = "(?:ba|da|a|k|mk|pdk|z|c|tc|fi|rba|r)?sh"
# Per interpreter: its names, the options that are followed by code, the options that are followed by another value, and
# whether it takes one code argument only and passes all further arguments to the code.
_INTERPRETERS = (
    (_SHELLS, "[-+][a-zA-Z]*c[a-zA-Z]*|--command", "-o +o -O +O --rcfile --init-file", True),
    ("(?:python|pypy)[0-9.]*", "-[a-zA-Z]*c", "-W -X", True),
    ("perl[0-9.]*", "-[a-zA-Z0-9]*[eE]", "-I -M -m", False),
    ("ruby[0-9.]*", "-[a-zA-Z0-9]*e", "-I -r -C", False),
    ("node(?:js)?", "-[a-z]*[ep]|--eval|--print", "-r --require --import", False),
    ("php[0-9.]*", "-[BRErF]|--run", "-d -c", False),
    ("lua(?:jit)?[0-9.]*", "-e", "-l", False),
)


def code_arguments(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each interpreter anywhere in the command, with each argument that it reads as code or as an option."""
    for position, word in enumerate(argv):
        name = os.path.basename(word)
        for names, code, with_value, is_single in _INTERPRETERS:
            if re.fullmatch(names, name):
                for text in _code_of(argv[position + 1 :], code, with_value.split(), is_single):
                    yield name, text


def _code_of(arguments: Sequence[str], code: str, with_value: Sequence[str], is_single: bool) -> Iterator[str]:
    is_code_next = False
    previous = ""
    for argument in arguments:
        if argument == "--" and not is_code_next:
            return
        if argument[:1] in ("-", "+"):
            yield argument  # may contain code: -ccode, --eval=code
            is_code_next = is_code_next or bool(re.fullmatch(code, argument))
        elif previous not in with_value:
            if not is_code_next:
                return  # a script, followed by its arguments
            yield argument
            if is_single:
                return
            is_code_next = False
        previous = argument
