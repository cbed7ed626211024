"""The configuration: a YAML file, and the command line options that override it, as one frozen value."""

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import yaml

from fingerd.backends import Backend, UnknownTypeError, backend_names, distribution_of, load_type
from fingerd.backends.files import Files
from fingerd.bugs import bugs_in
from fingerd.config.document import Document, join, override_options, read_documents, remove_options
from fingerd.config.garbage import collection_paused
from fingerd.config.schema import INVALID, REQUIRED, Reader, unsupported_types
from fingerd.config.system_options import (
    Secret,
    User,
    read_directory,
    read_file,
    read_group,
    read_mode,
    read_path,
    read_user,
)
from fingerd.config.values import did_you_mean, read_host_name, read_scalar, unknown_placeholders
from fingerd.errors import OptionError
from fingerd.http.loader import missing_for_http
from fingerd.http.options import Http, Plan
from fingerd.listen_option import read_listen
from fingerd.log.writer import Log
from fingerd.metrics.loader import missing_for_metrics
from fingerd.metrics.options import Metrics
from fingerd.net.resolver import missing_for_names
from fingerd.net.sources import is_loopback
from fingerd.ruip.policy import DEFAULT_RULE, Rule, rule_warnings
from fingerd.ruip.ruip import PLACEHOLDERS, ReplyOptions
from fingerd.safe_files import writable_by_others
from fingerd.server.limits import Limits
from fingerd.server.listeners import (
    InheritedSocket,
    ListenAddress,
    TcpAddress,
    is_local_listener,
    is_open_to_all,
    proxies_warning,
    systemd_names,
)


@dataclass(frozen=True, slots=True)
class Process:
    """What the process becomes after binding its addresses."""

    user: Annotated[User, read_user] | None = None
    group: Annotated[int, read_group] | None = None
    chroot: Annotated[str, read_directory] | None = None
    rundir: Annotated[str, read_path] = "/"
    umask: Annotated[int, read_mode] = 0o027
    pidfile: Annotated[str, read_file] | None = None

    def __post_init__(self) -> None:
        if not os.path.isdir(rundir := os.path.join(self.chroot or "/", self.rundir.lstrip("/"))):
            raise ValueError(f"there is no directory {rundir} to run in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All options of the file, with the defaults of missing ones."""

    backend: Backend
    listen: tuple[ListenAddress, ...] = (TcpAddress("", 79),)
    policy: tuple[Rule, ...] = (DEFAULT_RULE,)
    process: Process = field(default_factory=Process)
    log: Log = field(default_factory=Log)
    limits: Limits = field(default_factory=Limits)
    reply: ReplyOptions = field(default_factory=ReplyOptions)
    hosts: tuple[Annotated[str, read_host_name], ...] = ()  # more names of this host
    http: Http | None = None
    metrics: Metrics | None = None
    plan: Plan | None = None  # of fingerd-plan serve; the daemon checks it only


def load_config(path: str) -> Settings:
    """Read the settings from the file at ``path``; raises ConfigError with all its problems."""
    return read_config(path, {})[0]


def read_config(
    path: str, options: Mapping[str, tuple[str, str]], without: Collection[str] = ()
) -> tuple[Settings, tuple[str, ...]]:
    """Read the settings and the warnings about them; raises ConfigError with all problems.

    ``options`` come from the command line: ``section.option`` to (the flag, its text).
    The sections ``without`` are ignored: the settings have their defaults.
    """
    with collection_paused(), contextlib.closing(read_documents(path)) as documents:
        for document in documents:
            override_options(document, options)
            remove_options(document, without)
            settings = _read_settings(document)
            if not document.error_count:
                break
        document.raise_problems()
        return settings, document.warnings


def _read_settings(document: Document) -> Any:
    """The settings, or INVALID; the problems and the warnings are in the document."""
    reader = Reader(document, {Backend: _read_backend, ListenAddress: read_listen, Rule: _read_rule})
    settings: Any = INVALID if document.root is None else reader.read(document.root, Settings, "")
    if settings is not INVALID:
        add_error, add_warning = document.add_error, document.add_warning
        # Without a chroot, a missing file can still be installed while the daemon runs.
        add_missing = add_error if settings.process.chroot else add_warning
        for add, check in ((add_error, _conflicts), (add_missing, _missing_requirements), (add_warning, _warnings)):
            for problem in check(settings, reader):
                add(*problem)
    return settings


def _read_backend(reader: Reader, node: yaml.Node, path: str) -> Any:
    before = reader.document.error_count
    if (scalar := read_scalar(node)) and scalar.kind == "text":
        name = scalar.text if scalar.text in backend_names() else "NAME"
        return reader.fail(node, path, f"must be a mapping, as {{type: {name}}}")
    found = reader.entries(node, path)
    if "type" not in found:
        return reader.fail(node, join(path, "type"), REQUIRED) if reader.document.error_count == before else INVALID
    type_node, type_path = found["type"][1], join(path, "type")
    name = reader.read(type_node, str, type_path)
    if name is INVALID:
        return INVALID
    fail = partial(reader.fail, type_node, type_path)
    try:
        kind = load_type(name)
    except UnknownTypeError:
        names = backend_names()
        known = f"there are {', '.join(names)}" if names else "the package fingerd.backends cannot be read"
        shown = name if name.isidentifier() else "of this name"
        return fail(f"there is no backend {shown}{did_you_mean(name, names) or f' ({known})'}")
    except ImportError as error:
        package = distribution_of(name)
        whose = "" if package == "fingerd" else f" ({package})"
        is_missing = isinstance(error.__cause__ or error, ModuleNotFoundError)
        how = "needs something that is not installed" if is_missing else "cannot be loaded"
        return fail(f"the backend {name}{whose} {how}: {error}")
    if not dataclasses.is_dataclass(kind):
        return fail(f"the backend {name} is not a dataclass, so it has no options")
    if unsupported := next(unsupported_types(kind, custom=(Backend,)), ""):
        return fail(f"the backend {name} cannot be used: {unsupported}")
    with bugs_in(kind, ValueError):
        return reader.read_fields(node, kind, path, extra_keys=("type",))


def _read_rule(reader: Reader, node: yaml.Node, path: str) -> Any:
    rule = reader.read_fields(node, Rule, path)
    if rule is not INVALID and not rule.from_:
        return reader.fail(node, join(path, "from"), "is empty: the rule matches no client")
    return rule


def _conflicts(settings: Settings, origins: Reader) -> Iterator[tuple[yaml.Node, str, str]]:
    """Options that exclude each other: the node and the path of each, and what is wrong."""
    others = [address for address in settings.listen if not isinstance(address, InheritedSocket) or not address.name]
    inherited = next((address for address in others if isinstance(address, InheritedSocket)), None)
    if inherited and (len(others) > 1 or (inherited.by == "inetd" and len(settings.listen) > 1)):
        yield *origins.origin_of(settings, "listen"), f"{inherited} cannot be combined with other addresses"
    http_listen = settings.http.listen if settings.http else ()
    if len(names := systemd_names((*settings.listen, *http_listen))) > len(set(names)):
        yield *origins.origin_of(settings, "listen"), "has a socket from systemd twice"
    if inherited == InheritedSocket("inetd") and settings.process.pidfile:
        yield *origins.origin_of(settings.process, "pidfile"), "inetd starts a process for each client"
    for section, missing_for_it in (("http", missing_for_http), ("metrics", missing_for_metrics)):
        if getattr(settings, section) is None:
            continue
        if inherited == InheritedSocket("inetd"):
            what = "cannot be served by processes that inetd starts for each client"
            yield *origins.origin_of(settings, section), what
        if missing := missing_for_it():
            yield *origins.origin_of(settings, section), missing
    for backend in origins.values_of(Backend):
        with bugs_in(type(backend)):
            reads = backend.reads
        if settings.http and reads != "query":
            yield *origins.origin_of(settings, "http"), "has nothing to show: the backend answers no queries"
        if backend is not settings.backend and reads != "query":
            yield *origins.origin_of(backend), "answers no queries, so it cannot be part of another backend"
        try:
            with bugs_in(type(backend), OptionError):
                backend.check_logins(settings.hosts)
        except OptionError as error:
            yield *origins.origin_of(backend, *error.keys), str(error)


def _missing_requirements(settings: Settings, origins: Reader) -> Iterator[tuple[yaml.Node, str, str]]:
    """Files of the system, or of the chroot, that backends and forwarding need and that are missing."""
    root = Path(settings.process.chroot or "/")
    for backend in origins.values_of(Backend):
        for what in _missing_for(backend, root):
            yield *origins.origin_of(backend), what
    for rule in settings.policy:
        if any(isinstance(target, str) for target in rule.forward or ()):
            node, path = origins.origin_of(rule)
            for what in missing_for_names(root):
                yield node, join(path, "forward"), what


def _missing_for(backend: Backend, root: Path) -> list[str]:
    """What one backend needs; last, the directory that this user may not search."""
    missing: list[str] = []
    try:
        with bugs_in(type(backend), OSError):
            missing.extend(map(str, backend.missing_requirements(root)))
    except OSError as error:
        missing.append(f"{error.filename}: {error.strerror}")
    return missing


def _warnings(settings: Settings, origins: Reader) -> Iterator[tuple[yaml.Node, str, str]]:
    """Options that are valid, but may not do what is intended."""
    for backend in origins.values_of(Backend):
        with bugs_in(type(backend)):
            found = tuple(map(str, backend.warnings()))
        for what in found:
            yield *origins.origin_of(backend), what
    for secret in origins.instances_of(Secret):
        if secret.exposure:
            yield *origins.origin_of(secret), secret.exposure
    if not settings.policy:
        yield *origins.origin_of(settings, "policy"), "there is no rule: every client is denied"
    yield from _listen_warnings(settings, origins)
    for number, option, what in rule_warnings(settings.policy):
        node, path = origins.origin_of(settings.policy[number])
        yield node, join(path, option), what
    for option in ("header", "footer"):
        for what in unknown_placeholders(getattr(settings.reply, option) or "", PLACEHOLDERS):
            yield *origins.origin_of(settings.reply, option), what


def _listen_warnings(settings: Settings, origins: Reader) -> Iterator[tuple[yaml.Node, str, str]]:
    """Addresses, and those who are believed there, that may not do what is intended."""
    if settings.http and _makes_all_local(settings.http, settings.policy):
        what = "a reverse proxy on this host would make all its clients local, which a rule names: set http.proxies"
        yield *origins.origin_of(settings.http, "listen"), what
    for address in settings.listen:
        if address.proxies and (what := proxies_warning(address)):
            yield *origins.origin_of(settings, "listen"), f"{address}: {what}"
    if settings.http and _lets_all_name_clients(settings.http):
        what = "every local user can connect, and http.proxies lets all of them name any client: set mode and group"
        yield *origins.origin_of(settings.http, "listen"), what
    if settings.plan:
        if not any(isinstance(backend, Files) for backend in origins.values_of(Backend)):
            yield *origins.origin_of(settings.plan), "fingerd-plan serve needs a backend of type files"
        for option, what in plan_warnings(settings.plan):
            yield *origins.origin_of(settings.plan, option), what


def _makes_all_local(http: Http, policy: Collection[Rule]) -> bool:
    """Whether a proxy may ask from this host without being named as one, and a rule trusts this host."""
    if http.proxies or not any(map(is_local_listener, http.listen)):
        return False
    return any(source == "local" or is_loopback(source) for rule in policy for source in rule.from_)


def _lets_all_name_clients(served: Http | Plan) -> bool:
    """Whether any local user may connect as a proxy does."""
    return "unix" in served.proxies and any(map(is_open_to_all, served.listen))


def plan_warnings(plan: Plan) -> Iterator[tuple[str, str]]:
    """What may let others than a person change the plan: options, and why."""
    is_proxy_here = any(not isinstance(proxy, str) and is_loopback(proxy) for proxy in plan.proxies)
    if _lets_all_name_clients(plan) or (plan.remote_user and is_proxy_here):
        whom = "be any person" if plan.remote_user else "name any client"
        what = f"every local user can connect as one of plan.proxies does, and {whom}: use a unix socket with a mode"
        yield "listen", f"{what} and a group"
    for what in writable_by_others(plan.tokens) if plan.tokens else ():
        yield "tokens", what
