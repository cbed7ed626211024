"""People as JSON: atoms by their names. What is hidden or unknown is absent; times are RFC 3339."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fingerd.http.masking import masked, masked_start
from fingerd.people import TEXT_ATOMS, Person, Session
from fingerd.people.links import parse_links
from fingerd.ruip.times import local_time

Json = dict[str, Any]
LONG_ATOMS = ("project", "plan", "pgpkey", "pubkey", "links")


def person_json(person: Person, profile_url: str, max_characters: int) -> Json:
    """One person; texts are cut to ``max_characters`` each."""
    if person.text is not None:
        login = {"login": person.login} if person.login else {}
        return {**login, "text": masked_start(person.text, max_characters).rstrip("\n")}
    return dict(_atoms(person, profile_url, max_characters))


def _atoms(person: Person, profile_url: str, max_characters: int) -> Iterator[tuple[str, Any]]:
    if person.login:
        yield "login", masked(person.login)
    for atom in TEXT_ATOMS:
        value = getattr(person, atom)
        if atom == "links":
            if links := parse_links(value, profile_url):
                yield atom, [{key: text for key, text in link._asdict().items() if text} for link in links]
        elif value or (atom == "plan" and value is not None):
            yield atom, masked_start(value, max_characters)
    if person.plan and person.plan_changed is not None:
        yield "plan_changed", _time(person.plan_changed)
    if person.sessions is not None:
        yield "sessions", [_session(session) for session in person.sessions]
    if person.last_login is not None:
        when = person.last_login.when
        origin = _known(terminal=person.last_login.terminal, host=person.last_login.host)
        yield "last_login", {"when": None if when is None else _time(when), **origin}
    if person.mail is not None:
        mail = person.mail
        yield (
            "mail",
            {key: _time(at) for key, at in (("received", mail.received), ("read", mail.read)) if at is not None},
        )
    if person.forward:
        yield "forward", masked(person.forward)


def _session(session: Session) -> Json:
    since = {} if session.since is None else {"since": _time(session.since)}
    idle = {} if session.idle is None else {"idle_seconds": int(session.idle)}
    return {**_known(terminal=session.terminal, host=session.host), **since, **idle, "messages": session.messages}


def _known(**texts: str) -> Json:
    return {name: masked(text) for name, text in texts.items() if text}


def _time(timestamp: float) -> str:
    return rfc3339(local_time(timestamp))


def rfc3339(moment: datetime) -> str:
    """The time with its offset, to the second."""
    return moment.isoformat(timespec="seconds")
