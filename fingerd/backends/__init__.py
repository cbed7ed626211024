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
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from fingerd.people import Person

ENTRY_POINTS = "fingerd.backends"

# Ours that need a library which fingerd does without else: Debian's package of it. pip's extra is named as the backend.
EXTRAS = {"ldap": "python3-ldap3", "sql": "python3-sqlalchemy"}

Takes = Literal["query", "line", "anything", "nothing"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a backend is asked: who is meant, how fully, by whom, by when, and whether parts of full names count."""

    username: str
    verbose: bool
    client: str  # an address, or "unix"
    deadline: float  # time.monotonic() seconds
    by_name: bool = False


class Backend(Protocol):
    """Knows some people. Built once at start-up, and shared by all threads, which may call it at the same time.

    ``instant`` backends answer from memory and never wait: they are asked on
    the thread that watches all connections. ``constant`` ones give the same
    answer to a query whoever asks, and whenever. Those that ``knows_names``
    find people by parts of their full names too. ``takes`` says how much of a
    client is wanted: a query to answer; or, for backends that are no source of
    people but a way to treat connections, a line before the close, anything
    until ``read_seconds`` are over, or nothing at all.
    """

    instant: ClassVar[bool] = False
    constant: ClassVar[bool] = False
    knows_names: ClassVar[bool] = False
    takes: ClassVar[Takes] = "query"

    def find(self, ask: Ask) -> Sequence[Person]:
        """Everyone whom the name may mean, the exact login first; none for nobody. BackendError when it cannot tell.

        With ``by_name``, those count too whose full name has all its words, where the backend knows full names.
        """
        ...

    def listed(self, ask: Ask) -> Iterator[Person] | None:
        """The people that {C} tells, one by one; None where no list is kept. BackendError when it cannot tell."""
        return None

    def close(self) -> None:
        """Give back connections, files and programs: no query uses them any more, or the process ends."""
        return None


@runtime_checkable
class NeedsSystem(Protocol):
    """A backend that works with files of the system it runs on, and so may miss some, above all in a chroot."""

    def missing(self, root: Path) -> Iterator[str]:
        """What it needs that is not there when ``root`` is the root directory, each as a complaint."""
        ...


@runtime_checkable
class HasDoubts(Protocol):
    """A backend with options that may do what nobody wants."""

    def doubts(self) -> Iterator[str]:
        """What may not be meant as it is written, each as a warning."""
        ...


@runtime_checkable
class AnswersAtOnce(Protocol):
    """A backend that has some of its answers in memory: those are given on the thread that watches all connections."""

    def at_once(self, ask: Ask) -> Sequence[Person] | None:
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


def package_of(name: str) -> str:
    """The distribution that brings the backend called ``name``, with its version where that is known."""
    point = _entry_points().get(name)
    if point is None or _is_ours(name):
        return "fingerd"
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
