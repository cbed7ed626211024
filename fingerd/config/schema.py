"""YAML nodes to dataclasses: the fields are the options, their types the schema. Knows no option of fingerd.

A field's type says what may stand in the file:

=====================================  ==========================================
``str``, ``bool``                      a text, true or false
``Annotated[T, convert]``              what ``convert(Scalar) -> T`` accepts; its ValueError is the complaint
``Literal["a", True]``                 one of these words
``X | None``                           ``null`` is None
``X | SomeDataclass``                  a mapping is read as the dataclass, all else as X
``Literal[False] | X``                 one of these words, all else as X
``tuple[T, ...]``                      a list, or a single T
``Mapping[str, T]``                    a mapping with keys of any name
a dataclass                            a mapping whose keys are its fields (``from_`` is the option ``from``)
=====================================  ==========================================

Types of other kinds have a reader of their own, handed in by the caller.
"""

import dataclasses
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from fingerd.config.document import Document, join
from fingerd.config.values import convert, describe, did_you_mean, read_scalar, to_text
from fingerd.errors import OptionError

REQUIRED = "required, but not given"

INVALID = object()  # read where there was a problem, which stands in the document then


def unsupported_types(kind: Any, special: Collection[Any] = ()) -> Iterator[str]:
    """What is wrong with the types of a dataclass's fields, and of those that it holds: none of them can be read."""
    left, seen = [kind], [*special, str, bool, types.NoneType]
    while left:
        holder = left.pop()
        seen.append(holder)
        try:
            hints = get_type_hints(holder, include_extras=True)
        except Exception as error:  # a name that is there for type checkers only, or whatever else it may be
            yield f"the types of its options cannot be read: {error}"
            continue
        for field in dataclasses.fields(holder):
            for part in _parts(hints[field.name]) if field.init else ():
                if dataclasses.is_dataclass(part) and part not in seen:
                    left.append(part)
                elif part not in seen:
                    name = getattr(part, "__name__", part) if isinstance(part, type) else part
                    yield f"{field.name.rstrip('_')}: no option can be of type {name}{_INSTEAD.get(part, '')}"


_INSTEAD = {int: ": use Annotated[int, Integer()]", float: ": use Annotated[float, Seconds()]"}


def _parts(kind: Any) -> Iterator[Any]:
    """The types that a type is made of; none of those that have a converter or are words."""
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


class Reader:
    """Reads values out of one document, and leaves every problem with it."""

    def __init__(self, document: Document, special: "Mapping[Any, CustomReader] | None" = None) -> None:
        self.document = document
        self._special = special or {}
        self._open: list[yaml.Node] = []  # from the root down to the node that is being read

    def fail(self, node: yaml.Node, path: str, what: str) -> Any:
        """Note the problem; FAILED, to be returned."""
        self.document.add_error(node, path, what)
        return INVALID

    def read(self, node: yaml.Node, kind: Any, path: str) -> Any:
        """The value of type ``kind`` that ``node`` gives for the option ``path``, or FAILED."""
        if node in self._open:
            return self.fail(node, path, "an alias may not hold itself")
        self._open.append(node)
        try:
            return self._read(node, kind, path)
        finally:
            self._open.pop()

    def _read(self, node: yaml.Node, kind: Any, path: str) -> Any:
        origin = get_origin(kind)
        if kind in self._special:
            return self._special[kind](self, node, path)
        if origin in (Union, types.UnionType):
            return self._read_either(node, get_args(kind), path)
        if origin is tuple:
            return self._read_list(node, get_args(kind)[0], path)
        if origin is Mapping:
            return self._read_mapping(node, get_args(kind)[1], path)
        if dataclasses.is_dataclass(kind):
            return self.read_fields(node, kind, path)
        scalar = read_scalar(node)
        if scalar is None:
            foreign = isinstance(node, yaml.ScalarNode) and not node.tag.startswith("tag:yaml.org,2002:")
            what = f"must be {describe(kind)}{_in_braces(node) if kind is str else ''}"
            return self.fail(node, path, f"the tag {node.tag} is not known" if foreign else what)
        try:
            return convert(scalar, kind)
        except ValueError as error:
            return self.fail(node, path, str(error))

    def _read_either(self, node: yaml.Node, kinds: tuple[Any, ...], path: str) -> Any:
        if types.NoneType in kinds and _is_nothing(node):
            return None
        mappings = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        others = [kind for kind in kinds if kind not in mappings and kind is not types.NoneType]
        if len(others) > 1 and not _is_word(node, others[0]):
            del others[0]
        return self._read(node, (mappings if isinstance(node, yaml.MappingNode) and mappings else others)[0], path)

    def _read_list(self, node: yaml.Node, kind: Any, path: str) -> Any:
        if _is_nothing(node):
            return self.fail(node, path, "is empty: give something, or leave it out")
        if not isinstance(node, yaml.SequenceNode):
            value = self._read(node, kind, path)
            return INVALID if value is INVALID else (value,)
        if node.tag != "tag:yaml.org,2002:seq":
            return self.fail(node, path, f"the tag {node.tag} is not known")
        values = tuple(self.read(item, kind, f"{path}[{number}]") for number, item in enumerate(node.value))
        return INVALID if any(value is INVALID for value in values) else values

    def _read_mapping(self, node: yaml.Node, kind: Any, path: str) -> Any:
        values = {key: self.read(value, kind, join(path, key)) for key, (_, value) in self.entries(node, path).items()}
        return INVALID if any(value is INVALID for value in values.values()) else types.MappingProxyType(values)

    def read_fields(self, node: yaml.Node, kind: Any, path: str, extra_keys: tuple[str, ...] = ()) -> Any:
        """The dataclass whose fields the mapping gives, or FAILED; ``extra_keys`` are keys that the caller reads."""
        hints = get_type_hints(kind, include_extras=True)
        fields = {field.name.rstrip("_"): field for field in dataclasses.fields(kind) if field.init}
        before = self.document.count
        found = self.entries(node, path)
        if self.document.count > before and not found:  # nothing to look for anything in
            return INVALID
        values = {}
        for key, (key_node, value_node) in found.items():
            if key in fields:
                name = fields[key].name
                values[name] = self.read(value_node, hints[name], join(path, key))
            elif key not in extra_keys:
                self.fail(key_node, join(path, key), f"unknown option{did_you_mean(key, [*fields, *extra_keys])}")
        for key, field in fields.items():
            if (
                key not in found
                and field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                self.fail(node, join(path, key), REQUIRED)
        if self.document.count > before:
            return INVALID
        try:
            return kind(**values)
        except OptionError as error:  # what is wrong with one of them, or below it
            return self.fail(*self._below(node, path, error.keys), str(error))
        except ValueError as error:  # what is wrong with the options together
            return self.fail(node, path, str(error))

    def _below(self, node: yaml.Node, path: str, keys: Sequence[str]) -> tuple[yaml.Node, str]:
        """The node at the end of the keys, as far as there are any, and its path."""
        for key in keys:
            node = self.entries(node, path).get(key, (node, node))[1]
            path = join(path, key)
        return node, path

    def entries(self, node: yaml.Node, path: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The nodes of each key and its value; none where the node is empty, or a problem."""
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if not isinstance(node, yaml.MappingNode):
            if not _is_nothing(node):
                self.fail(node, path, "must be a mapping")
            return found
        if node.tag != "tag:yaml.org,2002:map":
            self.fail(node, path, f"the tag {node.tag} is not known")
            return found
        for key_node, value_node in node.value:
            scalar = read_scalar(key_node)
            if scalar is None:
                self.fail(key_node, path, "a key must be text (merge keys and tags are not read)")
                continue
            try:
                key = to_text(scalar)
            except ValueError as error:
                self.fail(key_node, join(path, scalar.text), str(error))
                continue
            if key in found:
                line = found[key][0].start_mark.line + 1
                self.fail(key_node, join(path, key), f"duplicate key, first given in line {line}")
            else:
                found[key] = key_node, value_node
        return found


CustomReader = Callable[[Reader, yaml.Node, str], Any]


def _in_braces(node: yaml.Node) -> str:
    """``; to mean the text, quote it: "{user}"`` for a mapping that looks like that; nothing for all else."""
    start, end = node.start_mark, node.end_mark
    source = start.buffer[start.pointer : end.pointer] if start.buffer else ""
    return f'; to mean the text, quote it: "{source}"' if re.fullmatch(r"\{[a-z]+\}", source) else ""


def _is_word(node: yaml.Node, kind: Any) -> bool:
    """Whether the node is one of the words of a Literal."""
    scalar = read_scalar(node)
    try:
        return scalar is not None and convert(scalar, kind) in get_args(kind)
    except ValueError:
        return False


def _is_nothing(node: yaml.Node) -> bool:
    scalar = read_scalar(node)
    return scalar is not None and scalar.kind == "nothing"
