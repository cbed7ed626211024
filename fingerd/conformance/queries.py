"""Judges of how queries are read, answers encoded and connections ended: RFC 1288 2.1 to 2.3, 2.5.4 and 3.1."""

import re

from fingerd.conformance.exchange import Exchange
from fingerd.conformance.texts import decoded, is_refusal
from fingerd.conformance.verdicts import FAILS, INCONCLUSIVE, NO_USER, NOTE, OK, Case, Judgement, compare, why_empty

NO_ANSWERS = Judgement(INCONCLUSIVE, "there was no answer at all")

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
    return decoded(data).encode() == data  # else they were decoded as windows-1252


def has_parity(data: bytes) -> bool:
    """Whether the eighth bits seem to be parity bits: more than half of them are set, and the bytes are not UTF-8."""
    return sum(byte > 127 for byte in data) * 2 > len(data) and not is_utf8(data)


def controls(data: bytes) -> str:
    """The numbers of the control characters in the data, other than tab, CR and LF."""
    return ", ".join(f"{byte:#04x}" for byte in sorted(set(b"".join(_CONTROLS.findall(data)))))


def line_ends(case: Case) -> Judgement:
    """Whether every line of every answer ends in CR LF."""
    broken = [f"{name}: {why}" for name, each in case.exchanges.items() if (why := broken_lines(each))]
    if broken:
        more = f"; also in {len(broken) - 1} other answers" if len(broken) > 1 else ""
        return Judgement(FAILS, f"in the answer to {broken[0]}{more}")
    answers = [exchange.data for exchange in case.exchanges.values() if exchange.data]
    return Judgement(OK, f"all lines of {len(answers)} answers") if answers else NO_ANSWERS


def eight_bits(case: Case) -> Judgement:
    """Whether a letter beyond ASCII is preserved, and the eighth bit is not used for parity."""
    name, answer = case.plan.name, case.data("user")
    everything = b"".join(exchange.data for exchange in case.exchanges.values())
    if has_parity(everything):
        return Judgement(NOTE, "most bytes have the eighth bit set, as a parity bit would be")
    if name.isascii() or not case.fingerprint:
        return Judgement(INCONCLUSIVE, "no --name with a letter beyond ASCII was given")
    if name.encode() in answer or (not is_utf8(answer) and name.encode("windows-1252", "replace") in answer):
        return Judgement(OK, "the answer has the complete full name")
    return Judgement(NOTE, f"{name!a} is not in the answer {case.excerpt('user')}")


def close(case: Case) -> Judgement:
    """Whether the server closes after each answer, without waiting for the client."""
    others = ("idle", "excess", "too long")
    answered = [exchange for name, exchange in case.exchanges.items() if exchange.data and name not in others]
    still_open = [exchange for exchange in answered if exchange.end == "timeout"]
    if still_open:
        return Judgement(NOTE, f"{len(still_open)} of {len(answered)} answered connections stay open")
    return Judgement(OK, "by the server, each time") if answered else NO_ANSWERS


def unread(case: Case) -> Judgement:
    """Whether the server closes with a FIN even with unread bytes: a reset can overtake the answer."""
    exchange = case.exchanges["excess"]
    if exchange.end == "reset":
        also = "" if exchange.data else ", and the answer is lost"
        return Judgement(NOTE, f"the connection is reset if the client sends more than its line{also}")
    if not exchange.data:
        return Judgement(NOTE, why_empty(exchange))
    return Judgement(OK, "no reset, though the client sent more than its line")


def specification(case: Case) -> Judgement:
    """Whether all forms of {Q1} are accepted; services.py judges those of {Q2}."""
    about_user = {probe: case.is_about_user(probe) for probe in ("/W user", "/W   user") if probe in case.exchanges}
    refused = [f"{probe!r}: {case.excerpt(probe)}" for probe, accepted in about_user.items() if accepted is False]
    verbose = case.exchanges["/W"]
    if case.data("list").strip() and (
        (not verbose.data.strip() and not case.is_missing("/W"))
        or (case.is_like_nobody("/W", "/W", "_W") and not case.is_like_nobody("list") and not is_refusal(verbose.data))
    ):
        refused.append(f"'/W' alone: {case.excerpt('/W')}")
    if refused:
        return Judgement(FAILS, "; ".join(refused))
    if not about_user or None in about_user.values():
        return Judgement(INCONCLUSIVE, NO_USER)
    return Judgement(OK, "/W alone, before a user, and with several spaces")


def verbosity(case: Case) -> Judgement:
    """Whether /W before a user is not an error."""
    found = compare(case, "/W user")
    if found.verdict != NOTE:
        return found
    return Judgement(INCONCLUSIVE if case.is_missing("/W user") else FAILS, found.evidence)


def survives(case: Case) -> Judgement:
    """Whether the server still answers after all harmful queries."""
    first, again = case.exchanges["user" if "user" in case.exchanges else "nobody"], case.exchanges["again"]
    if first.data and not again.data:
        return Judgement(FAILS if again.end != "timeout" else INCONCLUSIVE, f"afterwards: {why_empty(again)}")
    return Judgement(OK, "answers as before") if again.data else NO_ANSWERS


def too_long(case: Case) -> Judgement:
    """Whether a line of 8 KB is answered, or its connection closed."""
    exchange = case.exchanges["too long"]
    evidence = case.excerpt("too long") if exchange.data else why_empty(exchange)
    return Judgement(NOTE if exchange.end == "timeout" else OK, evidence)


def echo(case: Case) -> Judgement:
    """Whether the answer has control characters of the query."""
    raw = controls(case.data("controls"))
    return Judgement(NOTE, f"{raw} are returned as they were sent") if raw else Judgement(OK, "none is returned")


def idle(case: Case) -> Judgement:
    """Whether a silent connection is closed."""
    exchange = case.exchanges.get("idle")
    if exchange is None or exchange.end == "unreachable":
        return Judgement(INCONCLUSIVE, "not tried" if exchange is None else why_empty(exchange))
    if exchange.end == "timeout":
        return Judgement(NOTE, f"still open after {case.plan.idle:.0f} s")
    return Judgement(OK, f"closed within {max(exchange.seconds, 1):.0f} s")
