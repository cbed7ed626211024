"""A YAML file as nodes with their locations, and the problems found in it.

The loaders parse the text and construct no objects. All problems are collected, each with file, line and column, so
that an administrator can correct a file in one go.
"""

from collections.abc import Collection, Generator, Mapping
from typing import NamedTuple

import yaml

from fingerd.config.loaders import compose_fast, discard, python_loader
from fingerd.config.yaml_errors import explain
from fingerd.errors import ConfigError
from fingerd.safe_files import read_named
from fingerd.text import escape_controls


class Location(NamedTuple):
    """A line and a column of a file, both from 1; line 0 stands for the whole file, or a command line option."""

    name: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}" if self.line else self.name


class Document:
    """One file: its root node, None if the file cannot be parsed, and its problems and warnings."""

    def __init__(self, name: str, changed: float = 0.0) -> None:
        self.name = name
        self.root: yaml.Node | None = None
        self.changed = changed  # when the file was last, in ``time.time()`` seconds
        self._problems: list[tuple[Location, str]] = []
        self._warnings: list[tuple[Location, str]] = []

    def add_error(self, where: yaml.Node | Location, path: str, what: str) -> None:
        """Add a problem with the option ``path``, or with the file if the path is empty."""
        self._problems.append(_entry(where, path, what))

    def add_warning(self, where: yaml.Node | Location, path: str, what: str) -> None:
        """Add a warning about the option ``path``: it is valid, but may not do what is intended."""
        self._warnings.append(_entry(where, path, what))

    @property
    def error_count(self) -> int:
        """The number of problems added, duplicates included."""
        return len(self._problems)

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each problem, without duplicates, in the order of the file."""
        return _lines(self._problems)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each warning, without duplicates, in the order of the file."""
        return _lines(self._warnings)

    def raise_problems(self) -> None:
        """Raise ConfigError with all problems, if there are any."""
        if self._problems:
            raise ConfigError(self.problems)


def _entry(where: yaml.Node | Location, path: str, what: str) -> tuple[Location, str]:
    location = where if isinstance(where, Location) else _location(where.start_mark)
    return location, f"{path}: {what}" if path else what


def _location(mark: yaml.Mark) -> Location:
    return Location(mark.name, mark.line + 1, mark.column + 1)


def _lines(entries: list[tuple[Location, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(escape_controls(f"{location}: {what}") for location, what in sorted(entries)))


def join(path: str, key: str) -> str:
    """The path of the option ``key`` below ``path``."""
    return f"{path}.{key}" if path else key


def read_documents(path: str) -> Generator[Document, None, None]:
    """The file at ``path`` as a document; after it, for a caller who finds problems in it, another that says where.

    The first one may be by the fast loader. The places in the last one are exact, and an error of YAML is its only
    problem. The file is read once: it may be a pipe. The nodes of a document are gone when the next one is asked for.
    """
    document = Document(path)
    try:
        raw, document.changed = read_named(path)
        text = raw.decode()
    except OSError as error:
        document.add_error(Location(path), "", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        document.add_error(_end_of(path, raw[: error.start].decode()), "", "not UTF-8 text")
    except ValueError:  # a path with a NUL
        document.add_error(Location(path), "", "cannot be read: no such file")
    else:
        document.root = compose_fast(raw, path)
        if document.root is not None:
            try:
                yield document
            finally:
                discard(document.root)
            document = Document(path, document.changed)
        _compose(document, text)
    try:
        yield document
    finally:
        discard(document.root)


def _compose(document: Document, text: str) -> None:
    """Parse the text by PyYAML's own loader; an error becomes the only problem of the document."""
    path = document.name
    try:
        loader = python_loader(text, path)
        try:
            document.root = loader.get_single_node()
        except (ValueError, OverflowError):  # "\U00110000", %YAML 1.11…1: PyYAML does not catch these
            document.add_error(_location(loader.get_mark()), "", "a number is too large")
            return
        if document.root is None:
            document.add_error(Location(path, 1, 1), "", "the file is empty")
    except RecursionError:
        document.add_error(Location(path, 1, 1), "", "nested too deeply")
    except yaml.MarkedYAMLError as error:
        document.add_error(_location(error.problem_mark) if error.problem_mark else Location(path), "", explain(error))
    except yaml.reader.ReaderError as error:
        what = f"U+{ord(text[error.position]):04X} is not allowed in a YAML file"
        document.add_error(_end_of(path, text[: error.position]), "", what)


def _end_of(name: str, text: str) -> Location:
    return Location(name, text.count("\n") + 1, len(text) - text.rfind("\n"))


def remove_options(document: Document, names: Collection[str]) -> None:
    """Remove the top-level options with these names."""
    if isinstance(document.root, yaml.MappingNode):
        document.root.value = [(key, value) for key, value in document.root.value if key.value not in names]


def override_options(document: Document, options: Mapping[str, tuple[str, str]]) -> None:
    """Replace options of the file by command line options: ``section.option`` to (the flag, its text)."""
    for path, (flag, text) in options.items():
        name, option = path.split(".")
        if section := _section(document.root, name, flag):
            others = [(key, value) for key, value in section.value if key.value != option]
            section.value = [*others, (_text_node(flag, option), _text_node(flag, text))]


def _section(root: yaml.Node | None, name: str, flag: str) -> yaml.MappingNode | None:
    """The mapping ``name`` below the root, added if missing or empty; None if either is not a mapping."""
    if not isinstance(root, yaml.MappingNode):
        return None
    section = yaml.MappingNode("tag:yaml.org,2002:map", [], *_flag_marks(flag))
    for number, (key, value) in enumerate(root.value):
        if key.value == name:
            if isinstance(value, yaml.MappingNode):
                # A copy: with an alias, another section may be the same node.
                section = yaml.MappingNode(value.tag, list(value.value), value.start_mark, value.end_mark)
            elif value.tag != "tag:yaml.org,2002:null":
                return None
            root.value[number] = (key, section)
            return section
    root.value.append((_text_node(flag, name), section))
    return section


def _text_node(flag: str, text: str) -> yaml.ScalarNode:
    """A quoted text whose location is the flag."""
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, *_flag_marks(flag), style='"')


def _flag_marks(flag: str) -> tuple[yaml.Mark, yaml.Mark]:
    mark = yaml.Mark(flag, 0, -1, -1, None, 0)  # line -1 here is line 0 of a Location
    return mark, mark
