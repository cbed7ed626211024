"""The Backend protocol, what the author of a backend needs for it, and how ``type:`` finds a backend by its name.

The backend ``static`` is the class ``Static`` in ``fingerd.backends.static``. Other packages add backends through the
entry-point group ``fingerd.backends``; they cannot replace a built-in one.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from fingerd.bugs import report_bug
from fingerd.config.system_options import Secret, SecretFile, read_path
from fingerd.config.values import Integer, Seconds, Size
from fingerd.errors import BackendError, OptionError, option_errors
from fingerd.people import LastLogin, Mail, Person, Record, Session

# What a backend in another package may import from here; docs/backends.md describes it.
__all__ = ["Backend", "BackendError", "Lookup", "OptionError", "Reads", "option_errors"]
__all__ += ["LastLogin", "Mail", "Person", "Record", "Session"]
__all__ += ["Integer", "Seconds", "Secret", "SecretFile", "Size", "read_path"]

ENTRY_POINTS = "fingerd.backends"

# Built-in backends that need an optional library: its name on PyPI, and Debian's package of it. The extra of setup.cfg
# has the backend's name.
EXTRAS = {"ldap": ("ldap3", "python3-ldap3"), "sql": ("SQLAlchemy", "python3-sqlalchemy")}

Reads = Literal["query", "line", "anything", "nothing"]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a backend is asked: a username, in full or not, for which client, and by when."""

    username: str
    verbose: bool
    client: str  # an IP address, or "unix"
    deadline: float  # time.monotonic() seconds
    by_name: bool = False  # whether words of the full name match too
    hosts: Container[str] = ()  # with an @ before it, one of these names of this host may end a login


class Backend(Protocol):
    """A source of people. It is built when the configuration is read, and shared by all threads.

    It is a frozen dataclass: its fields are its options, its docstring is its documentation. The properties describe
    its answers; most backends set a class attribute instead.
    """

    @property
    def blocking(self) -> bool:
        """Whether ``find`` or ``list_users`` may wait: then a worker thread calls them, else the event loop's."""
        return True

    @property
    def repeatable_seconds(self) -> float:
        """For how long an answer may be repeated to any client under the same rule; ``inf``: until the next reload."""
        return 0.0

    @property
    def searches_names(self) -> bool:
        """Whether ``find`` matches words of full names if the lookup is ``by_name``."""
        return False

    @property
    def people_count(self) -> int:
        """How many people a list or a search by name goes through at most; 0 if unknown, or if there are none."""
        return 0

    @property
    def depends_on_client(self) -> bool:
        """Whether the answer depends on the client's address, so that it must not be given to other clients."""
        return False

    @property
    def may_be_partial(self) -> bool:
        """Whether an answer may lack people or atoms because a source failed."""
        return False

    @property
    def reads(self) -> Reads:
        """What is read from a client: a ``query``, to answer it. Or, to close without an answer: one ``line``,
        ``anything`` until ``read_seconds`` have passed, or ``nothing``."""
        return "query"

    def find(self, lookup: Lookup) -> Sequence[Person]:
        """All people that the username matches, the exact login first; empty if unknown. BackendError on failure.

        With ``by_name``, also those whose full name has all its words, if the backend searches names.
        """
        ...

    def list_users(self, lookup: Lookup) -> Iterator[Person] | None:
        """The user list ({C}), one person at a time; None if the backend has no list. BackendError on failure."""
        return None

    def missing_requirements(self, root: Path) -> Iterator[str]:
        """A message for each file of the system that is required and missing below ``root``, the root to be."""
        return iter(())

    def warnings(self) -> Iterator[str]:
        """A message for each option that is valid, but probably a mistake."""
        return iter(())

    def check_logins(self, hosts: Container[str]) -> None:
        """Raise OptionError for a configured login that ends in ``@`` and a host that is none of ``hosts``."""
        return None

    def close(self) -> None:
        """Release connections, files and processes. Called when no query uses the backend, or the process ends."""
        return None


class NoPeople(Backend):
    """A backend without people."""

    blocking: ClassVar[bool] = False

    def find(self, lookup: Lookup) -> Sequence[Person]:
        return ()


class Composite(Backend, Protocol):
    """A backend that asks others, its members: its answers may be whatever an answer of any member may be."""

    @property
    def members(self) -> Sequence[Backend]: ...

    @property
    def blocking(self) -> bool:
        return any(member.blocking for member in self.members)

    @property
    def repeatable_seconds(self) -> float:
        return min(member.repeatable_seconds for member in self.members)

    @property
    def searches_names(self) -> bool:
        return any(member.searches_names for member in self.members)

    @property
    def people_count(self) -> int:
        return sum(member.people_count for member in self.members)

    @property
    def depends_on_client(self) -> bool:
        return any(member.depends_on_client for member in self.members)

    @property
    def may_be_partial(self) -> bool:
        return any(member.may_be_partial for member in self.members)

    def close(self) -> None:
        for member in self.members:
            close_backend(member)


def close_backend(backend: Backend) -> None:
    """Close the backend; whatever it raises is logged."""
    try:
        backend.close()
    except BaseException as error:
        report_bug(error, f"while closing the backend {type(backend).__name__}")


class UnknownTypeError(LookupError):
    """No backend has this name."""


def backend_names() -> tuple[str, ...]:
    """All names that ``type:`` accepts, the built-in ones first."""
    builtin = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return (*builtin, *sorted(name for name in _entry_points() if name not in builtin))


def _entry_points() -> Mapping[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def load_type(name: str) -> type[Any]:
    """The class of the backend ``name``. Raises UnknownTypeError, or ImportError if it cannot be imported."""
    if _is_builtin(name):
        return _load_builtin(name)
    point = _entry_points().get(name)
    if point is None:
        raise UnknownTypeError(name)
    try:
        loaded: type[Any] = point.load()
    except ImportError:
        raise
    except BaseException as error:  # importing another package's module may raise anything, as SystemExit
        raise ImportError(f"{point.value}: {error!r}") from error
    return loaded


def _load_builtin(name: str) -> type[Any]:
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ImportError as error:
        if name not in EXTRAS:
            raise
        package, debian_package = EXTRAS[name]
        raise ImportError(f"{error} (pip install {package}, or Debian's {debian_package})") from error
    loaded: type[Any] = getattr(module, name.capitalize())
    return loaded


def _is_builtin(name: str) -> bool:
    return name.isidentifier() and name[0] != "_" and importlib.util.find_spec(f"{__name__}.{name}") is not None


def type_name(kind: type) -> str:
    """The name by which ``type:`` finds this class, or its own in small letters where ``type:`` does not find it."""
    if kind.__module__.startswith(f"{__name__}."):
        return kind.__module__.removeprefix(f"{__name__}.").partition(".")[0]
    names = (name for name, point in _entry_points().items() if point.value == f"{kind.__module__}:{kind.__qualname__}")
    return next(names, kind.__name__.lower())


def distribution_of(name: str) -> str:
    """The distribution that provides the backend ``name``, with its version if that is known."""
    point = _entry_points().get(name)
    if point is None or _is_builtin(name):
        return "fingerd"
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
