"""A YAML file as nodes that know their place, and the problems found in it.

PyYAML's ``SafeLoader`` reads the text, and builds no object from it. Every
complaint names the file, the line and the column, and all of them are
gathered, so that an administrator mends a file in one go.
"""

from collections.abc import Mapping
from typing import NamedTuple

import yaml

from fingerd.errors import ConfigError
from fingerd.text import escape_controls


class Location(NamedTuple):
    """Where something was given: a line and a column of a file, from 1; a name alone where there are none."""

    name: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}" if self.line else self.name


class Document:
    """One file: its tree, if it could be read, and what is wrong with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: yaml.Node | None = None
        self._problems: list[tuple[Location, str]] = []
        self._warnings: list[tuple[Location, str]] = []

    def add_error(self, where: yaml.Node | Location, path: str, what: str) -> None:
        """Something is wrong with the option ``path``."""
        self._problems.append((_place(where), f"{path}: {what}" if path else what))

    @property
    def count(self) -> int:
        """How many complaints there were."""
        return len(self._problems)

    def warn(self, where: yaml.Node | Location, path: str, what: str) -> None:
        """The option ``path`` may not do what is wanted."""
        self._warnings.append((_place(where), f"{path}: {what}" if path else what))

    def place_of(self, *keys: str) -> Location:
        """Where the option at the end of these keys is, or as far as there are any."""
        node = self.root
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                node = next((value for name, value in node.value if name.value == key), node)
        return _place(node) if node else Location(self.name)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, one line each, in the order of the file."""
        return _lines(self._problems)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong, one line each, in the order of the file."""
        return _lines(self._warnings)

    def raise_problems(self) -> None:
        """ConfigError with all of them, if there are any."""
        if self._problems:
            raise ConfigError(self.problems)


def _place(where: yaml.Node | Location) -> Location:
    if isinstance(where, Location):
        return where
    mark = where.start_mark
    return Location(mark.name, mark.line + 1, mark.column + 1)


def _lines(entries: list[tuple[Location, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(escape_controls(f"{place}: {what}") for place, what in sorted(entries)))


def join(path: str, key: str) -> str:
    """The path of an option below another."""
    return f"{path}.{key}" if path else key


def read_document(path: str) -> Document:
    """The file at ``path`` as a tree; what keeps it from being read is a problem of the document."""
    document = Document(path)
    loader = None
    try:
        with open(path, "rb") as file:
            raw = file.read()
        text = raw.decode()
        loader = yaml.SafeLoader(text)
        loader.name = path  # instead of "<unicode string>"
        document.root = loader.get_single_node()
        if document.root is None:
            document.add_error(Location(path, 1, 1), "", "the file is empty")
    except OSError as error:
        document.add_error(Location(path), "", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        start = raw[: error.start]
        document.add_error(_end_of(path, start.decode()), "", "not UTF-8 text")
    except (ValueError, OverflowError):  # "\U00110000", %YAML 1.11…1: PyYAML lets these through
        if loader is None:  # a path that no file can have
            document.add_error(Location(path), "", "cannot be read: no such file")
        else:
            here = loader.get_mark()
            document.add_error(Location(path, here.line + 1, here.column + 1), "", "a number is too large")
    except RecursionError:
        document.add_error(Location(path, 1, 1), "", "nested too deeply")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        parts = [error.problem, error.context]
        if isinstance(error, yaml.composer.ComposerError):  # its problem goes on where its context ends
            parts.reverse()
        reason = ", ".join(str(part) for part in parts if part) + _advice(error.problem or "")
        document.add_error(Location(path, mark.line + 1, mark.column + 1) if mark else Location(path), "", reason)
    except yaml.reader.ReaderError as error:
        character = f"U+{ord(text[error.position]):04X}"
        document.add_error(_end_of(path, text[: error.position]), "", f"{character} may not stand in a YAML file")
    return document


def _advice(problem: str) -> str:
    """What PyYAML's words mean to who writes a text that YAML does not take for one."""
    if problem == "mapping values are not allowed here":
        return " (a text with a colon must be in quotes)"
    if problem.endswith("that cannot start any token") and "\\t" not in problem:
        return " (a text that begins with it must be in quotes)"
    return ""


def _end_of(name: str, text: str) -> Location:
    return Location(name, text.count("\n") + 1, len(text) - text.rfind("\n"))


def set_options(document: Document, options: Mapping[str, tuple[str, str]]) -> None:
    """Put command line options over the file's: ``section.option`` to the option's own name and its text."""
    for path, (flag, text) in options.items():
        section, option = path.split(".")
        inner = _child(document.root, section, flag)
        if inner is not None:
            inner.value = [(key, value) for key, value in inner.value if key.value != option]
            inner.value.append((_text_node(flag, option), _text_node(flag, text)))


def _child(root: yaml.Node | None, section: str, flag: str) -> yaml.MappingNode | None:
    """The mapping ``section`` below the root, made where it is missing or empty; None where something else is there."""
    if not isinstance(root, yaml.MappingNode):
        return None
    for number, (key, value) in enumerate(root.value):
        if key.value == section:
            if isinstance(value, yaml.MappingNode):
                # A node of its own: an alias may make the same one another section, too.
                own = yaml.MappingNode(value.tag, list(value.value), value.start_mark, value.end_mark)
                root.value[number] = (key, own)
                return own
            if value.tag != "tag:yaml.org,2002:null":
                return None
            del root.value[number]
            break
    mark = yaml.Mark(flag, 0, -1, -1, None, 0)
    inner = yaml.MappingNode("tag:yaml.org,2002:map", [], mark, mark)
    root.value.append((_text_node(flag, section), inner))
    return inner


def _text_node(flag: str, text: str) -> yaml.ScalarNode:
    """A quoted text that stands nowhere in the file: its place is the option's name."""
    mark = yaml.Mark(flag, 0, -1, -1, None, 0)
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, mark, mark, style='"')
