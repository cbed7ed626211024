"""What a backend promises, and how the name in ``type:`` finds one.

A backend called ``static`` is the class ``Static`` in the module
``fingerd.backends.static``: a frozen dataclass whose fields are its options
and whose docstring is its documentation. Other packages add theirs through
the entry-point group ``fingerd.backends``; a name of ours always means ours.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from fingerd.people import Person

ENTRY_POINTS = "fingerd.backends"

# Ours that need a library which fingerd does without else: Debian's package of it. pip's extra is named as the backend.
EXTRAS = {"ldap": "python3-ldap3", "sql": "python3-sqlalchemy"}

Reads = Literal["query", "line", "anything", "nothing"]


@dataclass(frozen=True, slots=True)
class Lookup:
    """Whom a backend is asked for, how fully, by whom, and by when."""

    username: str
    verbose: bool
    client: str  # an address, or "unix"
    deadline: float  # time.monotonic() seconds
    by_name: bool = False  # whether parts of full names count


class Backend(Protocol):
    """Knows some people. Built at start-up, shared by all threads, never touched by the network side.

    A backend is a frozen dataclass: its fields are its options. The properties
    say how it may be asked; most backends set a class attribute instead.
    """

    @property
    def blocking(self) -> bool:
        """Whether ``find`` and ``list_users`` may wait. Then a worker's thread calls them, else the loop's own."""
        return True

    @property
    def repeatable_seconds(self) -> float:
        """For how long an answer may be given again, to any client under the same rule; ``inf`` until a reload."""
        return 0.0

    @property
    def searches_names(self) -> bool:
        """Whether ``find`` knows parts of full names, where the lookup is ``by_name``."""
        return False

    @property
    def depends_on_client(self) -> bool:
        """Whether who asks changes the answer, so that it must not be given to another client."""
        return False

    @property
    def may_be_partial(self) -> bool:
        """Whether an answer may lack people or atoms that a source could not give in time."""
        return False

    @property
    def reads(self) -> Reads:
        """How much of a client is read: a query to answer, or, where a backend treats connections and knows no people:
        a line before the close, anything until ``read_seconds`` are over, or nothing."""
        return "query"

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """Everyone whom the name may mean, the exact login first; empty if unknown. BackendError if it cannot tell.

        With ``by_name``, also those whose full name has all its words, where the backend searches names.
        """
        ...

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The people of {C}, one by one; None where no list is kept. BackendError if it cannot tell."""
        return None

    def close(self) -> None:
        """Release connections, files and programs: no query uses them any more, or the process ends."""
        return None


@runtime_checkable
class ChecksSystem(Protocol):
    """A backend that needs files of the system it runs on, which may be missing, above all in a chroot."""

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """What it needs and does not find when ``root`` is the root directory, each as a message."""
        ...


@runtime_checkable
class HasWarnings(Protocol):
    """A backend that can warn about its options."""

    def warnings(self) -> Iterator[str]:
        """What may not be meant as it is written, each as a message."""
        ...


@runtime_checkable
class AnswersAtOnce(Protocol):
    """A backend that has some of its answers in memory: those are given on the thread that watches all connections."""

    def at_once(self, lookup: Lookup) -> Sequence[Person] | None:
        """What ``find`` would give, without waiting for anything; None where that would have to wait."""
        ...


class UnknownTypeError(LookupError):
    """No backend has this name."""


def backend_names() -> tuple[str, ...]:
    """Every name that ``type:`` may have, ours first."""
    ours = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return (*ours, *sorted(name for name in _entry_points() if name not in ours))


def _entry_points() -> Mapping[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def load_type(name: str) -> type[Any]:
    """The class of the backends called ``name``.

    UnknownTypeError where there is none; ImportError where something it is made with is not installed, or the
    package that brings it is broken.
    """
    if _is_ours(name):
        return _load_ours(name)
    point = _entry_points().get(name)
    if point is None:
        raise UnknownTypeError(name)
    try:
        return point.load()  # type: ignore[no-any-return]
    except ImportError:
        raise
    except Exception as error:  # whatever a stranger's module does: it takes nothing else down
        raise ImportError(f"{point.value}: {error!r}") from error


def _load_ours(name: str) -> type[Any]:
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ImportError as error:
        if name not in EXTRAS:
            raise
        raise ImportError(f"{error} (pip install 'fingerd[{name}]', or Debian's {EXTRAS[name]})") from error
    return getattr(module, name.capitalize())  # type: ignore[no-any-return]


def _is_ours(name: str) -> bool:
    return name.isidentifier() and name[0] != "_" and importlib.util.find_spec(f"{__name__}.{name}") is not None


def distribution_of(name: str) -> str:
    """The distribution that brings the backend called ``name``, with its version where that is known."""
    point = _entry_points().get(name)
    if point is None or _is_ours(name):
        return "fingerd"
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
