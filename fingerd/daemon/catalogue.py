"""The output of ``fingerd --backends``: each backend type with its package, its description and its options."""

import dataclasses
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from fingerd.backends import Backend, backend_names, distribution_of, load_type
from fingerd.config.file_time import is_option
from fingerd.config.schema import unsupported_types
from fingerd.config.values import Integer, Seconds, Size, describe

INDENT = "    "
_UNITS = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}


def catalogue() -> Iterator[str]:
    """The lines of the catalogue."""
    for name in backend_names():
        package = distribution_of(name)
        yield f"{name} ({package})"
        try:
            lines = tuple(_entry(name, package))
        except BaseException as error:  # code of another package, as the default of an option
            lines = (f"{INDENT}not usable: {type(error).__name__}: {error}",)
        yield from lines


def _entry(name: str, package: str) -> Iterator[str]:
    """The lines of one backend after the first."""
    try:
        kind = load_type(name)
    except ImportError as error:
        yield f"{INDENT}not usable: {error}"
        if isinstance(error, ModuleNotFoundError):
            yield f"{INDENT}install the package with the Python module {error.name}, which {package} needs"
        return
    if not dataclasses.is_dataclass(kind):
        yield f"{INDENT}not usable: it is not a dataclass, so it has no options"
        return
    if unsupported := list(unsupported_types(kind, custom=(Backend,))):
        yield from (f"{INDENT}not usable: {problem}" for problem in unsupported)
        return
    yield from _description(kind)
    yield from _options(kind, INDENT)


def _description(kind: Any) -> Iterator[str]:
    """The first paragraph of the docstring; nothing for the one that ``dataclass`` generates."""
    if not (kind.__doc__ or "").startswith(f"{kind.__name__}("):
        for line in (kind.__doc__ or "").strip().splitlines():
            if not line.strip():
                return
            yield f"{INDENT}{line.strip().replace('``', '')}"


def _options(kind: Any, indent: str) -> Iterator[str]:
    """A line for each option, followed by the options nested in it."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if is_option(field):
            hint = hints[field.name]
            converter = get_args(hint)[1] if get_origin(hint) is Annotated else None
            details = "; ".join((_type_name(hint), _default(field, converter), *_range(converter)))
            yield f"{indent}- {field.name.rstrip('_')} ({details})"
            for nested in _nested(hint):
                yield from _options(nested, indent + INDENT)


def _type_name(hint: Any) -> str:
    """The name of the type in fingerd.yaml(5)."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        default = "value" if dataclasses.is_dataclass(parts[0]) else _type_name(parts[0])
        return str(getattr(parts[1], "type_name", default))
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(part) for part in parts if part is not types.NoneType)
    if origin is tuple:
        return f"list of {_type_name(parts[0])}"
    if origin is Mapping:
        return f"mapping of names to {_type_name(parts[1])}"
    if hint is Backend:
        return "backend"
    if dataclasses.is_dataclass(hint):
        return "mapping"
    return describe(hint) if origin is Literal or hint in (bool, str) else "value"


def _nested(hint: Any) -> Iterator[Any]:
    """The dataclasses whose fields are options nested in an option of this type."""
    if get_origin(hint) is not Annotated:
        if dataclasses.is_dataclass(hint):
            yield hint
        for part in get_args(hint):
            yield from _nested(part)


def _range(converter: Any) -> Iterator[str]:
    if isinstance(converter, Size | Seconds | Integer):
        yield f"from {_amount(converter, converter.minimum)} to {_amount(converter, converter.maximum)}"
    if zero_means := getattr(converter, "zero_means", ""):
        yield f"0: {zero_means}"


def _default(field: "dataclasses.Field[Any]", converter: Any) -> str:
    factory = field.default_factory
    default = field.default if factory is dataclasses.MISSING else factory()
    if default is dataclasses.MISSING:
        return "required"
    if isinstance(default, bool):
        return f"default: {str(default).lower()}"
    if isinstance(default, int | float):
        return f"default: {_amount(converter, default)}"
    return f"default: {default or 'none'}"


def _amount(converter: Any, amount: float) -> str:
    """A number as the configuration may have it, with a unit."""
    if isinstance(converter, Size):
        for unit, size in _UNITS.items():
            if amount and amount % size == 0:
                return f"{amount // size:.0f}{unit}"
    if isinstance(converter, Seconds) and amount >= 3600 and amount % 3600 == 0:
        return f"{amount / 3600:.0f}h"
    return f"{amount:.10g}"
