"""Atom feeds (RFC 4287) of plans, without a store: an entry is a plan, and its id holds the hash of its text."""

import hashlib
import heapq
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from markupsafe import escape

from fingerd.http.masking import masked, masked_line
from fingerd.http.pages import render
from fingerd.http.people_json import rfc3339
from fingerd.http.routes import person_path
from fingerd.people import Person
from fingerd.text import mark_cut

CONTENT_TYPE = "application/atom+xml"
_YEAR = "2026"  # of the tag URIs (RFC 4151): any date at which the host was its owner's, always the same
_SEEN_MAX = 10_000  # texts whose first sight is remembered, some 200 bytes each
_TITLE_CHARACTERS = 80
_ENTRY_BYTES = 500  # of markup


class FirstSeen:
    """When this process first saw a text, for sources that do not know when it changed. For all threads.

    Of many texts, those that were asked for longest ago are forgotten.
    """

    def __init__(self) -> None:
        self.begun = time.time()
        self._times: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def when(self, digest: str) -> float:
        """The time in ``time.time()`` seconds."""
        with self._lock:
            seen = self._times.setdefault(digest, time.time())
            self._times.move_to_end(digest)
            if len(self._times) > _SEEN_MAX:
                self._times.popitem(last=False)
        return seen


@dataclass(frozen=True, slots=True)
class Entry:
    """One plan. ``url`` is the page of its author, empty where the login is hidden."""

    id: str
    title: str
    author: str
    url: str
    updated: str
    text: str

    @property
    def size(self) -> int:
        """The bytes that it takes in the feed, at most."""
        texts = (self.id, self.title, self.author, self.url, self.url, self.text)
        return sum(len(escape(text).encode()) for text in texts) + _ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Source:
    """What a feed is of: the URL of the site, the paths of the feed and of the page, and the title."""

    base_url: str
    path: str
    page: str
    title: str


def feed(people: Iterable[Person], first_seen: FirstSeen, source: Source, budget: int) -> bytes:
    """The feed of the people's plans, the newest first; the oldest are left out where it has no room for all.

    No more than the budget of bytes is kept while people come, whatever their number.
    """
    newest: list[tuple[float, int, int, Entry]] = []  # the oldest first: its time, its place, its size
    ids: set[str] = set()
    room = budget
    for number, person in enumerate(people):
        if not (person.plan or "").strip():
            continue
        digest = _digest(person)
        least = _ENTRY_BYTES + len(person.plan or "")
        when = first_seen.when(digest) if person.plan_changed is None else person.plan_changed
        if newest and room < least and (when, -number) < newest[0][:2]:  # it would be the first to go
            continue
        entry = _entry(person, digest, when, source, budget)
        if entry.id in ids:
            continue
        ids.add(entry.id)
        size = entry.size
        heapq.heappush(newest, (when, -number, size, entry))
        room -= size
        while room < 0 and len(newest) > 1:
            room += heapq.heappop(newest)[2]
    found = sorted(newest, reverse=True)
    return render(
        "feed.xml",
        feed_id=f"{source.base_url}{source.path}",
        title=masked_line(source.title),
        updated=rfc3339(found[0][0] if found else first_seen.begun),
        self_url=f"{source.base_url}{source.path}",
        page_url=f"{source.base_url}{source.page}",
        entries=[entry for _, _, _, entry in found],
    ).encode()


def _entry(person: Person, digest: str, when: float, source: Source, max_bytes: int) -> Entry:
    path = person_path(person.login) if person.login else source.path
    text = masked(person.plan or "").strip("\n").rstrip()
    title = next((line.strip() for line in text.splitlines() if line.strip()), "Plan")
    return Entry(
        f"tag:{_authority(source.base_url)},{_YEAR}:{path}/{digest}",
        title if len(title) <= _TITLE_CHARACTERS else f"{title[: _TITLE_CHARACTERS - 1]}…",
        masked_line(person.name) or masked_line(person.login) or masked_line(source.title),
        f"{source.base_url}{path}" if person.login else "",
        rfc3339(when),
        _cut(text, max_bytes),
    )


def _cut(text: str, max_bytes: int) -> str:
    """The text, cut at a line's end if it takes more bytes in XML."""
    characters = len(text)
    while characters and len(escape(text[:characters]).encode()) > max_bytes:
        characters //= 2
    return text if characters == len(text) else mark_cut(text[:characters]).rstrip("\n")


def _authority(base_url: str) -> str:
    """The authority of the tag URIs (RFC 4151): the host. For an IPv6 address, which cannot be one, its DNS name."""
    host = urlsplit(base_url).hostname or ""
    return IPv6Address(host).reverse_pointer if ":" in host else host


def _digest(person: Person) -> str:
    """The hash of a plan and of whose it is; where the login is hidden, nothing of it is in the hash."""
    return hashlib.sha256(f"{person.login or person.name}\0{person.plan}".encode(errors="replace")).hexdigest()[:32]
