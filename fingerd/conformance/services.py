"""Judges of what is answered: {Q2} (RFC 1288 2.4), {C} (2.5.1) and {U} (2.5.2, 2.5.3)."""

from fingerd.conformance.names import is_hinted, is_told
from fingerd.conformance.probes import HOST
from fingerd.conformance.texts import refuses, shown, text_of, without
from fingerd.conformance.verdicts import FAILS, NO_USER, NOTE, OK, UNKNOWN, Case, Judged, lost

ABOUT_HOSTS = ("host", "resolv", "connect", "lookup", "name or service", "address", "network")  # who tries to forward


def _forwarded(case: Case, probe: str) -> Judged:
    """What became of one query for another host."""
    heard = case.heard[probe]
    name = case.plan.user if probe == "user@host" else case.plan.nobody
    if not heard.data.strip():
        return Judged(UNKNOWN if case.is_missing(probe) else FAILS, f"{probe!r}: {lost(heard)}")
    seen = f"{probe!r}: {case.shown(probe)}"
    if case.is_as_nobody(probe, f"/W {name}@{HOST}", f"{name}@{HOST}", f"@{HOST}"):
        return Judged(UNKNOWN if refuses(heard.data) else FAILS, f"{seen}, as for an unknown user")
    if probe == "user@host" and case.is_about_user(probe):
        return Judged(FAILS, f"{seen}, which is about the server's own user")
    if refuses(heard.data):
        return Judged(OK, seen)
    if probe == "@host" and without(heard.data) == without(case.data("list")):
        return Judged(FAILS, f"{seen}, which is the server's own list")
    tries = any(word in text_of(heard.data).lower().replace(HOST, "") for word in ABOUT_HOSTS)
    return Judged(OK if tries else UNKNOWN, seen)


def forwarding(case: Case) -> Judged:
    """The worst of what became of the queries for another host."""
    probes = [probe for probe in ("nobody@host", "/W nobody@host", "@host", "user@host") if probe in case.heard]
    found = [_forwarded(case, probe) for probe in probes]
    return next((each for verdict in (FAILS, UNKNOWN) for each in found if each.verdict == verdict), found[0])


def forwarding_words(case: Case) -> Judged:
    """Whether {Q2} is refused in words, where it is."""
    found = _forwarded(case, "nobody@host")
    if found.verdict == OK and not refuses(case.data("nobody@host")):
        return Judged(UNKNOWN, "it seems to be provided")
    return found


def many_hosts(case: Case) -> Judged:
    """Whether many @hosts are answered as one is."""
    if _forwarded(case, "nobody@host").verdict != OK:
        return Judged(UNKNOWN, "not even one host is taken as one")
    heard, one = case.heard["many hosts"], case.data("nobody@host")
    if refuses(heard.data) or (heard.data and without(heard.data, case.plan.nobody) == without(one, case.plan.nobody)):
        return Judged(OK, "as with one")
    return Judged(NOTE, case.shown("many hosts") if heard.data else lost(heard))


def _rows(case: Case) -> list[bytes]:
    """The lines of the list that are about the user."""
    lines = case.data("list").splitlines()
    return [line for line in lines if case.plan.user.encode() in line.split() and not refuses(line)]


def _is_list_refused(case: Case) -> bool:
    """Whether words say so; above a list that has the user they are a warning to whoever reads it."""
    return refuses(case.data("list")) and not _rows(case)


def user_list(case: Case) -> Judged:
    """Whether {C} is answered or refused, but not dropped, and not taken for a name."""
    heard = case.heard["list"]
    if not heard.data.strip():
        return Judged(UNKNOWN if case.is_missing("list") else FAILS, lost(heard))
    if _is_list_refused(case):
        return Judged(OK, f"refused: {case.shown('list')}")
    if case.is_as_nobody("list"):
        return Judged(FAILS, f"{case.shown('list')}, as for an unknown user")
    return Judged(OK, f"answered: {case.shown('list')}")


def list_words(case: Case) -> Judged:
    """Whether {C} is refused in words, where it is."""
    found = user_list(case)
    if found.verdict == OK and not _is_list_refused(case):
        return Judged(UNKNOWN, "it is answered")
    return found


def list_names(case: Case) -> Judged:
    """Whether the user's row in the list has some of the full name, which may be cut (4.1)."""
    rows = _rows(case)
    if not case.plan.user or not case.plan.name or not rows:
        return Judged(UNKNOWN, "no --name was given, or the user is not in the list")
    return _named(is_hinted(case.plan.name, case.plan.user, b"\n".join(rows)), shown(rows[0]))


def full_name(case: Case) -> Judged:
    """Whether the answer about the user has the full name; letters beyond ASCII may look otherwise, or be gone."""
    if not case.known.words or not case.plan.name:
        return Judged(UNKNOWN, "no --name was given" if case.known.words else NO_USER)
    found = is_told(case.plan.name, case.data("user"))
    return _named(found, "it is told" if found else f"{case.plan.name!a} is not in the answer {case.shown('user')}")


def _named(found: bool | None, seen: str) -> Judged:
    return Judged(UNKNOWN if found is None else OK if found else FAILS, seen)


def logins(case: Case) -> Judged:
    """Whether the login is answered otherwise than a name of nobody."""
    if not case.known.words:
        return Judged(UNKNOWN, NO_USER)
    return Judged(OK, case.shown("user"))
