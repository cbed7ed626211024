"""The probes: about thirty connections, one after another."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fingerd.conformance.exchange import Exchange, Target, connect, converse

NOBODY = "nosuchxq"  # an unlikely login, short enough for old servers
HOST = "host.invalid"  # never resolves (RFC 2606)
MANY_HOSTS = 20
EXCESS = b"x" * 8192  # sent after the line: more than a server reads at once

TELNET = b"\xff\xfd\x06\xff\xfb\x18"  # IAC DO TIMING-MARK, IAC WILL TERMINAL-TYPE (RFC 854)
CONTROLS = b"\x1b]0;finger\x07\x00\x08\x7f"  # an escape sequence that sets the title of a terminal
TLS = b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03" + bytes(range(32)) + b"\x00\x00\x02\x13\x01\x01\x00\r\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """The users to query: ``user`` exists, or is empty if none is known; ``name`` is the user's full name."""

    user: str = ""
    nobody: str = NOBODY
    name: str = ""
    idle: float = 15.0  # seconds for which a silent connection is held open
    pause: float = 0.1  # seconds between two connections


@dataclass(frozen=True, slots=True)
class Probe:
    """One connection: its name, the bytes to send, and whether a FIN follows them."""

    name: str
    sent: bytes
    half_close: bool = False


def probes(plan: Plan) -> Iterator[Probe]:
    """All probes but the idle one, in order; those that a server may not survive come last."""
    nobody, user = plan.nobody.encode(), plan.user.encode()
    yield Probe("list", b"\r\n")
    yield Probe("/W", b"/W\r\n")
    yield Probe("nobody", nobody + b"\r\n")
    yield Probe("nobody@host", nobody + f"@{HOST}\r\n".encode())
    yield Probe("/W nobody@host", b"/W " + nobody + f"@{HOST}\r\n".encode())
    yield Probe("@host", f"@{HOST}\r\n".encode())
    yield Probe("many hosts", nobody + f"@{HOST}".encode() * MANY_HOSTS + b"\r\n")
    name = user or nobody
    if user:
        yield Probe("user", user + b"\r\n")
        yield Probe("user@host", user + f"@{HOST}\r\n".encode())
        yield Probe("/W user", b"/W " + user + b"\r\n")
        yield Probe("/W   user", b"/W   " + user + b"\r\n")
        yield Probe("/w user", b"/w " + user + b"\r\n")
        yield Probe("user /W", user + b" /W\r\n")
        yield Probe("space before", b" " + user + b"\r\n")
        yield Probe("space after", user + b" \r\n")
    yield Probe("LF", name + b"\n")
    yield Probe("no line end", name, half_close=True)
    yield Probe("telnet", TELNET + name + b"\r\n")
    yield Probe("two lines", name + b"\r\nsecond-line\r\n")
    yield Probe("excess", name + b"\r\n" + EXCESS)
    yield Probe("8 bit", nobody + b"\xc3\xa9\xe9\r\n")
    yield Probe("controls", CONTROLS + nobody + b"\r\n")
    yield Probe("TLS", TLS, half_close=True)
    yield Probe("too long", EXCESS + b"\r\n")
    yield Probe("again", name + b"\r\n")


def run(target: Target, plan: Plan) -> dict[str, Exchange]:
    """Send all probes. Returns the exchanges by the probes' names, and as ``idle`` that of a silent connection.

    Raises OSError if the first connection fails.
    """
    exchanges: dict[str, Exchange] = {}
    connect(target).close()
    for probe in probes(plan):
        time.sleep(plan.pause)
        exchanges[probe.name] = converse(target, probe.sent, probe.half_close)
    if plan.idle:
        time.sleep(plan.pause)
        exchanges["idle"] = converse(replace(target, timeout=plan.idle), b"")  # last: a server may serve one at a time
    return exchanges
