"""YAML nodes to dataclasses: fields are options, and their types are the schema. Knows no option of fingerd.

docs/backends.md lists the types and the values of each. ``Annotated[T, convert]`` takes what ``convert(Scalar) -> T``
accepts; its ValueError is the problem. ``X | SomeDataclass`` takes a mapping as the dataclass, ``Literal[False] | X``
one of the words as such; any other value is read as X. The field ``from_`` is the option ``from``. For any other type,
the caller passes a ``CustomReader``.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from fingerd.config.document import Document, join
from fingerd.config.file_time import file_times, is_option
from fingerd.config.redaction import is_braced, is_name, may_be_secret, redact, redact_exception
from fingerd.config.values import convert, describe, did_you_mean, is_sign, read_scalar, to_text
from fingerd.errors import OptionError
from fingerd.text import to_nfc

T = TypeVar("T")

REQUIRED = "required, but not given"
KINDS_MAX = 256  # types that are remembered
UNKNOWN_TAG = "unknown tag (quote a text that begins with !)"

Origin = tuple[yaml.Node, str]  # of a value: its node, and the path of its option

INVALID = object()  # the result of reading an invalid value; its problem is in the document

_INSTEAD = {int: ": use Annotated[int, Integer()]", float: ": use Annotated[float, Seconds()]"}


def unsupported_types(kind: Any, custom: Collection[Any] = ()) -> Iterator[str]:
    """Yield a message for each field with an unsupported type, in ``kind`` and the dataclasses that it contains."""
    pending, supported = [kind], [*custom, str, bool, types.NoneType]
    while pending:
        holder = pending.pop()
        supported.append(holder)
        try:
            hints = get_type_hints(holder, include_extras=True)
        except BaseException as error:  # evaluating a hint can raise anything, as NameError for a TYPE_CHECKING import
            yield f"the types of its options cannot be read: {error}"
            continue
        for field in dataclasses.fields(holder):
            for part in _parts(hints[field.name]) if is_option(field) else ():
                if dataclasses.is_dataclass(part) and part not in supported:
                    pending.append(part)
                elif part not in supported:
                    name = getattr(part, "__name__", part) if isinstance(part, type) else part
                    yield f"{field.name.rstrip('_')}: no option can be of type {name}{_INSTEAD.get(part, '')}"


def _parts(kind: Any) -> Iterator[Any]:
    """The types that a type is composed of, except ``Annotated`` and ``Literal`` ones."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        for part in parts:
            yield from _parts(part)
    elif origin is tuple and parts[1:] == (...,):
        yield from _parts(parts[0])
    elif origin is Mapping:
        yield from _parts(parts[1])
    elif origin not in (Annotated, Literal):
        yield kind


class _Option(NamedTuple):
    """What a field of a dataclass says about its option."""

    name: str  # of the field
    kind: Any
    may_be_secret: bool
    is_required: bool


@functools.lru_cache(KINDS_MAX)
def _options_of(kind: Any) -> Mapping[str, _Option]:
    """The options of a dataclass. Remembered: a file may have a value of this type for each of many people."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name.rstrip("_"): _Option(
            field.name,
            hints[field.name],
            may_be_secret(field, hints[field.name]),
            field.default is field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
        if is_option(field)
    }


@functools.lru_cache(KINDS_MAX)
def _form_of(kind: Any) -> Any:
    """Which of the composed types it is: Union, tuple, Mapping, or type for a dataclass; None for all others."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return Union
    if origin in (tuple, Mapping):
        return origin
    return type if dataclasses.is_dataclass(kind) else None


class Reader:
    """Reads values from one document, and adds every problem to it."""

    def __init__(self, document: Document, custom: "Mapping[Any, CustomReader] | None" = None) -> None:
        self.document = document
        self._custom = custom or {}
        self._ancestors: list[yaml.Node] = []  # from the root down to the node that is being read
        self._secret_depth = 0  # of options that may hold a secret, around that node
        # By id(). The value is in it too: it has to live as long as its id is a key.
        self._read_values: dict[int, tuple[Any, Any, Origin]] = {}

    def fail(self, node: yaml.Node, path: str, what: str) -> Any:
        """Add a problem; returns INVALID, for the caller to return."""
        self.document.add_error(node, path, what)
        return INVALID

    def origin_of(self, value: Any, *keys: str) -> Origin:
        """The origin of a dataclass that was read, or of the option at the end of ``keys``; KeyError for a default."""
        return self._below(self._read_values[id(value)][2], keys)

    def values_of(self, kind: Any) -> Iterator[Any]:
        """The dataclasses that were read as an option of type ``kind``, in the order of reading."""
        return (value for value, read_as, _ in self._read_values.values() if read_as is kind)

    def instances_of(self, kind: type[T]) -> Iterator[T]:
        """The values of a dataclass that were read, whatever the type of their option, in the order of reading."""
        return (value for value, _, _ in self._read_values.values() if isinstance(value, kind))

    def read(self, node: yaml.Node, kind: Any, path: str) -> Any:
        """The value of type ``kind`` that ``node`` gives for the option ``path``, or INVALID."""
        if node in self._ancestors:
            return self.fail(node, path, "recursive alias")
        self._ancestors.append(node)
        try:
            return self._read(node, kind, path)
        finally:
            self._ancestors.pop()

    def _read(self, node: yaml.Node, kind: Any, path: str) -> Any:
        try:
            value = self._read_as(node, kind, path)
        except ValueError as error:
            return self.fail(node, path, redact(str(error), (node,) if self._secret_depth else ()))
        # Only these have an identity: equal texts and numbers may be one object.
        if not isinstance(value, str) and dataclasses.is_dataclass(value):
            self._read_values.setdefault(id(value), (value, kind, (node, path)))
        return value

    def _read_as(self, node: yaml.Node, kind: Any, path: str) -> Any:
        if kind in self._custom:
            return self._custom[kind](self, node, path)
        form = _form_of(kind)
        if form is Union:
            return self._read_either(node, get_args(kind), path)
        if form is tuple:
            return self._read_list(node, get_args(kind)[0], path)
        if form is Mapping:
            return self._read_mapping(node, get_args(kind)[1], path)
        if form is type:
            return self.read_fields(node, kind, path)
        scalar = read_scalar(node)
        if scalar is None:
            if isinstance(node, yaml.ScalarNode) and not node.tag.startswith("tag:yaml.org,2002:"):
                return self.fail(node, path, UNKNOWN_TAG)
            hint = "; to mean a text in braces, put it in quotes" if kind is str and is_braced(node) else ""
            hint = "; to mean this sign, put it in quotes" if is_sign(node) else hint
            return self.fail(node, path, f"must be {describe(kind)}{hint}")
        return convert(scalar, kind)

    def _read_either(self, node: yaml.Node, kinds: tuple[Any, ...], path: str) -> Any:
        if types.NoneType in kinds and _is_null(node):
            return None
        mappings = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        others = [kind for kind in kinds if kind not in mappings and kind is not types.NoneType]
        if len(others) > 1 and not _is_word(node, others[0]):
            del others[0]
        is_mapping = mappings and (isinstance(node, yaml.MappingNode) or not others)
        return self._read(node, (mappings if is_mapping else others)[0], path)

    def _read_list(self, node: yaml.Node, kind: Any, path: str) -> Any:
        if _is_null(node):
            return self.fail(node, path, "is empty: give a value or remove the option")
        if not isinstance(node, yaml.SequenceNode):
            value = self._read(node, kind, path)
            return INVALID if value is INVALID else (value,)
        if node.tag != "tag:yaml.org,2002:seq":
            return self.fail(node, path, UNKNOWN_TAG)
        values = tuple(self.read(item, kind, f"{path}[{number}]") for number, item in enumerate(node.value))
        return INVALID if any(value is INVALID for value in values) else values

    def _read_mapping(self, node: yaml.Node, kind: Any, path: str) -> Any:
        entries = self.entries(node, path).items()
        values = {key: self.read(value, kind, self._join(path, key, value)) for key, (_, value) in entries}
        return INVALID if any(value is INVALID for value in values.values()) else types.MappingProxyType(values)

    def read_fields(self, node: yaml.Node, kind: Any, path: str, extra_keys: tuple[str, ...] = ()) -> Any:
        """A dataclass from a mapping, or INVALID; the caller reads ``extra_keys``. ValueError if options conflict."""
        options = _options_of(kind)
        before = self.document.error_count
        found = self.entries(node, path)
        if self.document.error_count > before and not found:  # not a mapping
            return INVALID
        values = file_times(kind, self.document.changed)
        secrets = {}  # the nodes of options that may hold one
        for key, (key_node, value_node) in found.items():
            if option := options.get(key):
                if option.may_be_secret:
                    secrets[key] = value_node
                values[option.name] = self._read_option(value_node, option.kind, join(path, key), option.may_be_secret)
            elif key not in extra_keys:
                hint = did_you_mean(key, [*options, *extra_keys])
                shown = join(path, key) if hint or is_name(key, value_node) else path
                self.fail(key_node, shown, f"unknown option{hint}")
        for key, option in options.items():
            if option.is_required and key not in found:
                self.fail(node, join(path, key), REQUIRED)
        if self.document.error_count > before:
            return INVALID
        try:
            return kind(**values)
        except OptionError as error:  # one option is wrong, or something below it
            origin = self._below((node, path), error.keys, secrets)
            return self.fail(*origin, redact(str(error), secrets.values()))
        except ValueError as error:
            return self.fail(node, path, redact(str(error), secrets.values()))
        except Exception as error:  # a bug of the backend, for which there will be a traceback
            redact_exception(error, secrets.values())
            raise

    def _read_option(self, node: yaml.Node, kind: Any, path: str, is_secret: bool) -> Any:
        self._secret_depth += is_secret
        try:
            return self.read(node, kind, path)
        finally:
            self._secret_depth -= is_secret

    def _below(self, origin: Origin, keys: Sequence[str], secrets: Collection[str] = ()) -> Origin:
        """The origin of the option at the end of the keys; a missing option has the node of its mapping."""
        node, path = origin
        for number, key in enumerate(keys):
            node = self.entries(node, path).get(key, (node, node))[1]
            if number == 0 or keys[0] not in secrets or is_name(key, node):
                path = join(path, key)
        return node, path

    def _join(self, path: str, key: str, value: yaml.Node) -> str:
        """The path of the key; without it if it may be a secret that was written as a key."""
        return path if self._secret_depth and not is_name(key, value) else join(path, key)

    def entries(self, node: yaml.Node, path: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Each key with its node and the node of its value; empty for null, and after a problem with the mapping."""
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if not isinstance(node, yaml.MappingNode):
            if not _is_null(node):
                self.fail(node, path, "must be a mapping")
            return found
        if node.tag != "tag:yaml.org,2002:map":
            self.fail(node, path, UNKNOWN_TAG)
            return found
        for key_node, value_node in node.value:
            scalar = read_scalar(key_node)
            if scalar is None:
                hint = "put = in quotes" if key_node.value == "=" else "merge keys and tags are not supported"
                self.fail(key_node, path, f"a key must be text ({hint})")
                continue
            try:
                key = to_nfc(to_text(scalar))
            except ValueError as error:
                self.fail(key_node, self._join(path, scalar.text, value_node), str(error))
                continue
            if key in found:
                what = f"duplicate key, first given in line {found[key][0].start_mark.line + 1}"
                self.fail(key_node, self._join(path, key, value_node), what)
            else:
                found[key] = key_node, value_node
        return found


CustomReader = Callable[[Reader, yaml.Node, str], Any]  # its ValueError is the problem


def _is_word(node: yaml.Node, kind: Any) -> bool:
    """Whether the node is one of the values of a Literal."""
    scalar = read_scalar(node)
    try:
        return scalar is not None and convert(scalar, kind) in get_args(kind)
    except ValueError:
        return False


def _is_null(node: yaml.Node) -> bool:
    scalar = read_scalar(node)
    return scalar is not None and scalar.kind == "null"
