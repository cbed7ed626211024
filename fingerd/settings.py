"""The configuration: a YAML file, with command line options over it, as one frozen value."""

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml

from fingerd.backends import (
    Backend,
    ChecksSystem,
    HasWarnings,
    UnknownTypeError,
    backend_names,
    distribution_of,
    load_type,
)
from fingerd.config.document import Document, join, read_document, set_options
from fingerd.config.schema import INVALID, REQUIRED, Reader, unsupported_types
from fingerd.config.system_options import User, read_file, read_folder, read_group, read_mode, read_path, read_user
from fingerd.config.values import did_you_mean, read_scalar, to_text, unknown_placeholders
from fingerd.log.writer import Log
from fingerd.net.resolver import missing_for_names
from fingerd.ruip.policy import ANYONE, Rule, rule_warnings
from fingerd.ruip.ruip import REPLACED, ReplyOptions
from fingerd.server.limits import Limits
from fingerd.server.listeners import InheritedSocket, ListenAddress, TcpAddress, UnixAddress, parse_listen


@dataclass(frozen=True, slots=True)
class Process:
    """What the process becomes once everything is bound."""

    user: Annotated[User, read_user] | None = None
    group: Annotated[int, read_group] | None = None
    chroot: Annotated[str, read_folder] | None = None
    rundir: Annotated[str, read_path] = "/"
    umask: Annotated[int, read_mode] = 0o027
    pidfile: Annotated[str, read_file] | None = None

    def __post_init__(self) -> None:
        seen = os.path.join(self.chroot or "/", self.rundir.lstrip("/"))
        if not os.path.isdir(seen):
            raise ValueError(f"there is no folder {seen} to run in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the file says, its defaults included."""

    backend: Backend
    listen: tuple[ListenAddress, ...] = (TcpAddress("", 79),)
    policy: tuple[Rule, ...] = (ANYONE,)
    process: Process = field(default_factory=Process)
    log: Log = field(default_factory=Log)
    limits: Limits = field(default_factory=Limits)
    reply: ReplyOptions = field(default_factory=ReplyOptions)


def load_config(path: str) -> Settings:
    """The settings in the file at ``path``; ConfigError with everything that is wrong with it."""
    return read_config(path, {})[0]


def read_config(
    path: str, options: Mapping[str, tuple[str, str]], without: Collection[str] = ()
) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and what may be wrong with them; ConfigError with everything that is.

    ``options`` are the command line's: ``section.option`` to (the option's own name, its text).
    The sections ``without`` which the file is read have their defaults.
    """
    document = read_document(path)
    set_options(document, options)
    if isinstance(document.root, yaml.MappingNode):
        document.root.value = [(key, value) for key, value in document.root.value if key.value not in without]
    backends: list[tuple[yaml.Node, str, Backend]] = []

    def read_backend(reader: Reader, node: yaml.Node, path: str) -> Any:
        backend = _read_backend(reader, node, path)
        if backend is not INVALID:
            backends.append((node, path, backend))
        return backend

    rule_nodes: list[yaml.Node] = []

    def read_rule(reader: Reader, node: yaml.Node, path: str) -> Any:
        rule_nodes.append(node)
        rule = reader.read_fields(node, Rule, path)
        if rule is not INVALID and not rule.from_:
            return reader.fail(node, join(path, "from"), "is empty: it holds nobody")
        return rule

    reader = Reader(document, {Backend: read_backend, ListenAddress: _read_address, Rule: read_rule})
    settings: Any = INVALID if document.root is None else reader.read(document.root, Settings, "")
    if settings is not INVALID:
        _check_surroundings(document, settings, backends)
        _check_names(document, settings, rule_nodes)
        for number, option, what in rule_warnings(settings.policy) if rule_nodes else ():
            document.warn(rule_nodes[number], f"policy[{number}].{option}", what)
        if not settings.policy:
            document.warn(document.place_of("policy"), "policy", "there is no rule: everybody is denied")
        for option in ("header", "footer"):
            for what in unknown_placeholders(getattr(settings.reply, option) or "", REPLACED):
                document.warn(document.place_of("reply", option), f"reply.{option}", what)
    document.raise_problems()
    return settings, document.warnings


def _read_backend(reader: Reader, node: yaml.Node, path: str) -> Any:
    """The backend that a mapping with a ``type`` describes."""
    before = reader.document.count
    scalar = read_scalar(node)
    if scalar and scalar.kind == "text":
        return reader.fail(node, path, f"must be a mapping, as {{type: {scalar.text}}}")
    found = reader.entries(node, path)
    if "type" not in found:
        return reader.fail(node, join(path, "type"), REQUIRED) if reader.document.count == before else INVALID
    type_node = found["type"][1]
    name = reader.read(type_node, str, join(path, "type"))
    if name is INVALID:
        return INVALID
    try:
        kind = load_type(name)
    except UnknownTypeError:
        names = backend_names()
        known = f"there are {', '.join(names)}" if names else "where they lie cannot be read from here"
        hint = did_you_mean(name, names) or f" ({known})"
        return reader.fail(type_node, join(path, "type"), f"there is no backend {name}{hint}")
    except ImportError as error:
        package = distribution_of(name)
        whose = "" if package == "fingerd" else f" ({package})"
        is_missing = isinstance(error.__cause__ or error, ModuleNotFoundError)
        how = "needs something that is not installed" if is_missing else "cannot be loaded"
        return reader.fail(type_node, join(path, "type"), f"the backend {name}{whose} {how}: {error}")
    if not dataclasses.is_dataclass(kind):
        return reader.fail(type_node, join(path, "type"), f"the backend {name} is no dataclass, so it has no options")
    if foreign := next(unsupported_types(kind, special=(Backend,)), ""):
        return reader.fail(type_node, join(path, "type"), f"the backend {name} cannot be used: {foreign}")
    return reader.read_fields(node, kind, path, extra_keys=("type",))


def _read_address(reader: Reader, node: yaml.Node, path: str) -> Any:
    """One address of ``listen``: a text, or a mapping for a unix socket."""
    if isinstance(node, yaml.MappingNode):
        return reader.read_fields(node, UnixAddress, path)
    scalar = read_scalar(node)
    if scalar is None:
        return reader.fail(node, path, "must be an address")
    try:
        return parse_listen(scalar.text if scalar.text.isdigit() else to_text(scalar))
    except ValueError as error:
        return reader.fail(node, path, str(error))


def _check_surroundings(document: Document, settings: Settings, backends: list[tuple[yaml.Node, str, Backend]]) -> None:
    """What backends need and the system, or the jail, does not have; backends that cannot be part of others."""
    jail = settings.process.chroot
    listen = next((address for address in settings.listen if isinstance(address, InheritedSocket)), None)
    if listen and len(settings.listen) > 1:
        document.add_error(document.place_of("listen"), "listen", f"{listen} stands alone")
    if listen == InheritedSocket("inetd") and settings.process.pidfile:
        place = document.place_of("process", "pidfile")
        document.add_error(place, "process.pidfile", "inetd starts a process for each client")
    for node, path, backend in backends:
        if backend is not settings.backend and backend.reads != "query":
            document.add_error(node, path, "stands alone, and cannot be a part of another backend")
        if isinstance(backend, ChecksSystem):
            for what in _missing(backend, Path(jail or "/")):
                if jail:
                    document.add_error(node, path, what)
                else:
                    document.warn(node, path, what)
        if isinstance(backend, HasWarnings):
            for what in backend.warnings():
                document.warn(node, path, what)


def _missing(backend: ChecksSystem, root: Path) -> Iterator[str]:
    """What the backend does not find, and what we may not look into for it."""
    try:
        yield from backend.missing_requirements(root)
    except OSError as error:
        yield f"{error.filename}: {error.strerror}"


def _check_names(document: Document, settings: Settings, rule_nodes: list[yaml.Node]) -> None:
    """What rules that forward to names do not find in the system, or in the jail."""
    jail = settings.process.chroot
    for number, rule in enumerate(settings.policy):
        if any(isinstance(target, str) for target in rule.forward or ()):
            for what in missing_for_names(Path(jail or "/")):
                (document.add_error if jail else document.warn)(rule_nodes[number], f"policy[{number}].forward", what)
