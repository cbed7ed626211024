"""Text to YAML nodes by two loaders: libyaml's, which is fast, and PyYAML's own, whose reading and places count.

They read most files alike. Where they may differ, and where libyaml's refuses a file, PyYAML's own reads it.
"""

import re
from typing import Any

import yaml

DEPTH_MAX = 50  # levels of collections that libyaml's loader reads; PyYAML's own says which file is nested too deeply

_RARE = (b"\t", b"!", b"%", b"#", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80")  # in each match of the next pattern
# Tabs, marks of byte order after the beginning, line ends of YAML 1.1 alone, tags, directives, and |# (no comment).
_READ_DIFFERENTLY = re.compile(
    rb"\t|(?!\A)\xef\xbb\xbf|\xc2\x85|\xe2\x80[\xa8\xa9]|(?:\A|[\s\[\]{},:?\"'\xbf-])!|(?:\A|[\n\r\xbf])%|[|>][-+0-9]*#"
)
_LONGEST = 8  # bytes of a match, of which some may be in the chunk before; |+2# has four
_QUESTION = re.compile(r"\?(?:[\s,\[\]{}]|\Z)")  # begins a key within a text in a flow collection, or is of the text

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class _DiffersError(yaml.YAMLError):
    """The loaders may read the file differently."""


class _Chunks:
    """A file in memory as a stream, each chunk of which is looked through before libyaml's loader has it.

    Between two chunks, other threads have their turn: the loader itself never leaves the interpreter to them.
    """

    def __init__(self, raw: bytes, name: str) -> None:
        self.name = name  # for the marks
        self._raw = raw
        self._end = 0  # of the last chunk

    def read(self, size: int = 0, /) -> bytes:
        """The next bytes, none at the end. Raises _DiffersError."""
        start, self._end = self._end, min(self._end + size, len(self._raw))
        begin = max(start - _LONGEST, 0)
        is_rare = any(self._raw.find(sign, begin, self._end) >= 0 for sign in _RARE)
        if is_rare and _READ_DIFFERENTLY.search(self._raw, begin, self._end):
            raise _DiffersError
        return self._raw[start : self._end]


class _PythonLoader(yaml.SafeLoader):
    """PyYAML's own loader. In a quoted text, two escapes for a character, as in JSON, are that character."""

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        if not node.value.isascii():
            node.value = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), node.value)
        return node


if yaml.__with_libyaml__:

    class _FastLoader(yaml.CSafeLoader):
        """libyaml's loader; raises _DiffersError where PyYAML's own may read otherwise."""

        def __init__(self, stream: _Chunks) -> None:
            super().__init__(stream)
            self._depth = 0
            self._in_flow = False

        def descend_resolver(self, parent: yaml.CollectionNode | None, index: object) -> None:
            """Called before each node; ``ascend_resolver`` after it."""
            self._depth += 1
            if self._depth > DEPTH_MAX:
                raise _DiffersError
            self._in_flow = parent is not None and bool(parent.flow_style)

        def ascend_resolver(self) -> None:
            self._depth -= 1

        def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
            if self._in_flow and value and implicit[0] and "?" in value and _QUESTION.search(value):
                raise _DiffersError
            tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # of types-PyYAML
            return tag


def compose_fast(raw: bytes, name: str) -> yaml.Node | None:
    """The root node of a file in UTF-8 by libyaml's loader; None where PyYAML's own has to read it.

    Its marks are those of PyYAML's own, except for values that are empty.
    """
    if not yaml.__with_libyaml__:
        return None
    try:
        return _FastLoader(_Chunks(raw, name)).get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        return None


def python_loader(text: str, name: str) -> yaml.SafeLoader:
    """PyYAML's own loader, for ``get_single_node`` and ``get_mark``. Raises ReaderError."""
    loader = _PythonLoader(text)
    loader.name = name  # instead of "<unicode string>"
    return loader


def discard(root: yaml.Node | None) -> None:
    """Take a tree apart, node by node.

    To free a large one at once takes a tenth of a second, for which all other threads wait.
    """
    nodes = [root] if isinstance(root, yaml.CollectionNode) else []
    while nodes:
        node = nodes.pop()
        children, node.value = node.value, []
        while children:
            child = children.pop()
            parts = child if isinstance(child, tuple) else (child,)
            nodes.extend(part for part in parts if isinstance(part, yaml.CollectionNode))
