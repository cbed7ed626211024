"""``type: scenario``: fictional people whose state changes with time, as a scenario file says."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.backends.scenario.actions import read_actions
from fingerd.backends.scenario.timeline import PersonState, TimedSession, Timeline, replay
from fingerd.config.system_options import read_path
from fingerd.config.values import Scalar, named
from fingerd.errors import option_errors
from fingerd.people import MAX_MATCHES, LastLogin, Person, Session
from fingerd.people.name_index import NameIndex
from fingerd.protocol.query import is_queryable
from fingerd.safe_files import writable_by_others
from fingerd.text import to_nfc

PROCESS_START = time.time()  # about: a reload does not restart a scenario


@named("date and time")
def read_time(scalar: Scalar) -> float:
    """The ``time.time()`` seconds of a date and time in ISO 8601; without an offset, it is local time."""
    try:
        return datetime.fromisoformat(scalar.text).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("must be a date and time, as 2026-12-24 or 2026-12-24T18:00:00+01:00") from None


@dataclass(frozen=True)
class Scenario(Backend):
    """Fictional people whose state changes with time, from a scenario in TOML as pyfingerd plays them."""

    blocking: ClassVar[bool] = False
    searches_names: ClassVar[bool] = True

    file: Annotated[str, read_path]
    start: Annotated[float, read_time] | None = None

    def __post_init__(self) -> None:
        with option_errors("file"):
            _ = self._logins_by_name  # read now: errors in the file are configuration errors

    @cached_property
    def _timeline(self) -> Timeline:
        return replay(read_actions(self.file))

    @cached_property
    def _logins_by_name(self) -> NameIndex[str]:
        """Logins by the words of all names that a person ever has: whether they have them now, the timeline knows."""
        return NameIndex(self._timeline.names())

    @property
    def people_count(self) -> int:
        return len(self._timeline.logins())

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The person with this login now; if the lookup is ``by_name``, then those whose full name matches."""
        now = time.time()
        position = self._position(now)
        if position is None:
            return ()
        username = to_nfc(lookup.username)
        state = self._timeline.state(username, position)
        found = [_person(state, now, position)] if state else []
        if not lookup.by_name:
            return found
        logins = (login for login in self._logins_by_name.find(username) if login != username)
        states = filter(None, (self._timeline.state(login, position) for login in logins))
        others = (_person(other, now, position) for other in states)
        return [*found, *islice((other for other in others if other.matches_name(username)), MAX_MATCHES)]

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """The people who are logged in now."""
        now = time.time()
        position = self._position(now)
        if position is None:
            return iter(())
        return (_person(state, now, position) for state in self._timeline.states(position) if state.sessions)

    def warnings(self) -> Iterator[str]:
        """A message for each login that no query can contain, and for a file that others may replace."""
        yield from writable_by_others(self.file)
        for login in self._timeline.logins():
            if not is_queryable(login):
                yield f"no query can ask for a user called {login!r}"

    def _position(self, now: float) -> float | None:
        """The time on the timeline, in seconds after its start; None if it has stopped."""
        return self._timeline.position(now - (PROCESS_START if self.start is None else self.start))


def _person(state: PersonState, now: float, position: float) -> Person:
    """The person, with times as of ``time.time()`` instead of the timeline's."""
    start = now - position  # of the timeline, or of its current repetition
    last, texts = state.last_session, state.texts
    return Person(
        state.login,
        name=texts.get("name", ""),
        office=texts.get("office", ""),
        directory=texts.get("home", ""),
        shell=texts.get("shell", ""),
        plan=texts.get("plan", ""),
        sessions=tuple(_session(session, start, position) for session in state.sessions),
        last_login=LastLogin(start + last.since, last.line, last.host) if last else LastLogin(None),
    )


def _session(session: TimedSession, start: float, position: float) -> Session:
    idle = 0.0 if session.idle_since is None else position - session.idle_since
    return Session(session.line, session.host, start + session.since, idle)
