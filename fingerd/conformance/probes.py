"""What is asked, and in which order: some thirty connections, one after the other."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fingerd.conformance.wire import Heard, Target, connect, converse

NOBODY = "nosuchxq"  # short enough for old servers, and nobody's name
HOST = "host.invalid"  # RFC 2606: it never resolves
MANY_HOSTS = 20
MORE = b"x" * 8192  # what a client goes on to send after its line: more than a server reads at once

TELNET = b"\xff\xfd\x06\xff\xfb\x18"  # IAC DO TIMING-MARK, IAC WILL TERMINAL-TYPE (RFC 854)
CONTROLS = b"\x1b]0;finger\x07\x00\x08\x7f"  # what sets a terminal's title
TLS = b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03" + bytes(range(32)) + b"\x00\x00\x02\x13\x01\x01\x00\r\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask for. ``user`` is there, or empty where nobody is known to be; ``name`` is the user's full name."""

    user: str = ""
    nobody: str = NOBODY
    name: str = ""
    idle: float = 15.0  # seconds that a silent connection is held open
    pause: float = 0.1  # seconds between two connections


@dataclass(frozen=True, slots=True)
class Probe:
    """One connection: its name, the bytes to send, and whether to hang up after them."""

    name: str
    sent: bytes
    hang_up: bool = False


def probes(plan: Plan) -> Iterator[Probe]:
    """All connections but the idle one, in their order; the last ones are those that a weak server may not survive."""
    nobody, user = plan.nobody.encode(), plan.user.encode()
    yield Probe("list", b"\r\n")
    yield Probe("/W", b"/W\r\n")
    yield Probe("nobody", nobody + b"\r\n")
    yield Probe("nobody@host", nobody + f"@{HOST}\r\n".encode())
    yield Probe("/W nobody@host", b"/W " + nobody + f"@{HOST}\r\n".encode())
    yield Probe("@host", f"@{HOST}\r\n".encode())
    yield Probe("many hosts", nobody + f"@{HOST}".encode() * MANY_HOSTS + b"\r\n")
    asked = user or nobody
    if user:
        yield Probe("user", user + b"\r\n")
        yield Probe("user@host", user + f"@{HOST}\r\n".encode())
        yield Probe("/W user", b"/W " + user + b"\r\n")
        yield Probe("/W   user", b"/W   " + user + b"\r\n")
        yield Probe("/w user", b"/w " + user + b"\r\n")
        yield Probe("user /W", user + b" /W\r\n")
        yield Probe("blank before", b" " + user + b"\r\n")
        yield Probe("blank after", user + b" \r\n")
    yield Probe("LF", asked + b"\n")
    yield Probe("no line end", asked, hang_up=True)
    yield Probe("telnet", TELNET + asked + b"\r\n")
    yield Probe("two lines", asked + b"\r\nsecond-line\r\n")
    yield Probe("more", asked + b"\r\n" + MORE)
    yield Probe("8 bit", nobody + b"\xc3\xa9\xe9\r\n")
    yield Probe("controls", CONTROLS + nobody + b"\r\n")
    yield Probe("TLS", TLS, hang_up=True)
    yield Probe("too long", MORE + b"\r\n")
    yield Probe("again", asked + b"\r\n")


def run(target: Target, plan: Plan) -> dict[str, Heard]:
    """The answers by the probes' names, and as ``idle`` what became of a connection on which nothing is said.

    OSError where not even the first connection can be made.
    """
    heard: dict[str, Heard] = {}
    connect(target).close()
    for probe in probes(plan):
        time.sleep(plan.pause)
        heard[probe.name] = converse(target, probe.sent, probe.hang_up)
    if plan.idle:
        time.sleep(plan.pause)
        heard["idle"] = converse(replace(target, timeout=plan.idle), b"")  # last: some serve one client at a time
    return heard
