"""Nodes to dataclasses, plain values and documents, with options that exist only here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pytest
import yaml

from fingerd.config.document import Document, Location, join, read_document, set_options
from fingerd.config.schema import INVALID, Reader, unsupported_types
from fingerd.config.values import Integer, Scalar, Seconds, Size, convert, describe, did_you_mean, read_scalar, to_text
from fingerd.errors import ConfigError, OptionError


@dataclass(frozen=True)
class Wheel:
    """A part, which may also be named by its size alone."""

    inches: Annotated[int, Integer(1, 30)]
    maker: str = "unknown"


@dataclass(frozen=True)
class Cart:
    """Something of every kind that a field can be."""

    name: str
    from_: str = "here"
    old: bool = False
    colour: Literal["red", "green", True] = "red"
    load: Annotated[int, Size()] | None = None
    stops: tuple[str, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    spare: str | Wheel = "none"
    brakes: Literal[False, "all"] | tuple[Annotated[int, Integer(1, 4)], ...] = False
    prices: Mapping[str, Annotated[int, Integer()]] = field(default_factory=lambda: MappingProxyType({}))
    computed: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if self.name == self.from_:
            raise ValueError("the name may not be the place")
        if self.from_ in self.stops:
            raise OptionError("a cart does not stop where it comes from", "stops")
        for name, price in self.prices.items():
            if price > 99:
                raise OptionError("nobody pays that", "prices", name)
        if self.name == "old" and not self.old:
            raise OptionError("an old cart is old", "old")


def shout(reader: Reader, node: yaml.Node, path: str) -> Any:
    """Read a text in capitals, and nothing else."""
    scalar = read_scalar(node)
    return reader.fail(node, path, "must be shouted") if scalar is None else scalar.text.upper()


class Shouted:
    """A kind of value that has a reader of its own."""


@dataclass(frozen=True)
class Crier:
    """Has an option of a special kind."""

    word: Shouted


def compose(text: str) -> Document:
    document = Document("cart.yaml")
    loader = yaml.SafeLoader(text)
    loader.name = "cart.yaml"
    document.root = loader.get_single_node()
    return document


def read(kind: Any, text: str) -> Any:
    """The value that a text gives; ConfigError with its problems."""
    document = compose(text)
    assert document.root is not None
    value = Reader(document, {Shouted: shout}).read(document.root, kind, "")
    document.raise_problems()
    assert value is not INVALID
    return value


def problems(kind: Any, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(kind, text)
    return [problem.removeprefix("cart.yaml:") for problem in caught.value.problems]


CARTS = {
    "one option": ("name: a", Cart("a")),
    "a quoted text": ("name: 'no'", Cart("no")),
    "a field whose name is a word of Python": ("{name: a, from: b}", Cart("a", from_="b")),
    "true": ("{name: a, old: yes}", Cart("a", old=True)),
    "a word": ("{name: a, colour: green}", Cart("a", colour="green")),
    "a word that is true": ("{name: a, colour: true}", Cart("a", colour=True)),
    "a converted value": ("{name: a, load: 2KiB}", Cart("a", load=2048)),
    "nothing": ("{name: a, load: null}", Cart("a")),
    "a list": ("{name: a, stops: [b, c]}", Cart("a", stops=("b", "c"))),
    "an empty list": ("{name: a, stops: []}", Cart("a")),
    "one instead of a list": ("{name: a, stops: b}", Cart("a", stops=("b",))),
    "a list of mappings": (
        "{name: a, wheels: [{inches: 20}, {inches: 26, maker: b}]}",
        Cart("a", wheels=(Wheel(20), Wheel(26, "b"))),
    ),
    "a mapping instead of a list of them": ("{name: a, wheels: {inches: 20}}", Cart("a", wheels=(Wheel(20),))),
    "a text where a mapping may be": ("{name: a, spare: one}", Cart("a", spare="one")),
    "a mapping where a text may be": ("{name: a, spare: {inches: 5}}", Cart("a", spare=Wheel(5))),
    "a word where a list may be": ("{name: a, brakes: all}", Cart("a", brakes="all")),
    "false where a list may be": ("{name: a, brakes: false}", Cart("a", brakes=False)),
    "a list where a word may be": ("{name: a, brakes: [1, 2]}", Cart("a", brakes=(1, 2))),
    "one of a list where a word may be": ("{name: a, brakes: 3}", Cart("a", brakes=(3,))),
    "keys of any name": ("{name: a, prices: {x: 1, 'no': 2}}", Cart("a", prices={"x": 1, "no": 2})),
    "an empty mapping": ("{name: a, prices: }", Cart("a")),
    "an alias": ("{name: &n a, stops: [*n, *n]}", Cart("a", stops=("a", "a"))),
}

BROKEN_CARTS = {
    "unknown option": ("{name: a, colr: red}", ["1:11: colr: unknown option (did you mean colour?)"]),
    "unknown option like no other": ("{name: a, zzz: red}", ["1:11: zzz: unknown option"]),
    "a field that is no option": ("{name: a, computed: x}", ["1:11: computed: unknown option"]),
    "nothing given": ("{}", ["1:1: name: required, but not given"]),
    "duplicate key": ("name: a\nold: true\nname: b", ["3:1: name: duplicate key, first given in line 1"]),
    "a key that is no text": (
        "{name: a, 1: b}",
        ['1:11: 1: YAML reads 1 as a number; to mean the text, quote it: "1"'],
    ),
    "a key that is a list": ("{name: a, [b]: c}", ["1:11: a key must be text (merge keys and tags are not read)"]),
    "a merge key": (
        "{name: a, prices: {<<: {b: 1}}}",
        ["1:20: prices: a key must be text (merge keys and tags are not read)"],
    ),
    "a list where a text should be": ("name: [a]", ["1:7: name: must be text"]),
    "a mapping where a text should be": ("name: {a: b}", ["1:7: name: must be text"]),
    "a text in braces": ("name: {user}", ['1:7: name: must be text; to mean the text, quote it: "{user}"']),
    "a tag of somebody's": ("name: !mine a", ["1:7: name: the tag !mine is not known"]),
    "a tag on a list": ("{name: a, stops: !!set [a]}", ["1:18: stops: the tag tag:yaml.org,2002:set is not known"]),
    "a tag that the text does not fit": ("{name: a, old: !!bool perhaps}", ["1:16: old: must be true or false"]),
    "a list where a size should be": (
        "{name: a, load: [1]}",
        ["1:17: load: must be a size in bytes, as 65536 or 64KiB"],
    ),
    "a text where true or false should be": ("{name: a, old: 'yes'}", ["1:16: old: must be true or false"]),
    "no such word": ("{name: a, colour: gren}", ["1:19: colour: must be red, green or true (did you mean green?)"]),
    "a list where a word should be": ("{name: a, colour: [red]}", ["1:19: colour: must be red, green or true"]),
    "neither the word nor anything for the list": (
        "{name: a, brakes: none}",
        ["1:19: brakes: must be a whole number"],
    ),
    "a word within the list": (
        "{name: a, brakes: [1, false]}",
        ["1:23: brakes[1]: must be a whole number"],
    ),
    "a text where a mapping should be": ("{name: a, prices: b}", ["1:19: prices: must be a mapping"]),
    "a bad part of a list": (
        "{name: a, stops: [b, no, 5]}",
        [
            '1:22: stops[1]: YAML reads no as true or false; to mean the text, quote it: "no"',
            '1:26: stops[2]: YAML reads 5 as a number; to mean the text, quote it: "5"',
        ],
    ),
    "one bad value instead of a list": (
        "{name: a, stops: 5}",
        ['1:18: stops: YAML reads 5 as a number; to mean the text, quote it: "5"'],
    ),
    "a bad part of a mapping": ("{name: a, prices: {b: 1, c: x}}", ["1:29: prices.c: must be a whole number"]),
    "a bad option of a part": (
        "{name: a, wheels: [{inches: 20}, {inches: 31}]}",
        ["1:43: wheels[1].inches: must be from 1 to 30"],
    ),
    "options that do not go together": ("{name: a, from: a}", ["1:1: the name may not be the place"]),
    "an option that does not go with another": (
        "{name: a, stops: [b, here]}",
        ["1:18: stops: a cart does not stop where it comes from"],
    ),
    "a key that does not go with others": ("{name: a, prices: {x: 1, y: 100}}", ["1:29: prices.y: nobody pays that"]),
    "an option that is left out and may not be": ("{name: old}", ["1:1: old: an old cart is old"]),
    "a list that holds itself": ("{name: a, stops: &s [b, *s]}", ["1:18: stops[1]: an alias may not hold itself"]),
    "a mapping that holds itself": (
        "{name: a, prices: &p {b: *p}}",
        ["1:19: prices.b: an alias may not hold itself"],
    ),
    "everything at once, in the order of the file": (
        "old: 5\nstop: x\nprices:\n  b: 1\n  b: 2\nname: a\n",
        [
            "1:6: old: must be true or false",
            "2:1: stop: unknown option (did you mean stops?)",
            "5:3: prices.b: duplicate key, first given in line 4",
        ],
    ),
}


@pytest.mark.parametrize(("text", "cart"), CARTS.values(), ids=CARTS.keys())
def test_a_mapping_is_read_as_the_dataclass_that_it_describes(text: str, cart: Cart) -> None:
    assert read(Cart, text) == cart


@pytest.mark.parametrize(("text", "expected"), BROKEN_CARTS.values(), ids=BROKEN_CARTS.keys())
def test_every_problem_is_told_with_its_place(text: str, expected: list[str]) -> None:
    assert problems(Cart, text) == expected


def test_a_mapping_cannot_be_changed_once_it_was_read() -> None:
    assert isinstance(read(Cart, "{name: a, prices: {b: 1}}").prices, MappingProxyType)


def test_a_kind_of_its_own_is_read_by_its_own_reader() -> None:
    assert read(Crier, "word: hear") == Crier("HEAR")  # type: ignore[arg-type]  # what its reader makes of it
    assert problems(Crier, "word: [hear]") == ["1:7: word: must be shouted"]


def test_keys_that_the_caller_reads_are_no_unknown_options() -> None:
    document = compose("{type: x, inches: 5}")
    assert document.root is not None
    assert Reader(document).read_fields(document.root, Wheel, "wheel", extra_keys=("type",)) == Wheel(5)
    assert document.problems == ()


def test_an_empty_value_gives_a_dataclass_its_defaults_only_where_all_options_have_one() -> None:
    assert problems(Wheel, "~") == ["1:1: inches: required, but not given"]


def plain(text: str) -> Scalar:
    node = compose(text).root
    assert node is not None
    scalar = read_scalar(node)
    assert scalar is not None
    return scalar


SCALARS = {
    "text": ("bob", "text", False, None),
    "quoted": ("'5'", "text", True, None),
    "quoted twice": ('"no"', "text", True, None),
    "block": ("|\n  a", "text", True, None),
    "number": ("5", "a number", False, 5),
    "fraction": ("1.5", "a number", False, 1.5),
    "true": ("on", "true or false", False, True),
    "false": ("no", "true or false", False, False),
    "nothing": ("~", "nothing", False, None),
    "date": ("2024-01-01", "a date", False, None),
    "base 60": ("22:30", "a number", False, 1350),
    "base 8": ("027", "a number", False, 23),
}


@pytest.mark.parametrize(("text", "kind", "quoted", "value"), SCALARS.values(), ids=SCALARS.keys())
def test_a_plain_value_is_known_for_what_yaml_takes_it_for(text: str, kind: str, quoted: bool, value: object) -> None:
    assert plain(text)[1:] == (kind, quoted, value)


@pytest.mark.parametrize("text", ["[a]", "{a: b}", "!mine a", "!!int ten", "!!bool perhaps", "!!binary aGk="])
def test_what_is_no_plain_value_of_yaml_is_none(text: str) -> None:
    node = compose(text).root
    assert node is not None
    assert read_scalar(node) is None


TRAPS = {
    "no": ("no", 'YAML reads no as true or false; to mean the text, quote it: "no"'),
    "number": ("5", 'YAML reads 5 as a number; to mean the text, quote it: "5"'),
    "time": ("22:30", 'YAML reads 22:30 as a number; to mean the text, quote it: "22:30"'),
    "date": ("2024-01-01", 'YAML reads 2024-01-01 as a date; to mean the text, quote it: "2024-01-01"'),
    "tilde": ("~", 'YAML reads ~ as nothing; to mean the text, quote it: "~"'),
    "octal": ("0o27", 'YAML readers differ about 0o27; quote it: "0o27"'),
}


@pytest.mark.parametrize(("text", "complaint"), TRAPS.values(), ids=TRAPS.keys())
def test_a_word_that_yaml_reads_otherwise_is_a_text_only_in_quotes(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="quote it") as caught:
        to_text(plain(text))
    assert str(caught.value) == complaint
    assert to_text(plain(f'"{text}"')) == text


CONVERTED = {
    "whole": (Integer(), "5", 5),
    "whole with a sign": (Integer(-5), "-5", -5),
    "whole with underscores": (Integer(), "1_000", 1000),
    "zero": (Integer(), "0", 0),
    "bytes": (Size(), "65536", 65536),
    "KiB": (Size(), "64KiB", 65536),
    "a blank before the unit": (Size(), "64 KiB", 65536),
    "MiB": (Size(), "2MiB", 2 << 20),
    "GiB": (Size(), "1GiB", 1 << 30),
    "quoted size": (Size(), "'64KiB'", 65536),
    "seconds": (Seconds(), "10", 10),
    "a fraction of a second": (Seconds(), "0.5", 0.5),
    "s": (Seconds(), "10s", 10),
    "m": (Seconds(), "5m", 300),
    "h": (Seconds(), "2h", 7200),
    "a fraction of an hour": (Seconds(), "1.5h", 5400),
    "a blank before m": (Seconds(), "5 m", 300),
}

REFUSED = {
    "fraction": (Integer(), "1.5", "must be a whole number"),
    "word": (Integer(), "ten", "must be a whole number"),
    "octal": (Integer(), "010", "must be a whole number (YAML reads 010 as 8)"),
    "hexadecimal": (Integer(), "0x10", "must be a whole number (YAML reads 0x10 as 16)"),
    "base 60": (Integer(), "1:30", "must be a whole number (YAML reads 1:30 as 90)"),
    "infinite": (Integer(), ".inf", "must be a whole number"),
    "too small": (Integer(1), "0", "must be from 1 to 1,000,000"),
    "too large": (Integer(1, 9), "10", "must be from 1 to 9"),
    "unit of ten": (Size(), "64KB", "must be a size in bytes, as 65536 or 64KiB"),
    "small unit": (Size(), "64k", "must be a size in bytes, as 65536 or 64KiB"),
    "no bytes": (Size(), "0", "must be from 1 to 1,073,741,824"),
    "too many bytes": (Size(1, 10), "1KiB", "must be from 1 to 10"),
    "negative time": (Seconds(), "-1", "must be a time, as 10, 10s, 5m or 2h"),
    "days": (Seconds(), "1d", "must be a time, as 10, 10s, 5m or 2h"),
    "clock time": (Seconds(), "22:30", "must be a time, as 10, 10s, 5m or 2h (YAML reads 22:30 as 1350)"),
    "no time": (Seconds(), "''", "must be a time, as 10, 10s, 5m or 2h"),
}


@pytest.mark.parametrize(("converter", "text", "value"), CONVERTED.values(), ids=CONVERTED.keys())
def test_numbers_sizes_and_times_are_read_as_a_person_reads_them(
    converter: Integer | Size | Seconds, text: str, value: float
) -> None:
    assert converter(plain(text)) == value


@pytest.mark.parametrize(("converter", "text", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_number_size_or_time_is_refused(
    converter: Integer | Size | Seconds, text: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        converter(plain(text))
    assert str(caught.value) == complaint


def test_a_word_is_true_only_where_true_is_one_of_the_words() -> None:
    assert convert(plain("true"), Literal["a", True]) is True
    assert convert(plain("a"), Literal["a", True]) == "a"
    with pytest.raises(ValueError, match="must be a or b"):
        convert(plain("true"), Literal["a", "b"])
    with pytest.raises(ValueError, match="must be a or true"):
        convert(plain("'true'"), Literal["a", True])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "text"),
        (bool, "true or false"),
        (Literal["a"], "a"),
        (Literal["a", "b", False], "a, b or false"),
        (Annotated[int, Integer()], "a whole number"),
        (Annotated[str, to_text], "text"),
    ],
    ids=["text", "bool", "one word", "words", "number", "function"],
)
def test_every_kind_of_value_has_words_for_it(kind: Any, words: str) -> None:
    assert describe(kind) == words


def test_a_hint_is_given_only_for_a_word_that_is_close() -> None:
    assert did_you_mean("polcy", ("policy", "process")) == " (did you mean policy?)"
    assert did_you_mean("zzz", ("policy", "process")) == ""


def test_problems_and_warnings_stand_in_the_order_of_the_file_and_once_each() -> None:
    document = Document("f")
    for place, path, what in (
        (Location("f", 9, 1), "b", "late"),
        (Location("f", 10, 1), "", "last"),
        (Location("f"), "a", "x"),
    ):
        document.add_error(place, path, what)
        document.warn(place, path, what)
    document.add_error(Location("f", 9, 1), "b", "late")
    assert document.problems == document.warnings == ("f: a: x", "f:9:1: b: late", "f:10:1: last")
    assert document.count == 4
    with pytest.raises(ConfigError, match="f:9:1: b: late") as caught:
        document.raise_problems()
    assert caught.value.problems == document.problems


def test_a_document_without_problems_raises_none() -> None:
    document = Document("f")
    document.warn(Location("f"), "a", "perhaps")
    document.raise_problems()


def test_paths_of_options_are_joined_by_dots() -> None:
    assert join("", "a") == "a"
    assert join("a", "b") == "a.b"


UNREADABLE = {
    "empty": (b"", ":1:1: the file is empty"),
    "a comment": (b"# a\n", ":1:1: the file is empty"),
    "not UTF-8": ("a: ü\nü: ".encode() + b"\xe9\n", ":2:4: not UTF-8 text"),
    "control character": (b"a: b\nc: \x07\n", ":2:4: U+0007 may not stand in a YAML file"),
    "syntax": (b"a: b: c\n", ":1:5: mapping values are not allowed here (a text with a colon must be in quotes)"),
    "a text that begins with a sign": (
        b"a: @home\n",
        ":1:4: found character '@' that cannot start any token, while scanning for the next token"
        " (a text that begins with it must be in quotes)",
    ),
    "unknown alias": (b"a: *b\n", ":1:4: found undefined alias 'b'"),
}


@pytest.mark.parametrize(("raw", "problem"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_file_that_cannot_be_read_is_a_document_with_one_problem(raw: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(raw)
    document = read_document(str(path))
    assert document.root is None
    assert document.problems == (f"{path}{problem}",)


def test_a_missing_file_is_a_document_with_one_problem(tmp_path: Path) -> None:
    path = str(tmp_path / "f.yaml")
    assert read_document(path).problems == (f"{path}: cannot be read: No such file or directory",)


def test_a_readable_file_is_a_tree_without_problems(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfinches: 5\r\n")
    document = read_document(str(path))
    assert document.root is not None
    assert Reader(document).read(document.root, Wheel, "") == Wheel(5)
    assert document.problems == ()


@dataclass(frozen=True)
class Shed:
    """A file with one section."""

    wheel: Wheel = field(default_factory=lambda: Wheel(1))
    other: str = ""


OVERRIDDEN = {
    "over a value": ("wheel: {inches: 5, maker: a}", Wheel(5, "b")),
    "beside a value": ("wheel: {inches: 5}", Wheel(5, "b")),
    "over two values": ("wheel: {inches: 5, maker: a, maker: c}", Wheel(5, "b")),
    "over a value that is wrong": ("wheel: {inches: 5, maker: [a]}", Wheel(5, "b")),
}


@pytest.mark.parametrize(("text", "wheel"), OVERRIDDEN.values(), ids=OVERRIDDEN.keys())
def test_an_option_of_the_command_line_replaces_the_files(text: str, wheel: Wheel) -> None:
    document = compose(text)
    set_options(document, {"wheel.maker": ("--maker", "b")})
    assert document.root is not None
    assert Reader(document).read(document.root, Shed, "") == Shed(wheel)
    assert document.problems == ()


@pytest.mark.parametrize("text", ["{other: a, wheel: }", "other: a"], ids=["empty section", "no section"])
def test_an_option_of_the_command_line_needs_no_section_in_the_file(text: str) -> None:
    document = compose(text)
    set_options(document, {"wheel.maker": ("--maker", "no"), "wheel.inches": ("--inches", "5")})
    assert document.root is not None
    Reader(document).read(document.root, Shed, "")
    assert document.problems == ("--inches: wheel.inches: must be a whole number",)  # a text, as quoted


@pytest.mark.parametrize(
    ("text", "problem"),
    [("- a", "cart.yaml:1:1: must be a mapping"), ("wheel: 5", "cart.yaml:1:8: wheel: must be a mapping")],
    ids=["file", "section"],
)
def test_an_option_of_the_command_line_hides_no_problem_of_the_file(text: str, problem: str) -> None:
    document = compose(text)
    set_options(document, {"wheel.maker": ("--maker", "b")})
    assert document.root is not None
    Reader(document).read(document.root, Shed, "")
    assert problem in document.problems


def test_options_over_a_file_that_could_not_be_read_change_nothing() -> None:
    document = Document("f")
    set_options(document, {"wheel.maker": ("--maker", "b")})
    assert document.root is None


@dataclass(frozen=True)
class Count:
    """Has options that cannot be read, beside others, and holds itself."""

    some: int | None
    share: Mapping[str, float]
    names: list[str]
    two: tuple[str, str]
    again: "tuple[Count, ...]"
    good: Cart | Literal["none"] | Annotated[int, Integer()] | bool
    crier: Crier
    computed: int = field(init=False)


def test_types_that_cannot_be_read_are_found_before_anything_is_read() -> None:
    assert list(unsupported_types(Cart)) == []
    assert list(unsupported_types(Count, special=(Shouted,))) == [
        "some: no option can be of type int: use Annotated[int, Integer()]",
        "share: no option can be of type float: use Annotated[float, Seconds()]",
        "names: no option can be of type list[str]",
        "two: no option can be of type tuple[str, str]",
    ]
    assert list(unsupported_types(Crier)) == ["word: no option can be of type Shouted"]


@dataclass(frozen=True)
class Unknown:
    there: "NotHere"  # type: ignore[name-defined]  # noqa: F821


def test_types_that_cannot_be_read_are_told() -> None:
    assert list(unsupported_types(Unknown)) == [
        "the types of its options cannot be read: name 'NotHere' is not defined"
    ]
