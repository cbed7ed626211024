"""Plain YAML values: what YAML 1.1 takes them for, and what an option makes of them.

YAML 1.1 has traps: ``no`` is false, ``22:30`` is 1350, ``0o27`` is a text and
``027`` is 23. An option that wants a text complains of all of them and says to
quote; one that wants a number takes only what reads as that number to a person.
"""

import dataclasses
import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import yaml


class Scalar(NamedTuple):
    """One plain value: its text, the kind of value that YAML takes it for, and whether it was quoted."""

    text: str
    kind: str  # "text", "a number", "true or false", "nothing" or "a date"
    quoted: bool
    value: Any  # of a number or a boolean, else None


_KINDS = {
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
}


_DIGITS = "(?:0|[1-9][0-9_]{0,30})"  # of which int() takes no more than 4,300


def read_scalar(node: yaml.Node) -> Scalar | None:
    """The plain value that the node holds; None for a list, a mapping, or a tag that is not YAML's own."""
    kind = _KINDS.get(node.tag)
    if not isinstance(node, yaml.ScalarNode) or kind is None:
        return None
    value = None
    if kind in ("a number", "true or false"):
        try:
            value = yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, KeyError, IndexError, OverflowError):  # !!int ten, or 1:1:…:1.5 without end
            return None
    return Scalar(node.value, kind, node.style is not None, value)


def to_text(scalar: Scalar) -> str:
    """The text, where YAML reads it as one too; ValueError for the words that mean something else there."""
    if scalar.kind != "text":
        quote = f'to mean the text, quote it: "{scalar.text}"'
        raise ValueError(f"YAML reads {scalar.text or 'an empty value'} as {scalar.kind}; {quote}")
    if not scalar.quoted and re.fullmatch("0o[0-9]+", scalar.text):
        raise ValueError(f'YAML readers differ about {scalar.text}; quote it: "{scalar.text}"')
    return scalar.text


@dataclasses.dataclass(frozen=True)
class Integer:
    """Makes a whole number from ``minimum`` to ``maximum`` of a scalar."""

    minimum: int = 0
    maximum: int = 1_000_000
    zero_means: str = ""  # what 0 means, where it is more than a number
    type_name = "a whole number"

    def __call__(self, scalar: Scalar) -> int:
        """The number; ValueError for a fraction, a word, or a number that YAML reads otherwise than a person does."""
        if scalar.quoted or scalar.kind != "a number" or not re.fullmatch(rf"[+-]?{_DIGITS}", scalar.text):
            raise ValueError(f"must be a whole number{_read_as(scalar)}")
        return int(_within(int(scalar.text.replace("_", "")), self.minimum, self.maximum))


@dataclasses.dataclass(frozen=True)
class Size:
    """Makes bytes of a scalar: a whole number of them, or ``64KiB``, ``1MiB``, ``1GiB``."""

    minimum: int = 1
    maximum: int = 1 << 30
    zero_means: str = ""  # what 0 means, where it is more than a size
    type_name = "a size in bytes, as 65536 or 64KiB"

    def __call__(self, scalar: Scalar) -> int:
        """The number of bytes; ValueError for what is no size, or out of bounds."""
        match = re.fullmatch(rf"({_DIGITS}) ?([KMG]iB)?", scalar.text)
        if not match:
            raise ValueError(f"must be {self.type_name}{_read_as(scalar)}")
        factor = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[match[2]]
        return int(_within(int(match[1].replace("_", "")) * factor, self.minimum, self.maximum))


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Makes seconds of a scalar: a number of them, or ``10s``, ``5m``, ``2h``; at most a year."""

    minimum: float = 0.0
    maximum: float = 31_536_000.0
    type_name = "a time, as 10, 10s, 5m or 2h"

    def __call__(self, scalar: Scalar) -> float:
        """The number of seconds; ValueError for what is no time, or out of bounds."""
        match = re.fullmatch(rf"({_DIGITS}(?:\.[0-9]+)?) ?([smh])?", scalar.text)
        if not match:
            raise ValueError(f"must be {self.type_name}{_read_as(scalar)}")
        factor = {None: 1, "s": 1, "m": 60, "h": 3600}[match[2]]
        return _within(float(match[1].replace("_", "")) * factor, self.minimum, self.maximum)


def _within(number: float, minimum: float, maximum: float) -> float:
    if not minimum <= number <= maximum:
        raise ValueError(f"must be from {minimum:,.10g} to {maximum:,.10g}")
    return number


def _read_as(scalar: Scalar) -> str:
    """A word of warning where YAML takes a number for another one, as it does with 010 and 1:30."""
    digits = re.fullmatch("[-+]?[0-9][0-9a-fxA-FX_:.]*", scalar.text)
    if digits and scalar.kind == "a number" and not scalar.quoted and scalar.value != _number(scalar.text):
        return f" (YAML reads {scalar.text} as {scalar.value})" if abs(scalar.value) < 1e19 else ""
    return ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def convert(scalar: Scalar, kind: Any) -> Any:
    """The scalar as ``kind``: str, bool, a Literal or an Annotated type; ValueError with the complaint."""
    if get_origin(kind) is Annotated:
        return get_args(kind)[1](scalar)
    if get_origin(kind) is Literal:
        words = get_args(kind)
        value = scalar.value if scalar.kind == "true or false" else scalar.text
        if not any(value == word and type(value) is type(word) for word in words):
            raise ValueError(f"must be {describe(kind)}{did_you_mean(scalar.text, filter(_is_text, words))}")
        return value
    if kind is bool:
        if scalar.kind != "true or false":
            raise ValueError("must be true or false")
        return scalar.value
    return to_text(scalar)


def describe(kind: Any) -> str:
    """In words, what a value of this type looks like."""
    if get_origin(kind) is Annotated:
        return str(getattr(get_args(kind)[1], "type_name", "text"))
    if get_origin(kind) is Literal:
        *words, last = (str(word).lower() if isinstance(word, bool) else word for word in get_args(kind))
        return f"{', '.join(words)} or {last}" if words else last
    return "true or false" if kind is bool else "text"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the one of the words that is most like this one, or nothing."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def unknown_placeholders(text: str, words: Collection[str]) -> Iterator[str]:
    """A doubt about each ``{word}`` of the text that is almost one of the words which are replaced there."""
    for word in re.findall(r"\{([A-Za-z_]+)\}", text):
        if word not in words and (hint := did_you_mean(word, words)):
            yield f"{{{word}}} is told as it is{hint}"


def _is_text(word: object) -> bool:
    return isinstance(word, str)
