"""Which arguments of a command are code, for a shell or another interpreter that is told to run it. Pure."""

import os
import re
from collections.abc import Iterator, Sequence

# The options of each after which code comes, and those that have a value of their own.
_FIRST = (  # what is behind the code is its own
    (
        "(?:ba|da|a|k|mk|pdk|z|c|tc|fi|rba|r)?sh",
        "[-+][a-zA-Z]*c[a-zA-Z]*|--command",
        "-o +o -O +O --rcfile --init-file",
    ),
    ("(?:python|pypy)[0-9.]*", "-[a-zA-Z]*c", "-W -X"),
)
_MORE = (  # there may be more of it
    ("perl[0-9.]*", "-[a-zA-Z0-9]*[eE]", "-I -M -m"),
    ("ruby[0-9.]*", "-[a-zA-Z0-9]*e", "-I -r -C"),
    ("node(?:js)?", "-[a-z]*[ep]|--eval|--print", "-r --require --import"),
    ("php[0-9.]*", "-[BRErF]|--run", "-d -c"),
    ("lua(?:jit)?[0-9.]*", "-e", "-l"),
)


def code_for(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each interpreter in the command, wherever it stands, with every text that it takes for code or for an option."""
    for place, word in enumerate(argv):
        name = os.path.basename(word)
        for names, code, valued in (*_FIRST, *_MORE):
            if re.fullmatch(names, name):
                is_last = (names, code, valued) in _FIRST
                for text in _codes(argv[place + 1 :], code, valued.split(), is_last):
                    yield name, text


def _codes(arguments: Sequence[str], code: str, valued: Sequence[str], is_last: bool) -> Iterator[str]:
    comes = False  # whether the next argument is code
    before = ""
    for argument in arguments:
        if argument == "--" and not comes:
            return
        if argument[:1] in ("-", "+"):
            yield argument  # as -ccode, and --eval=code
            comes = comes or bool(re.fullmatch(code, argument))
        elif before not in valued:
            if not comes:
                return  # the name of a script, and what is its own
            yield argument
            if is_last:
                return
            comes = False
        before = argument
