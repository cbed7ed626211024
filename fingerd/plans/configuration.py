"""The daemon's configuration, as far as it says where people are kept and what is shown of them.

It is read by the rights of any user: no secret, and nothing of other backends than the first ``files`` or ``system`` in
the order of the file, be it in a chain, a cache or aliases.
"""

import contextlib
import dataclasses
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import yaml

from fingerd.backends import Backend
from fingerd.backends.files import Files
from fingerd.backends.system import System
from fingerd.config.document import Document, join, read_documents
from fingerd.config.schema import INVALID, REQUIRED, Reader
from fingerd.config.system_options import read_path
from fingerd.listen_option import read_listen
from fingerd.server.listeners import ListenAddress
from fingerd.settings import Settings, plan_warnings

SOURCES: dict[str, type[Files | System]] = {"files": Files, "system": System}
PARTS = {"aliases": "backend", "cache": "backend", "chain": "backends"}  # the option with the backends in a backend
SHOWN = ("hosts", "limits", "policy", "reply")  # the sections that decide what is shown

_KINDS = get_type_hints(Settings, include_extras=True)
_CHROOT = Annotated[str, read_path] | None
_NOT_SERVED = (
    "accounts change their plans with their own rights: serving needs people of type files, and no system before"
)
_CANNOT_WRITE = "none that fingerd-plan can write: it needs one of type files or system"


@dataclass(frozen=True, slots=True)
class PlanConfig:
    """Where people are kept, and the settings with that backend alone. ``root`` is before its paths: the chroot."""

    backend: Files | System
    settings: Settings
    root: str = ""
    warnings: tuple[str, ...] = ()  # of what was read, with their places


def read_plan_config(path: str, more: Collection[str] = ()) -> PlanConfig:
    """Read the file at ``path``; raises ConfigError with all problems of what is read of it.

    ``more`` are further sections. With ``plan`` among them, it has to be there, and people in a directory of people.
    """
    with contextlib.closing(read_documents(path)) as documents:
        for document in documents:
            config: PlanConfig = _read(document, more)
            if not document.error_count:
                break
        document.raise_problems()
        return dataclasses.replace(config, warnings=document.warnings)


def plan_config_of(settings: Any) -> PlanConfig:
    """Where people are kept, of settings that ``read_plan_config`` has read, and whose people are in a directory."""
    return PlanConfig(settings.backend, settings)


def _read(document: Document, more: Collection[str]) -> Any:
    """The PlanConfig, or INVALID; the problems are in the document."""
    if document.root is None:
        return INVALID
    reader = Reader(document, {Backend: _read_first_source, ListenAddress: read_listen})
    sections = {key: node for key, (_, node) in reader.entries(document.root, "").items()}
    if "backend" not in sections:
        return reader.fail(document.root, "backend", REQUIRED)
    backend = reader.read(sections["backend"], Backend, "backend")
    if backend is None:
        return reader.fail(sections["backend"], "backend", _CANNOT_WRITE)
    if "plan" in more:
        if "plan" not in sections:
            return reader.fail(document.root, "plan", REQUIRED)
        if isinstance(backend, System):
            return reader.fail(sections["backend"], "backend", _NOT_SERVED)
    names = (*SHOWN, *more, "process") if os.geteuid() == 0 else (*SHOWN, *more)  # only root can become another user
    values = {name: reader.read(sections[name], _KINDS[name], name) for name in names if name in sections}
    root = _read_chroot(reader, sections.get("process"))
    if document.error_count:
        return INVALID
    if root and isinstance(backend, System):
        return reader.fail(sections["backend"], "backend", "accounts in a chroot are nothing that fingerd-plan knows")
    if root:
        backend = dataclasses.replace(backend, folder=root + backend.folder)
    settings = Settings(backend=backend, **values)
    if settings.plan:
        for option, what in plan_warnings(settings.plan):
            document.add_warning(*reader.origin_of(settings.plan, option), what)
    return PlanConfig(backend, settings, root)


def _read_first_source(reader: Reader, node: yaml.Node, path: str) -> Any:
    """The first backend that keeps people in files, in a backend or below it; None if there is none; or INVALID."""
    found = reader.entries(node, path)
    if "type" not in found:
        return reader.fail(node, join(path, "type"), REQUIRED)
    kind = reader.read(found["type"][1], str, join(path, "type"))
    if kind in SOURCES:
        return reader.read_fields(node, SOURCES[kind], path, extra_keys=("type",))
    option = PARTS.get(kind, "")
    parts = found[option][1] if option in found else None
    nodes = parts.value if isinstance(parts, yaml.SequenceNode) else [parts] if parts else []
    for number, part in enumerate(nodes):
        suffix = f"[{number}]" if isinstance(parts, yaml.SequenceNode) else ""
        source = reader.read(part, Backend, join(path, option) + suffix)
        if source is not None:
            return source
    return None


def _read_chroot(reader: Reader, process: yaml.Node | None) -> Any:
    """The path of the chroot, empty for none; or INVALID."""
    entries = {} if process is None else reader.entries(process, "process")
    if "chroot" not in entries:
        return ""
    return reader.read(entries["chroot"][1], _CHROOT, "process.chroot") or ""
