"""YAML scalars: how YAML 1.1 reads them, and their conversion to the value of an option.

In YAML 1.1, ``no`` is false, ``22:30`` is 1350, ``0o27`` is a text and ``027`` is 23. A text option rejects all of
these and says to quote them; a number option accepts only what people read as the same number.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, get_args, get_origin

import yaml

from fingerd.net.addresses import parse_host_name
from fingerd.text import is_text


class Scalar(NamedTuple):
    """A scalar of a file: its text, the kind of value as which YAML reads it, and whether it is quoted."""

    text: str
    kind: str  # "text", "a number", "true or false", "null" or "a date"
    quoted: bool
    value: Any  # the number or boolean, None for other kinds


_KINDS = {
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:timestamp": "a date",
}
_BOOLEANS = yaml.constructor.SafeConstructor.bool_values  # by their words, in lower case
_DIGITS = "(?:0|[1-9][0-9_]{0,30})"  # int() raises for more than 4,300 digits

Convert = TypeVar("Convert", bound=Callable[[Scalar], Any])


def named(type_name: str) -> Callable[[Convert], Convert]:
    """Decorate a converter with the name of its type, as in fingerd.yaml(5) and ``fingerd --backends``."""

    def decorate(converter: Convert) -> Convert:
        converter.__dict__["type_name"] = type_name
        return converter

    return decorate


def is_sign(node: yaml.Node) -> bool:
    """Whether YAML reads the text as a sign: ``=``, or ``<<``, which have a meaning as keys."""
    return node.tag in ("tag:yaml.org,2002:value", "tag:yaml.org,2002:merge")


def read_scalar(node: yaml.Node) -> Scalar | None:
    """The scalar of the node; None for a list, a mapping, an application's tag, or a text that its tag rejects."""
    kind = _KINDS.get(node.tag)
    if not isinstance(node, yaml.ScalarNode) or kind is None:
        return None
    value = None
    if kind in ("a number", "true or false"):
        try:
            value = yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, KeyError, IndexError, OverflowError):  # !!int ten, or 1:1:…:1.5 with many colons
            return None
    return Scalar(node.value, kind, bool(node.style), value)  # "" or None if it is not quoted, by the loader


def to_text(scalar: Scalar) -> str:
    """The text of a scalar that YAML reads as text; ValueError, which does not show it, for any other kind."""
    if scalar.kind != "text":
        what = "this" if scalar.text else "an empty value"
        raise ValueError(f"YAML reads {what} as {scalar.kind}; to mean the text, put it in quotes")
    if scalar.text.startswith("0o") and not scalar.quoted and re.fullmatch("0o[0-9]+", scalar.text):
        raise ValueError("YAML readers differ about octal numbers; put it in quotes")
    if not is_text(scalar.text):
        raise ValueError(r"has half of a character: of the escapes \ud800 to \udfff, two in a row are one")
    return scalar.text


@dataclasses.dataclass(frozen=True)
class _Number:
    """Converts a scalar to a number from ``minimum`` to ``maximum``; ValueError for other forms, and out of range."""

    minimum: float
    maximum: float
    zero_means: str = ""  # the special meaning of 0, if it has one
    type_name: ClassVar[str]
    form: ClassVar[str]
    pattern: ClassVar[str]
    units: ClassVar[Mapping[str, int]] = {}
    kind: ClassVar[type[float]] = int

    def __call__(self, scalar: Scalar) -> Any:
        match = re.fullmatch(rf"({self.pattern}) ?({'|'.join(self.units)})?", scalar.text)
        if not match or not (self.units or (scalar.kind == "a number" and not scalar.quoted)):
            unquoted = ", without quotes" if match and scalar.quoted else ""
            raise ValueError(f"must be {self.form}{unquoted}{_read_as(scalar)}")
        number = float(match[1].replace("_", "")) * self.units.get(match[2], 1)
        if not self.minimum <= number <= self.maximum:
            raise ValueError(f"must be from {self.minimum:,.10g} to {self.maximum:,.10g}")
        return self.kind(number)


@dataclasses.dataclass(frozen=True)
class Integer(_Number):
    """Converts a scalar to a whole number, which must not be in quotes."""

    minimum: float = 0
    maximum: float = 1_000_000
    type_name = "number"
    form = "a whole number"
    pattern = f"[+-]?{_DIGITS}"


@dataclasses.dataclass(frozen=True)
class Size(_Number):
    """Converts a scalar to a number of bytes: a whole number, ``64KiB``, ``1MiB`` or ``1GiB``."""

    minimum: float = 1
    maximum: float = 1 << 30
    type_name = "size"
    form = "a size in bytes, as 65536 or 64KiB"
    pattern = _DIGITS
    units: ClassVar[Mapping[str, int]] = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclasses.dataclass(frozen=True)
class Seconds(_Number):
    """Converts a scalar to seconds: a number, ``10s``, ``5m`` or ``2h``; at most a year by default."""

    minimum: float = 0.0
    maximum: float = 31_536_000.0
    type_name = "time"
    form = "a time, as 10, 10s, 5m or 2h"
    pattern = rf"{_DIGITS}(?:\.[0-9]+)?"
    units: ClassVar[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600}
    kind = float


def _read_as(scalar: Scalar) -> str:
    """A hint if YAML reads the digits as another number, as 010 and 1:30; else empty."""
    other_base = re.fullmatch("[-+]?(0[0-9a-fxA-FX_]+|[0-9_.]+:[0-9_:.]+)", scalar.text)
    if other_base and scalar.kind == "a number" and not scalar.quoted and abs(scalar.value) < 1e19:
        return f" (YAML reads {scalar.text} as {scalar.value})"
    return ""


def convert(scalar: Scalar, kind: Any) -> Any:
    """Convert the scalar to ``kind``: str, bool, a Literal or an Annotated type. ValueError says what is wrong."""
    if get_origin(kind) is Annotated:
        return get_args(kind)[1](scalar)
    if get_origin(kind) is Literal:
        words = get_args(kind)
        value = scalar.value if scalar.kind == "true or false" else scalar.text
        if not any(value == word and type(value) is type(word) for word in words):
            hint = did_you_mean(scalar.text, (word for word in words if isinstance(word, str)))
            if scalar.quoted and scalar.text in [str(word).lower() for word in words if isinstance(word, bool)]:
                hint = ", without quotes"
            raise ValueError(f"must be {describe(kind)}{hint}")
        return value
    if kind is bool:
        if scalar.kind != "true or false":
            unquoted = ", without quotes" if scalar.quoted and scalar.text.lower() in _BOOLEANS else ""
            raise ValueError(f"must be true or false{unquoted}")
        return scalar.value
    return to_text(scalar)


def describe(kind: Any) -> str:
    """The form of a value of this type, in words that follow "must be"."""
    if get_origin(kind) is Annotated:
        converter = get_args(kind)[1]
        type_name = getattr(converter, "type_name", "")
        return str(getattr(converter, "form", f"a {type_name}" if type_name else "text"))
    if get_origin(kind) is Literal:
        *words, last = (str(word).lower() if isinstance(word, bool) else word for word in get_args(kind))
        return f"{', '.join(words)} or {last}" if words else last
    return "true or false" if kind is bool else "text"


@named("host name")
def read_host_name(scalar: Scalar) -> str:
    """A host name in ASCII and lower case; ValueError for any other text."""
    text = to_text(scalar)
    try:
        return parse_host_name(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a host name") from None


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the closest match of the words; empty if none is close."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def unknown_placeholders(text: str, words: Collection[str]) -> Iterator[str]:
    """A warning for each ``{word}`` of the text that closely matches one of the placeholders ``words``."""
    for word in re.findall(r"\{([A-Za-z_]+)\}", text):
        if word not in words and (hint := did_you_mean(word, words)):
            yield f"{{{word}}} is not a placeholder{hint}"
