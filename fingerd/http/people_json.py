"""People as JSON: atoms by their names. What is hidden or unknown is absent; times are RFC 3339.

A ``when`` of null means that somebody never logged in.
"""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from fingerd.http.masking import masked, masked_start
from fingerd.people import TEXT_ATOMS, Person, Session
from fingerd.people.links import parse_links
from fingerd.ruip.times import local_time

Json = dict[str, Any]


def person_json(person: Person, profile_url: str, max_characters: int) -> Json:
    """One person; texts are cut to ``max_characters`` each."""
    if person.text is not None:
        login = {"login": masked(person.login)} if person.login else {}
        return {**login, "text": masked_start(person.text, max_characters).rstrip("\n")}
    return dict(_atoms(person, profile_url, max_characters))


def _atoms(person: Person, profile_url: str, max_characters: int) -> Iterator[tuple[str, Any]]:
    if person.login:
        yield "login", masked(person.login)
    for atom in TEXT_ATOMS:
        value = getattr(person, atom)
        if atom == "links":
            if links := list(_links(value, profile_url, max_characters)):
                yield atom, links
        elif value or (atom == "plan" and value is not None):
            yield atom, masked_start(value, max_characters)
    if person.plan and person.plan_changed is not None:
        yield "plan_changed", rfc3339(person.plan_changed)
    if person.sessions is not None:
        yield "sessions", [_session(session) for session in person.sessions]
    if person.last_login is not None:
        when = person.last_login.when
        origin = _known(terminal=person.last_login.terminal, host=person.last_login.host)
        yield "last_login", {"when": None if when is None else rfc3339(when), **origin}
    if person.mail is not None:
        mail = person.mail
        yield (
            "mail",
            {key: rfc3339(at) for key, at in (("received", mail.received), ("read", mail.read)) if at is not None},
        )
    if person.forward:
        yield "forward", masked(person.forward)


def _links(text: str, profile_url: str, max_characters: int) -> Iterator[Json]:
    """The links, as many as there is room for."""
    for link in parse_links(text, profile_url):
        max_characters -= sum(map(len, link))
        if max_characters < 0:
            break
        yield {key: value for key, value in link._asdict().items() if value}


def _session(session: Session) -> Json:
    since = {} if session.since is None else {"since": rfc3339(session.since)}
    idle = {} if session.idle is None else {"idle_seconds": int(session.idle)}
    return {**_known(terminal=session.terminal, host=session.host), **since, **idle, "messages": session.messages}


def _known(**texts: str) -> Json:
    return {name: masked(text) for name, text in texts.items() if text}


def rfc3339(timestamp: float) -> str:
    """The local time with its offset, to the second; UTC where the offset has seconds, which RFC 3339 cannot write."""
    moment = local_time(timestamp)
    offset = moment.utcoffset()
    return (moment.astimezone(UTC) if offset and offset.seconds % 60 else moment).isoformat(timespec="seconds")
