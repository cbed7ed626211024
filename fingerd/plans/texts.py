"""What a text has to be, so that the daemon shows it as it was written."""

import re
from itertools import islice

from fingerd.people.links import problems_of
from fingerd.plans.errors import TextError, TextTooLongError
from fingerd.text import UNSAFE, UNSAFE_UNCOLORED

COLORED_FIELDS = ("plan", "project")  # in which `reply.colors` lets colors pass
MAX_PROBLEMS = 10  # that are named

_BOM = b"\xef\xbb\xbf"


def max_input(limit: int) -> int:
    """How many bytes have to be read to know that a text is longer than ``limit``: a line end may have two."""
    return 2 * limit + len(_BOM) + 1


def checked(data: bytes, field: str, limit: int, *, colors: bool) -> bytes:
    """The text as it is stored: without a byte order mark, lines ended by LF. TextError, which names each place."""
    data = data.removeprefix(_BOM).replace(b"\r\n", b"\n")
    if len(data) > limit:
        raise TextTooLongError(f"{field}: longer than the {limit} bytes that the daemon reads")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise TextError(f"{field}: {_place(data[: error.start].decode())}: not UTF-8 text") from None
    unsafe = UNSAFE_UNCOLORED if colors and field in COLORED_FIELDS else UNSAFE
    problems = [_control(match, text, field, colors) for match in islice(unsafe.finditer(text), MAX_PROBLEMS)]
    if field == "links":
        problems += [f"links: {problem}" for problem in islice(problems_of(text), MAX_PROBLEMS)]
    if problems:
        raise TextError("\n".join(problems))
    return data


def _control(match: re.Match[str], text: str, field: str, colors: bool) -> str:
    hint = "; colors need reply.colors" if match[0] == "\x1b" and field in COLORED_FIELDS and not colors else ""
    return f"{field}: {_place(text[: match.start()])}: control character U+{ord(match[0][0]):04X}{hint}"


def _place(before: str) -> str:
    """Line and column of what follows, from 1."""
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
