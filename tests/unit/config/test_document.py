"""YAML files as nodes with locations; command line options that override them; the order of problems."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest

from fingerd.config.document import Document, Location, join, override_options, read_documents
from fingerd.config.schema import Reader
from fingerd.config.values import Integer
from fingerd.errors import ConfigError
from tests.helpers.documents import compose


@dataclass(frozen=True)
class Wheel:
    """A section."""

    inches: Annotated[int, Integer(1, 30)]
    maker: str = "unknown"


@dataclass(frozen=True)
class Shed:
    """A file with one section."""

    wheel: Wheel = field(default_factory=lambda: Wheel(1))
    other: str = ""


def test_problems_and_warnings_are_in_the_order_of_the_file_without_duplicates() -> None:
    document = Document("f")
    for place, path, what in (
        (Location("f", 9, 1), "b", "late"),
        (Location("f", 10, 1), "", "last"),
        (Location("f"), "a", "x"),
    ):
        document.add_error(place, path, what)
        document.add_warning(place, path, what)
    document.add_error(Location("f", 9, 1), "b", "late")
    assert document.problems == document.warnings == ("f: a: x", "f:9:1: b: late", "f:10:1: last")
    assert document.error_count == 4
    with pytest.raises(ConfigError, match="f:9:1: b: late") as caught:
        document.raise_problems()
    assert caught.value.problems == document.problems


def test_a_document_with_warnings_alone_raises_no_error() -> None:
    document = Document("f")
    document.add_warning(Location("f"), "a", "perhaps")
    document.raise_problems()


def test_option_paths_are_joined_by_dots() -> None:
    assert join("", "a") == "a"
    assert join("a", "b") == "a.b"


UNREADABLE = {
    "empty": (b"", ":1:1: the file is empty"),
    "a comment": (b"# a\n", ":1:1: the file is empty"),
    "not UTF-8": ("a: ü\nü: ".encode() + b"\xe9\n", ":2:4: not UTF-8 text"),
    "control character": (b"a: b\nc: \x07\n", ":2:4: U+0007 is not allowed in a YAML file"),
    "syntax": (
        b"a: b: c\n",
        ":1:5: a colon is not allowed here: quote a text that has one, or correct the indentation or the line before",
    ),
    "a text that begins with a sign": (
        b"a: @home\n",
        ":1:4: a text cannot begin with this character: put it in quotes",
    ),
    "unknown alias": (b"a: *b\n", ":1:4: no anchor has this name: put a text that begins with * in quotes"),
}


@pytest.mark.parametrize(("raw", "problem"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_file_that_cannot_be_read_is_a_document_with_one_problem(raw: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(raw)
    (document,) = read_documents(str(path))
    assert document.root is None
    assert document.problems == (f"{path}{problem}",)


def test_a_missing_file_is_a_document_with_one_problem(tmp_path: Path) -> None:
    path = str(tmp_path / "f.yaml")
    (document,) = read_documents(path)
    assert document.problems == (f"{path}: cannot be read: No such file or directory",)


def test_a_valid_file_is_a_tree_without_problems(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfinches: 5\r\n")
    documents = read_documents(str(path))
    document = next(documents)
    assert document.root is not None
    assert Reader(document).read(document.root, Wheel, "") == Wheel(5)
    assert document.problems == ()


def test_the_file_is_read_once_for_all_its_documents() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"inches: ten\n")
    os.close(writer)
    counted = []
    for document in read_documents(f"/dev/fd/{reader}"):
        assert document.root is not None
        Reader(document).read(document.root, Wheel, "")
        counted.append(document.problems)
    os.close(reader)
    assert set(counted) == {(f"/dev/fd/{reader}:1:9: inches: must be a whole number",)}


def test_the_nodes_of_a_document_are_gone_when_the_next_one_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("a: [b, {c: d}]\n")
    roots = [document.root for document in read_documents(str(path))]
    assert [root.value for root in roots if root] == [[] for _ in roots]


OVERRIDDEN = {
    "over a value": ("wheel: {inches: 5, maker: a}", Wheel(5, "b")),
    "beside a value": ("wheel: {inches: 5}", Wheel(5, "b")),
    "over two values": ("wheel: {inches: 5, maker: a, maker: c}", Wheel(5, "b")),
    "over an invalid value": ("wheel: {inches: 5, maker: [a]}", Wheel(5, "b")),
}


@pytest.mark.parametrize(("text", "wheel"), OVERRIDDEN.values(), ids=OVERRIDDEN.keys())
def test_a_command_line_option_replaces_that_of_the_file(text: str, wheel: Wheel) -> None:
    document = compose(text)
    override_options(document, {"wheel.maker": ("--maker", "b")})
    assert document.root is not None
    assert Reader(document).read(document.root, Shed, "") == Shed(wheel)
    assert document.problems == ()


@pytest.mark.parametrize("text", ["{other: a, wheel: }", "other: a"], ids=["empty section", "no section"])
def test_a_command_line_option_needs_no_section_in_the_file(text: str) -> None:
    document = compose(text)
    override_options(document, {"wheel.maker": ("--maker", "no"), "wheel.inches": ("--inches", "5")})
    assert document.root is not None
    Reader(document).read(document.root, Shed, "")
    assert document.problems == ("--inches: wheel.inches: must be a whole number, without quotes",)  # a text


@pytest.mark.parametrize(
    ("text", "problem"),
    [("- a", "cart.yaml:1:1: must be a mapping"), ("wheel: 5", "cart.yaml:1:8: wheel: must be a mapping")],
    ids=["file", "section"],
)
def test_a_command_line_option_hides_no_problem_of_the_file(text: str, problem: str) -> None:
    document = compose(text)
    override_options(document, {"wheel.maker": ("--maker", "b")})
    assert document.root is not None
    Reader(document).read(document.root, Shed, "")
    assert problem in document.problems


def test_command_line_options_do_not_change_an_unreadable_file() -> None:
    document = Document("f")
    override_options(document, {"wheel.maker": ("--maker", "b")})
    assert document.root is None
