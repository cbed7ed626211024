"""The probes: about thirty connections, one after another."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fingerd.conformance.exchange import Exchange, Target, connect, converse

NOBODY = "nosuchxq"  # an unlikely login, short enough for old servers
HOST = "host.invalid"  # never resolves (RFC 2606)
MANY_HOSTS = 20
HALF_CLOSED = ("no line end", "TLS")  # the probes after which a FIN is sent
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


def probes(plan: Plan) -> Iterator[tuple[str, bytes]]:
    """The name of each connection but the idle one, and what is sent; what a server may not survive comes last."""
    nobody, user = plan.nobody.encode(), plan.user.encode()
    name, host = user or nobody, f"@{HOST}".encode()
    yield "list", b"\r\n"
    yield "/W", b"/W\r\n"
    yield "nobody", nobody + b"\r\n"
    yield "nobody@host", nobody + host + b"\r\n"
    yield "/W nobody@host", b"/W " + nobody + host + b"\r\n"
    yield "@host", host + b"\r\n"
    yield "many hosts", nobody + host * MANY_HOSTS + b"\r\n"
    if user:
        yield "user", user + b"\r\n"
        yield "user@host", user + host + b"\r\n"
        yield "/W user", b"/W " + user + b"\r\n"
        yield "/W   user", b"/W   " + user + b"\r\n"
        yield "/w user", b"/w " + user + b"\r\n"
        yield "user /W", user + b" /W\r\n"
        yield "space before", b" " + user + b"\r\n"
        yield "space after", user + b" \r\n"
    yield "LF", name + b"\n"
    yield "no line end", name
    yield "telnet", TELNET + name + b"\r\n"
    yield "two lines", name + b"\r\nsecond-line\r\n"
    yield "excess", name + b"\r\n" + EXCESS
    yield "8 bit", nobody + b"\xc3\xa9\xe9\r\n"
    yield "controls", CONTROLS + nobody + b"\r\n"
    yield "TLS", TLS
    yield "too long", EXCESS + b"\r\n"
    yield "again", name + b"\r\n"


def run(target: Target, plan: Plan) -> dict[str, Exchange]:
    """Send all probes. Returns the exchanges by name, that of a silent one as ``idle``; OSError if the first fails."""
    exchanges: dict[str, Exchange] = {}
    connect(target).close()
    for name, sent in probes(plan):
        time.sleep(plan.pause)
        exchanges[name] = converse(target, sent, half_close=name in HALF_CLOSED)
    if plan.idle:
        time.sleep(plan.pause)
        exchanges["idle"] = converse(replace(target, timeout=plan.idle), b"")  # last: a server may serve one at a time
    return exchanges
