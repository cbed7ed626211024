"""The form of answers: line ends, bytes beyond ASCII, control characters (RFC 1288 2.2)."""

import re

from fingerd.conformance.wire import Heard

_LONE_LF, _LONE_CR = re.compile(rb"(?<!\r)\n"), re.compile(rb"\r(?!\n)")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def broken_lines(heard: Heard) -> str:
    """What is wrong with the line ends of an answer; nothing where all are CR LF."""
    data = heard.data if heard.end == "closed" else heard.data.removesuffix(b"\r")  # its LF may not have been read
    found = []
    for what, pattern in (("LF", _LONE_LF), ("CR", _LONE_CR)):
        if count := len(pattern.findall(data)):
            found.append(f"{count} lone {what}")
    if heard.data and heard.end == "closed" and not heard.data.endswith((b"\r\n", b"\n", b"\r")):
        found.append("no line end at the end")
    return " and ".join(found)


def is_utf8(data: bytes) -> bool:
    """Whether these bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def latin1(name: str) -> bytes:
    """The name in Latin-1, as far as it can be written in it."""
    return name.encode("latin-1", "replace")


def has_parity(data: bytes) -> bool:
    """Whether bytes have an eighth bit that is no part of a character: half of them, and not UTF-8."""
    return sum(byte > 127 for byte in data) * 2 > len(data) and not is_utf8(data)


def controls(data: bytes) -> str:
    """The control characters in it that no answer needs, by their numbers; tab and line ends are fine."""
    return ", ".join(f"{byte:#04x}" for byte in sorted(set(b"".join(_CONTROLS.findall(data)))))
