"""YAML scalars: how YAML reads them, and which ones each converter accepts."""

from typing import Annotated, Any, Literal

import pytest

from fingerd.config.system_options import SecretFile, read_mode, read_path
from fingerd.config.values import Integer, Scalar, Seconds, Size, convert, describe, did_you_mean, read_scalar, to_text
from tests.helpers.documents import compose


def scalar_of(text: str) -> Scalar:
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
    "null": ("~", "null", False, None),
    "date": ("2024-01-01", "a date", False, None),
    "base 60": ("22:30", "a number", False, 1350),
    "base 8": ("027", "a number", False, 23),
}


@pytest.mark.parametrize(("text", "kind", "quoted", "value"), SCALARS.values(), ids=SCALARS.keys())
def test_a_scalar_has_the_kind_as_which_yaml_reads_it(text: str, kind: str, quoted: bool, value: object) -> None:
    assert scalar_of(text)[1:] == (kind, quoted, value)


@pytest.mark.parametrize("text", ["[a]", "{a: b}", "!mine a", "!!int ten", "!!bool perhaps", "!!binary aGk="])
def test_any_other_node_is_not_a_scalar(text: str) -> None:
    node = compose(text).root
    assert node is not None
    assert read_scalar(node) is None


TRAPS = {
    "no": ("no", "YAML reads this as true or false; to mean the text, put it in quotes"),
    "number": ("5", "YAML reads this as a number; to mean the text, put it in quotes"),
    "time": ("22:30", "YAML reads this as a number; to mean the text, put it in quotes"),
    "date": ("2024-01-01", "YAML reads this as a date; to mean the text, put it in quotes"),
    "tilde": ("~", "YAML reads this as null; to mean the text, put it in quotes"),
    "octal": ("0o27", "YAML readers differ about octal numbers; put it in quotes"),
}


@pytest.mark.parametrize(("text", "problem"), TRAPS.values(), ids=TRAPS.keys())
def test_a_scalar_of_another_kind_is_a_text_only_in_quotes(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="in quotes") as caught:
        to_text(scalar_of(text))
    assert str(caught.value) == problem
    assert to_text(scalar_of(f'"{text}"')) == text


CONVERTED = {
    "whole": (Integer(), "5", 5),
    "whole with a sign": (Integer(-5), "-5", -5),
    "whole with underscores": (Integer(), "1_000", 1000),
    "zero": (Integer(), "0", 0),
    "bytes": (Size(), "65536", 65536),
    "KiB": (Size(), "64KiB", 65536),
    "a space before the unit": (Size(), "64 KiB", 65536),
    "MiB": (Size(), "2MiB", 2 << 20),
    "GiB": (Size(), "1GiB", 1 << 30),
    "quoted size": (Size(), "'64KiB'", 65536),
    "seconds": (Seconds(), "10", 10),
    "a fraction of a second": (Seconds(), "0.5", 0.5),
    "s": (Seconds(), "10s", 10),
    "m": (Seconds(), "5m", 300),
    "h": (Seconds(), "2h", 7200),
    "a fraction of an hour": (Seconds(), "1.5h", 5400),
    "a space before m": (Seconds(), "5 m", 300),
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
    "empty": (Seconds(), "''", "must be a time, as 10, 10s, 5m or 2h"),
}


@pytest.mark.parametrize(("converter", "text", "value"), CONVERTED.values(), ids=CONVERTED.keys())
def test_numbers_sizes_and_times_are_converted(converter: Integer | Size | Seconds, text: str, value: float) -> None:
    assert converter(scalar_of(text)) == value


@pytest.mark.parametrize(("converter", "text", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_any_other_number_size_or_time_is_refused(converter: Integer | Size | Seconds, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        converter(scalar_of(text))
    assert str(caught.value) == problem


def test_a_word_is_true_only_if_true_is_one_of_the_words() -> None:
    assert convert(scalar_of("true"), Literal["a", True]) is True
    assert convert(scalar_of("a"), Literal["a", True]) == "a"
    with pytest.raises(ValueError, match="must be a or b"):
        convert(scalar_of("true"), Literal["a", "b"])
    with pytest.raises(ValueError, match="must be a or true"):
        convert(scalar_of("'true'"), Literal["a", True])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "text"),
        (bool, "true or false"),
        (Literal["a"], "a"),
        (Literal["a", "b", False], "a, b or false"),
        (Annotated[int, Integer()], "a whole number"),
        (Annotated[str, to_text], "text"),
        (Annotated[int, read_mode], "a mode"),
        (Annotated[str, read_path], "a path"),
        (SecretFile, "a path"),
    ],
    ids=["text", "bool", "one word", "words", "number", "function", "mode", "path", "secret"],
)
def test_every_type_is_described(kind: Any, words: str) -> None:
    assert describe(kind) == words


def test_only_a_close_match_is_suggested() -> None:
    assert did_you_mean("polcy", ("policy", "process")) == " (did you mean policy?)"
    assert did_you_mean("zzz", ("policy", "process")) == ""


@pytest.mark.parametrize("text", [r'"\ud83c"', r'"a\udf89b"', r'"\udf89\ud83c"', r'"\ud83c \udf89"'])
def test_half_of_a_character_is_no_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"^has half of a character: .* two in a row are one$"):
        to_text(scalar_of(text))


WITHOUT_QUOTES = [
    (Annotated[int, Integer()], "'100'", "must be a whole number, without quotes"),
    (Annotated[int, Integer()], "'ten'", "must be a whole number"),
    (Annotated[int, Integer(0, 5)], '"100"', "must be a whole number, without quotes"),
    (bool, "'true'", "must be true or false, without quotes"),
    (bool, '"No"', "must be true or false, without quotes"),
    (bool, "'perhaps'", "must be true or false"),
    (Literal[False, True, "silently"], "'true'", "must be false, true or silently, without quotes"),
    (Literal[False, True, "silently"], "'silent'", "must be false, true or silently (did you mean silently?)"),
]


@pytest.mark.parametrize(("kind", "text", "problem"), WITHOUT_QUOTES)
def test_a_value_in_quotes_that_must_have_none_is_told_so(kind: Any, text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
        convert(scalar_of(text), kind)
    assert str(caught.value) == problem
