"""The states of fictional people over time, made once by replaying the actions of a scenario."""

from bisect import bisect
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fingerd.backends.scenario.actions import ENDINGS, Action, Ending

END_SECONDS = 10.0  # after the last action, if the scenario has no end


@dataclass(frozen=True, slots=True)
class TimedSession:
    """A login session; times are in seconds after the start."""

    name: str  # by which later actions refer to it; without one, they refer to the latest of those without
    line: str
    host: str
    since: float
    idle_since: float | None = None  # None while it is active


@dataclass(frozen=True, slots=True)
class PersonState:
    """A person between two actions."""

    login: str
    texts: Mapping[str, str] = field(default_factory=dict)
    sessions: tuple[TimedSession, ...] = ()
    last_session: TimedSession | None = None  # the latest login, whether it has ended or not


_Change = tuple[float, PersonState | None]  # the state from a time on, None after the person is deleted


@dataclass(frozen=True, slots=True)
class Timeline:
    """The states of all people over time."""

    _changes: Mapping[str, Sequence[_Change]]  # by login
    _end: float
    _ending: Ending

    def position(self, elapsed: float) -> float | None:
        """The time on the timeline, when so many seconds have passed since the start; None if it has stopped."""
        if elapsed <= self._end or self._ending == "freeze":
            return elapsed
        return elapsed % self._end if self._ending == "repeat" else None

    def logins(self) -> Collection[str]:
        """The logins of all people, at any time."""
        return self._changes.keys()

    def state(self, login: str, time: float) -> PersonState | None:
        """The person with this login at that time; None if there is none."""
        changes = self._changes.get(login, ())
        index = bisect(changes, time, key=lambda change: change[0])
        return changes[index - 1][1] if index else None

    def names(self) -> Iterator[tuple[str, str]]:
        """For each login, in the order of their creation: all full names that the person ever has, and the login."""
        for login, changes in self._changes.items():
            names = dict.fromkeys(state.texts.get("name", "") for _, state in changes if state)
            yield " ".join(names), login

    def states(self, time: float) -> Iterator[PersonState]:
        """All people at that time, in the order of their creation."""
        return filter(None, (self.state(login, time) for login in self._changes))


def replay(actions: Sequence[Action]) -> Timeline:
    """The timeline of actions, which are in order of time; ValueError if one is impossible at its time."""
    first_end = next((action for action in actions if action.type in ENDINGS), None)
    ending = ENDINGS[first_end.type] if first_end else "freeze"
    end = first_end.time if first_end else actions[-1].time + END_SECONDS if actions else END_SECONDS
    if first_end and ending == "repeat" and end <= 0:
        raise ValueError(f"{first_end.place}: repeat must come after the start")
    changes: dict[str, list[_Change]] = {}
    for action in actions:
        if action.time >= end:
            break
        history = changes.setdefault(action.login, [])
        try:
            history.append((action.time, _apply(action, history[-1][1] if history else None)))
        except ValueError as error:
            raise ValueError(f"{action.place}: {error}") from error
    return Timeline(changes, end, ending)


def _apply(action: Action, state: PersonState | None) -> PersonState | None:
    """The state after an action; ValueError if it is impossible in this state."""
    if action.type == "create":
        if state:
            raise ValueError(f"the user {action.login} exists already")
        return PersonState(action.login, action.texts)
    if state is None:
        raise ValueError(f"the user {action.login} does not exist at that time")
    if action.type == "update":
        return replace(state, texts={**state.texts, **action.texts})
    return None if action.type == "delete" else _apply_to_session(action, state)


def _apply_to_session(action: Action, state: PersonState) -> PersonState:
    indexes = [index for index, session in enumerate(state.sessions) if session.name == action.session]
    if action.type == "login":
        if action.session and indexes:
            raise ValueError(f"{action.login} has a session {action.session} already")
        session = TimedSession(action.session, action.line, action.host, action.time)
        return replace(state, sessions=(*state.sessions, session), last_session=session)
    if not indexes:
        raise ValueError(f"{action.login} has no session {action.session}".rstrip() + " at that time")
    sessions = list(state.sessions)
    session = sessions.pop(indexes[-1])
    if action.type != "logout":
        idle_since = action.time if session.idle_since is None else session.idle_since
        sessions.insert(indexes[-1], replace(session, idle_since=idle_since if action.type == "idle" else None))
    return replace(state, sessions=tuple(sessions))
