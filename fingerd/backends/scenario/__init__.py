"""``type: scenario``: fictional people, who come and go and change as a story has it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, ClassVar

from fingerd.backends import Backend, Lookup
from fingerd.backends.scenario.timeline import Actor, Sitting, Story, StoryError, read_story
from fingerd.config.system_options import read_path
from fingerd.config.values import Scalar
from fingerd.errors import OptionError
from fingerd.people import LastLogin, Person, Session
from fingerd.protocol.query import is_queryable

BEGAN = time.time()  # when this process heard of scenarios first: a reload does not begin them anew


@dataclass(frozen=True)
class Moment:
    """Makes ``time.time()`` seconds of a moment in ISO 8601, which is local time where it names no offset."""

    type_name = "moment"

    def __call__(self, scalar: Scalar) -> float:
        """The seconds; ValueError for what is no moment."""
        try:
            return datetime.fromisoformat(scalar.text).timestamp()
        except (ValueError, OverflowError):
            raise ValueError("must be a moment, as 2026-12-24 or 2026-12-24T18:00:00+01:00") from None


@dataclass(frozen=True)
class Scenario(Backend):
    """Fictional people whose state changes with time, from a scenario in TOML as pyfingerd plays them."""

    blocking: ClassVar[bool] = False
    searches_names: ClassVar[bool] = True

    file: Annotated[str, read_path]
    start: Annotated[float, Moment()] | None = None
    _story: Story = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "_story", read_story(self.file))
        except StoryError as error:
            raise OptionError(str(error), "file") from error

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Who has the login by now, and those whose full name it is a part of where that counts."""
        now = time.time()
        moment = self._moment(now)
        if moment is None:
            return ()
        actor = self._story.actor(lookup.username, moment)
        found = [_person(actor, now, moment)] if actor else []
        if not lookup.by_name:
            return found
        others = (_person(other, now, moment) for other in self._story.actors(moment) if other != actor)
        return [*found, *(person for person in others if person.matches_name(lookup.username))]

    def list_users(self, lookup: Lookup) -> Iterator[Person]:
        """Who is logged in by now."""
        now = time.time()
        moment = self._moment(now)
        if moment is None:
            return iter(())
        return (_person(actor, now, moment) for actor in self._story.actors(moment) if actor.sittings)

    def warnings(self) -> Iterator[str]:
        """Those whom nobody can ask for."""
        for login in self._story.logins():
            if not is_queryable(login):
                yield f"no query can ask for a user called {login!r}"

    def _moment(self, now: float) -> float | None:
        """Where the story is, in seconds; None when it is over."""
        return self._story.now(now - (BEGAN if self.start is None else self.start))


def _person(actor: Actor, now: float, moment: float) -> Person:
    """Somebody of the story, at this time and at this moment of it."""
    start = now - moment  # of the story, the last time that it began
    last = LastLogin(start + actor.last.since, actor.last.line, actor.last.host) if actor.last else LastLogin(None)
    texts = actor.texts
    return Person(
        actor.login,
        name=texts.get("name", ""),
        office=texts.get("office", ""),
        directory=texts.get("home", ""),
        shell=texts.get("shell", ""),
        plan=texts.get("plan", ""),
        sessions=tuple(_session(sitting, start, moment) for sitting in actor.sittings),
        last_login=last,
    )


def _session(sitting: Sitting, start: float, moment: float) -> Session:
    idle = 0.0 if sitting.idle_since is None else moment - sitting.idle_since
    return Session(sitting.line, sitting.host, start + sitting.since, idle)
