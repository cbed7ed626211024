"""Judges of the answers to {Q2} (RFC 1288 2.4), {C} (2.5.1) and {U} (2.5.2, 2.5.3)."""

from fingerd.conformance.names import has_name, has_part_of_name
from fingerd.conformance.probes import HOST
from fingerd.conformance.texts import decoded, excerpt, is_refusal, normalized
from fingerd.conformance.verdicts import FAILS, INCONCLUSIVE, NO_USER, NOTE, OK, Case, Judgement, why_empty

FORWARDING_WORDS = ("host", "resolv", "connect", "lookup", "name or service", "address", "network")  # of its errors


def _forwarded(case: Case, probe: str) -> Judgement:
    """Whether one query for another host is forwarded or refused."""
    exchange = case.exchanges[probe]
    name = case.plan.user if probe == "user@host" else case.plan.nobody
    if not exchange.data.strip():
        return Judgement(INCONCLUSIVE if case.is_missing(probe) else FAILS, f"{probe!r}: {why_empty(exchange)}")
    evidence = f"{probe!r}: {case.excerpt(probe)}"
    refused = is_refusal(exchange.data)
    if case.is_like_nobody(probe, f"/W {name}@{HOST}", f"{name}@{HOST}", f"@{HOST}"):
        return Judgement(INCONCLUSIVE if refused else FAILS, f"{evidence}, as for an unknown user")
    if probe == "user@host" and case.is_about_user(probe):
        return Judgement(FAILS, f"{evidence}, which is about the server's own user")
    if refused:
        return Judgement(OK, evidence)
    if probe == "@host" and normalized(exchange.data) == normalized(case.data("list")):
        return Judgement(FAILS, f"{evidence}, which is the server's own list")
    text = decoded(exchange.data).lower().replace(HOST, "")
    return Judgement(OK if any(word in text for word in FORWARDING_WORDS) else INCONCLUSIVE, evidence)


def forwarding(case: Case) -> Judgement:
    """The worst judgement of the queries for another host."""
    probes = [probe for probe in ("nobody@host", "/W nobody@host", "@host", "user@host") if probe in case.exchanges]
    found = [_forwarded(case, probe) for probe in probes]
    return next((each for verdict in (FAILS, INCONCLUSIVE) for each in found if each.verdict == verdict), found[0])


def forwarding_words(case: Case) -> Judgement:
    """Whether a refused {Q2} has a message."""
    found = _forwarded(case, "nobody@host")
    if found.verdict == OK and not is_refusal(case.data("nobody@host")):
        return Judgement(INCONCLUSIVE, "it seems to be provided")
    return found


def many_hosts(case: Case) -> Judgement:
    """Whether a query with many hosts is answered as one with a single host."""
    if _forwarded(case, "nobody@host").verdict != OK:
        return Judgement(INCONCLUSIVE, "not even a single host is accepted")
    exchange, single, nobody = case.exchanges["many hosts"], case.data("nobody@host"), case.plan.nobody
    same = bool(exchange.data) and normalized(exchange.data, nobody) == normalized(single, nobody)
    if same or is_refusal(exchange.data):
        return Judgement(OK, "as for a single host")
    return Judgement(NOTE, case.excerpt("many hosts") if exchange.data else why_empty(exchange))


def _rows(case: Case) -> list[bytes]:
    """The lines of the list that are about the user."""
    lines = case.data("list").splitlines()
    return [line for line in lines if case.plan.user.encode() in line.split() and not is_refusal(line)]


def _is_list_refused(case: Case) -> bool:
    """Whether the list is refused; the same words above a list with the user are only a warning to readers."""
    return is_refusal(case.data("list")) and not _rows(case)


def user_list(case: Case) -> Judgement:
    """Whether {C} is answered or refused, not dropped, and not read as a name."""
    exchange = case.exchanges["list"]
    if not exchange.data.strip():
        return Judgement(INCONCLUSIVE if case.is_missing("list") else FAILS, why_empty(exchange))
    if _is_list_refused(case):
        return Judgement(OK, f"refused: {case.excerpt('list')}")
    if case.is_like_nobody("list"):
        return Judgement(FAILS, f"{case.excerpt('list')}, as for an unknown user")
    return Judgement(OK, f"answered: {case.excerpt('list')}")


def list_words(case: Case) -> Judgement:
    """Whether a refused {C} has a message."""
    found = user_list(case)
    if found.verdict == OK and not _is_list_refused(case):
        return Judgement(INCONCLUSIVE, "it is answered")
    return found


def list_names(case: Case) -> Judgement:
    """Whether the user's row in the list has some of the full name, which may be cut (4.1)."""
    rows = _rows(case)
    if not case.plan.user or not case.plan.name or not rows:
        return Judgement(INCONCLUSIVE, "no --name was given, or the user is not in the list")
    return _name_judgement(has_part_of_name(case.plan.name, case.plan.user, b"\n".join(rows)), excerpt(rows[0]))


def full_name(case: Case) -> Judgement:
    """Whether the answer about the user has the full name; letters beyond ASCII may be changed or missing."""
    if not case.fingerprint or not case.plan.name:
        return Judgement(INCONCLUSIVE, "no --name was given" if case.fingerprint else NO_USER)
    found = has_name(case.plan.name, case.data("user"))
    missing = f"{case.plan.name!a} is not in the answer {case.excerpt('user')}"
    return _name_judgement(found, "the answer has it" if found else missing)


def _name_judgement(found: bool | None, evidence: str) -> Judgement:
    return Judgement(INCONCLUSIVE if found is None else OK if found else FAILS, evidence)


def logins(case: Case) -> Judgement:
    """Whether the login is answered differently from an unknown name."""
    return Judgement(OK, case.excerpt("user")) if case.fingerprint else Judgement(INCONCLUSIVE, NO_USER)
