"""A backend whose look-ups are noted as figures, with their results and how long they take."""

from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Protocol

from fingerd.backends import Backend, Lookup, type_name
from fingerd.figures import FIGURES
from fingerd.people import Person

FOUND, UNKNOWN, ERROR = LOOKUP_RESULTS = ("found", "unknown", "error")


class Source(Protocol):
    """What is asked of a backend to answer a query."""

    @property
    def searches_names(self) -> bool: ...

    def find(self, lookup: Lookup) -> Sequence[Person]: ...
    def list_users(self, lookup: Lookup) -> Iterator[Person] | None: ...


class MeasuredBackend:
    """Asks a backend, and notes each look-up; a backend without a list counts as one that finds nobody."""

    def __init__(self, backend: Backend) -> None:
        self._find, self._list_users = backend.find, backend.list_users
        self._type = type_name(type(backend))
        self._keep = FIGURES.noted.append
        self.searches_names = backend.searches_names

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """The people that the backend finds."""
        begun = monotonic()
        try:
            people = self._find(lookup)
        except BaseException:
            self._note(ERROR, begun)
            raise
        self._note(FOUND if people else UNKNOWN, begun)
        return people

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The list of the backend. It is noted when its end is reached, or when nobody wants the rest."""
        begun = monotonic()
        try:
            people = self._list_users(lookup)
        except BaseException:
            self._note(ERROR, begun)
            raise
        if people is None:
            self._note(UNKNOWN, begun)
            return None
        return self._each(people, begun)

    def _each(self, people: Iterator[Person], begun: float) -> Iterator[Person]:
        result = ERROR
        try:
            yield from people
            result = FOUND
        except GeneratorExit:  # the answer is full
            result = FOUND
            raise
        finally:
            self._note(result, begun)

    def _note(self, result: str, begun: float) -> None:
        """As ``FIGURES.note`` does where figures are counted, in less time."""
        self._keep(("lookup", result, self._type, monotonic() - begun))


def measured(backend: Backend) -> Source:
    """The backend itself, or, where this process counts, one that notes what it is asked."""
    return MeasuredBackend(backend) if FIGURES.are_counted else backend
