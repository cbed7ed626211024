"""``type: chain``: several backends, asked in turn."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fingerd.backends import Ask, Backend
from fingerd.errors import BackendError, OptionError
from fingerd.people import Person

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chain(Backend):
    """The first of several backends that knows the user.

    A member that fails makes the whole chain fail, unless ``on_error`` is ``skip``.
    """

    backends: tuple[Backend, ...]
    on_error: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        if not self.backends:
            raise OptionError("is empty: give at least one", "backends")
        for promise in ("instant", "constant"):
            object.__setattr__(self, promise, all(getattr(backend, promise) for backend in self.backends))
        object.__setattr__(self, "knows_names", any(backend.knows_names for backend in self.backends))

    def find(self, ask: Ask) -> Sequence[Person]:
        """The people of the first member that knows any; where parts of full names count, of all, and nobody twice.

        Else somebody's name in one member would hide somebody's login in another.
        """
        found: list[Person] = []
        for backend in self.backends:
            try:
                people = backend.find(ask)
            except BackendError as error:
                self._pass_over(error)
                continue
            if people and not ask.by_name:
                return people
            known = {person.login for person in found}
            found += (person for person in people if person.login not in known)
        return sorted(found, key=lambda person: person.login != ask.username)

    def listed(self, ask: Ask) -> Iterator[Person] | None:
        """Everybody whom any member lists, and nobody twice; None where no member keeps a list."""
        lists = []
        for backend in self.backends:
            try:
                lists.append(backend.listed(ask))
            except BackendError as error:
                self._pass_over(error)
        known = [people for people in lists if people is not None]
        return self._one_after_the_other(known) if known else None

    def close(self) -> None:
        """Close every member."""
        for backend in self.backends:
            backend.close()

    def _one_after_the_other(self, lists: Sequence[Iterator[Person]]) -> Iterator[Person]:
        told: set[str] = set()
        for people in lists:
            try:
                for person in people:
                    if not person.login or person.login not in told:
                        told.add(person.login)
                        yield person
            except BackendError as error:
                self._pass_over(error)

    def _pass_over(self, error: BackendError) -> None:
        """Go on without the member that failed, or fail with it."""
        if self.on_error == "fail":
            raise error
        log.warning("backend skipped: %s", error)
