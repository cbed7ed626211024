"""Atom feeds (RFC 4287) of plans, without a store: an entry is a plan, and its id holds the hash of its text."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fingerd.http.masking import masked
from fingerd.http.pages import render
from fingerd.http.people_json import rfc3339
from fingerd.http.routes import person_path
from fingerd.people import Person
from fingerd.ruip.times import local_time
from fingerd.text import one_line

CONTENT_TYPE = "application/atom+xml"
_YEAR = "2026"  # of the tag URIs (RFC 4151): any date at which the host was its owner's, always the same
_SEEN_MAX = 10_000  # texts whose first sight is remembered, some 200 bytes each


class FirstSeen:
    """When this process first saw a text, for sources that do not know when it changed. For all threads."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, float] = OrderedDict()

    def when(self, digest: str) -> float:
        """The time in ``time.time()`` seconds."""
        seen = self._times.setdefault(digest, time.time())
        while len(self._times) > _SEEN_MAX:
            self._times.popitem(last=False)
        return seen


@dataclass(frozen=True, slots=True)
class Entry:
    """One plan."""

    id: str
    title: str
    author: str
    url: str
    updated: str
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """What a feed is of: the URL of the site, the paths of the feed and of the page, and the title."""

    base_url: str
    path: str
    page: str
    title: str


def feed(people: Iterable[Person], first_seen: FirstSeen, source: Source) -> bytes:
    """The feed of the people's plans, the newest first."""
    found = [(_changed(person, first_seen), person) for person in people if person.plan and person.login]
    found.sort(key=lambda pair: pair[0], reverse=True)
    base_url = source.base_url
    changed = found[0][0] if found else 0.0
    return render(
        "feed.xml",
        feed_id=f"{base_url}{source.path}",
        title=one_line(masked(source.title)),  # it may be a person's name
        updated=_time(changed),
        self_url=f"{base_url}{source.path}",
        page_url=f"{base_url}{source.page}",
        entries=[_entry(person, when, base_url) for when, person in found],
    ).encode()


def _entry(person: Person, when: float, base_url: str) -> Entry:
    host = urlsplit(base_url).hostname
    author = one_line(masked(person.name or person.login))
    page = person_path(person.login)
    text = masked(person.plan or "").strip("\n").rstrip()
    title = next((line.strip() for line in text.splitlines() if line.strip()), "Plan")
    return Entry(
        f"tag:{host},{_YEAR}:{page}/{_digest(person)}",
        title if len(title) <= 80 else f"{title[:79]}…",
        author,
        f"{base_url}{page}",
        _time(when),
        text,
    )


def _changed(person: Person, first_seen: FirstSeen) -> float:
    return person.plan_changed if person.plan_changed is not None else first_seen.when(_digest(person))


def _digest(person: Person) -> str:
    return hashlib.sha256(f"{person.login}\0{person.plan}".encode(errors="replace")).hexdigest()[:32]


def _time(timestamp: float) -> str:
    return rfc3339(local_time(timestamp))
