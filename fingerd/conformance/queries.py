"""Judges of what goes over the wire: RFC 1288 2.1 to 2.3, 2.5.4 and 3.1."""

from collections.abc import Callable

from fingerd.conformance import forms
from fingerd.conformance.texts import refuses
from fingerd.conformance.verdicts import FAILS, NO_USER, NOTE, OK, UNKNOWN, Case, Judged, lost, taken


def line_ends(case: Case) -> Judged:
    """Whether every line of every answer ends in CR LF, the last one too."""
    wrong = [f"{name}: {why}" for name, heard in case.heard.items() if (why := forms.broken_lines(heard))]
    if wrong:
        more = f", and {len(wrong) - 1} answers more" if len(wrong) > 1 else ""
        return Judged(FAILS, f"in the answer to {wrong[0]}{more}")
    answers = [heard.data for heard in case.heard.values() if heard.data]
    if not answers:
        return Judged(UNKNOWN, "nothing was ever answered")
    return Judged(OK, f"all lines of {len(answers)} answers")


def eight_bits(case: Case) -> Judged:
    """Whether a letter beyond ASCII comes through, and no eighth bit is a parity bit."""
    name, answer = case.plan.name, case.data("user")
    everything = b"".join(heard.data for heard in case.heard.values())
    if forms.has_parity(everything):
        return Judged(NOTE, "most bytes have their eighth bit set, as a parity bit would")
    if name.isascii() or not case.known.words:
        return Judged(UNKNOWN, "no --name with a letter beyond ASCII was given")
    if name.encode() in answer or (not forms.is_utf8(answer) and forms.latin1(name) in answer):
        return Judged(OK, "the full name is whole in the answer")
    return Judged(NOTE, f"{name!a} is not in the answer {case.shown('user')}")


def first_line(case: Case) -> Judged:
    """Whether what comes after the first line changes nothing."""
    return taken(case, "two lines")


def close(case: Case) -> Judged:
    """Whether the server ended each answer, without waiting for the client."""
    answered = [heard for name, heard in case.heard.items() if heard.data and name not in ("idle", "more", "too long")]
    still = [heard for heard in answered if heard.end == "silent"]
    if still:
        return Judged(NOTE, f"{len(still)} of {len(answered)} answered connections stay open")
    return Judged(OK, "by the server, each time") if answered else Judged(UNKNOWN, "nothing was ever answered")


def unread(case: Case) -> Judged:
    """Whether the close was a FIN where the client had sent more than was read: a reset can overtake the answer."""
    heard = case.heard["more"]
    if heard.end == "reset":
        also = "" if heard.data else ", and the answer is lost"
        return Judged(NOTE, f"the connection is reset where the client sends more than its line{also}")
    if not heard.data:
        return Judged(NOTE, lost(heard))
    return Judged(OK, "no reset, though the client had sent more than its line")


def taker(probe: str) -> Callable[[Case], Judged]:
    """A judge of one liberal form of the query for the user."""
    return lambda case: taken(case, probe)


def specification(case: Case) -> Judged:
    """Whether the forms of {Q1} are taken; those of {Q2} are judged in services."""
    forms_of_user = [probe for probe in ("/W user", "/W   user") if probe in case.heard]
    about_user = {probe: case.is_about_user(probe) for probe in forms_of_user}
    refused = [f"{probe!r}: {case.shown(probe)}" for probe, is_it in about_user.items() if is_it is False]
    verbose = case.heard["/W"]
    if case.data("list").strip() and (
        (not verbose.data.strip() and not case.is_missing("/W"))
        or (case.is_as_nobody("/W", "/W", "_W") and not case.is_as_nobody("list") and not refuses(verbose.data))
    ):
        refused.append(f"'/W' alone: {case.shown('/W')}")
    if refused:
        return Judged(FAILS, "; ".join(refused))
    if not about_user or None in about_user.values():
        return Judged(UNKNOWN, NO_USER)
    return Judged(OK, "/W alone, before a user, and with several blanks")


def verbosity(case: Case) -> Judged:
    """Whether /W before a user is no error."""
    found = taken(case, "/W user")
    return found if found.verdict != NOTE else Judged(UNKNOWN if case.is_missing("/W user") else FAILS, found.seen)


def survives(case: Case) -> Judged:
    """Whether the server answers after all that could harm it."""
    first, again = case.heard["user" if "user" in case.heard else "nobody"], case.heard["again"]
    if first.data and not again.data:
        return Judged(FAILS if again.end != "silent" else UNKNOWN, f"afterwards: {lost(again)}")
    return Judged(OK, "answers as before") if again.data else Judged(UNKNOWN, "nothing was ever answered")


def too_long(case: Case) -> Judged:
    """What became of a line of 8 KB."""
    heard = case.heard["too long"]
    return Judged(NOTE if heard.end == "silent" else OK, case.shown("too long") if heard.data else lost(heard))


def echo(case: Case) -> Judged:
    """Whether control characters of the query are in the answer."""
    raw = forms.controls(case.data("controls"))
    return Judged(NOTE, f"{raw} come back as they were sent") if raw else Judged(OK, "none comes back")


def idle(case: Case) -> Judged:
    """Whether a client who says nothing is closed in the end."""
    heard = case.heard.get("idle")
    if heard is None or heard.end == "unreachable":
        return Judged(UNKNOWN, "not tried" if heard is None else lost(heard))
    if heard.end == "silent":
        return Judged(NOTE, f"still open after {case.plan.idle:.0f} s")
    return Judged(OK, f"closed within {max(heard.seconds, 1):.0f} s")
