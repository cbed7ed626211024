"""The bytes of answers: line ends, bytes beyond ASCII, control characters (RFC 1288 2.2)."""

import re

from fingerd.conformance.exchange import Exchange

_LONE_LF, _LONE_CR = re.compile(rb"(?<!\r)\n"), re.compile(rb"\r(?!\n)")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def broken_lines(exchange: Exchange) -> str:
    """What is wrong with the line ends of an answer; empty if all are CR LF."""
    data = exchange.data
    if exchange.end != "closed":
        data = data.removesuffix(b"\r")  # its LF may not have been received
    found = []
    for name, pattern in (("LF", _LONE_LF), ("CR", _LONE_CR)):
        if count := len(pattern.findall(data)):
            found.append(f"{count} lone {name}")
    if data and exchange.end == "closed" and not data.endswith((b"\r\n", b"\n", b"\r")):
        found.append("no line end at the end")
    return " and ".join(found)


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def latin1(name: str) -> bytes:
    """The name in Latin-1, with ``?`` for characters that it does not have."""
    return name.encode("latin-1", "replace")


def has_parity(data: bytes) -> bool:
    """Whether the eighth bits seem to be parity bits: more than half of them are set, and the bytes are not UTF-8."""
    return sum(byte > 127 for byte in data) * 2 > len(data) and not is_utf8(data)


def controls(data: bytes) -> str:
    """The numbers of the control characters in the data, other than tab, CR and LF."""
    return ", ".join(f"{byte:#04x}" for byte in sorted(set(b"".join(_CONTROLS.findall(data)))))
