"""Nodes to dataclasses: which values each type accepts, and the problems with all others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pytest
import yaml

from fingerd.config.schema import INVALID, Reader, unsupported_types
from fingerd.config.values import Integer, Size, read_scalar
from fingerd.errors import ConfigError, OptionError
from tests.helpers.documents import compose


@dataclass(frozen=True)
class Wheel:
    """A mapping with a required option."""

    inches: Annotated[int, Integer(1, 30)]
    maker: str = "unknown"


@dataclass(frozen=True)
class Cart:
    """A field of every supported type."""

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
    return reader.fail(node, path, "must be a word") if scalar is None else scalar.text.upper()


class Shouted:
    """A type with a custom reader."""


@dataclass(frozen=True)
class Crier:
    """Has an option with a custom reader."""

    word: Shouted


def read(kind: Any, text: str) -> Any:
    """The value of a text; raises ConfigError with its problems."""
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
        ["1:11: 1: YAML reads this as a number; to mean the text, put it in quotes"],
    ),
    "a key that is a list": ("{name: a, [b]: c}", ["1:11: a key must be text (merge keys and tags are not supported)"]),
    "a merge key": (
        "{name: a, prices: {<<: {b: 1}}}",
        ["1:20: prices: a key must be text (merge keys and tags are not supported)"],
    ),
    "an equals sign where a text should be": (
        "name: =",
        ["1:7: name: must be text; to mean this sign, put it in quotes"],
    ),
    "the sign of a merge where a text should be": (
        "name: <<",
        ["1:7: name: must be text; to mean this sign, put it in quotes"],
    ),
    "an equals sign in a list": (
        "{name: a, stops: [b, =]}",
        ["1:22: stops[1]: must be text; to mean this sign, put it in quotes"],
    ),
    "an equals sign as a key": ("{name: a, prices: {=: 1}}", ["1:20: prices: a key must be text (put = in quotes)"]),
    "a list where a text should be": ("name: [a]", ["1:7: name: must be text"]),
    "a mapping where a text should be": ("name: {a: b}", ["1:7: name: must be text"]),
    "a text in braces": ("name: {user}", ["1:7: name: must be text; to mean a text in braces, put it in quotes"]),
    "an unknown tag": ("name: !mine a", ["1:7: name: unknown tag (quote a text that begins with !)"]),
    "a tag on a list": (
        "{name: a, stops: !!set [a]}",
        ["1:18: stops: unknown tag (quote a text that begins with !)"],
    ),
    "a tag that the text does not fit": ("{name: a, old: !!bool perhaps}", ["1:16: old: must be true or false"]),
    "a list where a size should be": (
        "{name: a, load: [1]}",
        ["1:17: load: must be a size in bytes, as 65536 or 64KiB"],
    ),
    "a text where true or false should be": (
        "{name: a, old: 'yes'}",
        ["1:16: old: must be true or false, without quotes"],
    ),
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
            "1:22: stops[1]: YAML reads this as true or false; to mean the text, put it in quotes",
            "1:26: stops[2]: YAML reads this as a number; to mean the text, put it in quotes",
        ],
    ),
    "one bad value instead of a list": (
        "{name: a, stops: 5}",
        ["1:18: stops: YAML reads this as a number; to mean the text, put it in quotes"],
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
    "a recursive list": ("{name: a, stops: &s [b, *s]}", ["1:18: stops[1]: recursive alias"]),
    "a recursive mapping": (
        "{name: a, prices: &p {b: *p}}",
        ["1:19: prices.b: recursive alias"],
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
def test_a_mapping_is_read_as_a_dataclass(text: str, cart: Cart) -> None:
    assert read(Cart, text) == cart


@pytest.mark.parametrize(("text", "expected"), BROKEN_CARTS.values(), ids=BROKEN_CARTS.keys())
def test_every_problem_has_its_location_and_option(text: str, expected: list[str]) -> None:
    assert problems(Cart, text) == expected


def test_a_mapping_is_immutable() -> None:
    assert isinstance(read(Cart, "{name: a, prices: {b: 1}}").prices, MappingProxyType)


def test_a_custom_reader_reads_its_type() -> None:
    assert read(Crier, "word: hear") == Crier("HEAR")  # type: ignore[arg-type]  # the custom reader returns a str
    assert problems(Crier, "word: [hear]") == ["1:7: word: must be a word"]


def test_extra_keys_are_not_unknown_options() -> None:
    document = compose("{type: x, inches: 5}")
    assert document.root is not None
    assert Reader(document).read_fields(document.root, Wheel, "wheel", extra_keys=("type",)) == Wheel(5)
    assert document.problems == ()


def test_null_is_a_dataclass_only_if_all_its_options_have_defaults() -> None:
    assert problems(Wheel, "~") == ["1:1: inches: required, but not given"]


def test_a_dataclass_has_the_origin_of_its_node_and_its_options_have_theirs() -> None:
    document = compose("{name: a, wheels: [{inches: 20}, {inches: 20, maker: b}]}")
    assert document.root is not None
    reader = Reader(document)
    cart = reader.read(document.root, Cart, "cart")
    assert [where(reader, wheel) for wheel in cart.wheels] == [(20, "cart.wheels[0]"), (34, "cart.wheels[1]")]
    assert where(reader, cart, "wheels") == (19, "cart.wheels")
    assert where(reader, cart.wheels[1], "maker") == (54, "cart.wheels[1].maker")
    assert where(reader, cart.wheels[0], "maker") == (20, "cart.wheels[0].maker")  # a default: the mapping's
    assert list(reader.values_of(Wheel)) == list(cart.wheels)
    with pytest.raises(KeyError):
        reader.origin_of(Wheel(20))  # equal, but not read


def where(reader: Reader, value: Any, *keys: str) -> tuple[int, str]:
    """The column and the path of a value's origin."""
    node, path = reader.origin_of(value, *keys)
    return node.start_mark.column + 1, path


@dataclass(frozen=True)
class Count:
    """Has options of supported and unsupported types, and is recursive."""

    some: int | None
    share: Mapping[str, float]
    names: list[str]
    two: tuple[str, str]
    again: "tuple[Count, ...]"
    good: Cart | Literal["none"] | Annotated[int, Integer()] | bool
    crier: Crier
    computed: int = field(init=False)


def test_unsupported_types_are_listed_without_reading_a_value() -> None:
    assert list(unsupported_types(Cart)) == []
    assert list(unsupported_types(Count, custom=(Shouted,))) == [
        "some: no option can be of type int: use Annotated[int, Integer()]",
        "share: no option can be of type float: use Annotated[float, Seconds()]",
        "names: no option can be of type list[str]",
        "two: no option can be of type tuple[str, str]",
    ]
    assert list(unsupported_types(Crier)) == ["word: no option can be of type Shouted"]


@dataclass(frozen=True)
class Unknown:
    there: "NotHere"  # type: ignore[name-defined]  # noqa: F821


def test_types_that_cannot_be_evaluated_are_reported() -> None:
    assert list(unsupported_types(Unknown)) == [
        "the types of its options cannot be read: name 'NotHere' is not defined"
    ]
