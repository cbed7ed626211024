"""Errors of YAML say in plain words what to do, and show nothing of the file."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.config.loaders import python_loader
from fingerd.config.yaml_errors import NOT_YAML, explain
from tests.fuzz.seeds import corpus, words

COLON = "a colon is not allowed here: quote a text that has one, or correct the indentation or the line before"
FOLLOWS = "nothing may follow a closing quote or bracket: put the whole text in quotes (and a ' within ' twice)"
TAB = "a tab is not allowed here: indent with spaces"
CHARACTER = "a text cannot begin with this character: put it in quotes"

ERRORS = {
    # indentation
    "an option too far to the left": (
        "a:\n  b: c\n d: e",
        "wrong indentation: not in one column with line 1, where this block begins; indent with spaces",
    ),
    "a list beside options": (
        "a: b\n- c",
        "wrong indentation: not in one column with line 1, where this block begins; indent with spaces",
    ),
    "options beside a list": (
        "- a\nb: c",
        "wrong indentation: not in one column with line 1, where this block begins; indent with spaces",
    ),
    "an option too far to the right": ("a: b\n  c: d", COLON),
    "a tab for an indent": ("a:\n\tb: c", TAB),
    "a tab before a value": ("a: \tb", TAB),
    "a tab within an indent": ("a:\n  \tb: c\n", TAB),
    # quotes
    "a double quote that is not closed": ('a: "b\nc: d', "the quote opened in line 1 is never closed"),
    "a single quote that is not closed": ("a: b\nc: 'd\n", "the quote opened in line 2 is never closed"),
    "a quote before a line of dashes": ('a: "b\n---\nc"', "the quote opened in line 1 is never closed"),
    "an apostrophe in single quotes": ("a: 'it's'", FOLLOWS),
    "a text after a quote": ("a: 'b' c", FOLLOWS),
    "a list of quoted texts": ("a: 'b', 'c'", FOLLOWS),
    "a backslash in double quotes": ('a: "\\d"', "unknown escape: write \\\\ for a backslash, or use single quotes"),
    "half an escape": ('a: "\\xZ"', "unknown escape: write \\\\ for a backslash, or use single quotes"),
    # texts that need quotes
    "a colon in a text": ("a: b: c", COLON),
    "an at sign": ("a: @b", CHARACTER),
    "a backtick": ("a: `b", CHARACTER),
    "a percent sign": ("a: %b", CHARACTER),
    "a dash": ("a: - b", "a list begins in a line of its own: put a text that begins with - in quotes"),
    "a question mark": ("a: ? b", "no key is allowed here: put a text that begins with ? in quotes"),
    "a star": ("a: *b", "no anchor has this name: put a text that begins with * in quotes"),
    "a star alone": ("a: * b", "an alias needs a name: put a text that begins with * in quotes"),
    "an ampersand": ("a: & b", "an anchor needs a name: put a text that begins with & in quotes"),
    "an exclamation mark": ("a: !b!c d", "unknown tag: put a text that begins with ! in quotes"),
    "a tag that is not closed": ("a: !<b c", "not a tag: put a text that begins with ! in quotes"),
    "a tag with half an escape": ("a: !%zz b", "not a tag: put a text that begins with ! in quotes"),
    "a bar": (
        "a: |b",
        "after | or > the text begins in the next line: put a text that begins with it in quotes",
    ),
    "an arrow": (
        "a: >0\n  c",
        "after | or > the text begins in the next line: put a text that begins with it in quotes",
    ),
    "a comma": ("a: , b", "a value is missing here: put a text that begins with this in quotes"),
    # what is missing, or too much
    "no space after a colon": ("a:\n  bob:Happy\n  al: b", COLON),
    "no colon": (
        "a: b\nc\nd: e",
        "the key in line 2 has no colon: write KEY: VALUE, with a space, or correct the indentation",
    ),
    "a brace that is not closed": (
        "a: {b: c",
        "before this, a comma is missing, or the end of the brace opened in line 1",
    ),
    "a bracket that is not closed": (
        "a: [b\n",
        "before this, a comma is missing, or the end of the bracket opened in line 1",
    ),
    "no comma": (
        "a: {b: 'c' d: e}",
        "before this, a comma is missing, or the end of the brace opened in line 1",
    ),
    "a bracket too many": ("a: [b]]", "nothing was opened that this could close"),
    "a text after the document": (
        '"a" b',
        "nothing may follow here: correct the indentation, or put the whole text in quotes",
    ),
    "two documents": ("a: b\n---\nc: d", "a second document begins here, and only one is allowed: remove this line"),
    "an anchor twice": ("a: &x b\nc: &x d", "this anchor is given twice, first in line 1"),
    "a version to come": ("%YAML 2.0\n---\na", "remove this directive"),
    "a directive twice": ("%TAG ! a\n%TAG ! b\n---\na", "remove this directive"),
    "no version": ("%YAML x\n---\na", "no such directive: put a text that begins with % in quotes"),
}


@pytest.mark.parametrize(("text", "words"), ERRORS.values(), ids=ERRORS)
def test_an_error_says_what_to_do(text: str, words: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        python_loader(text, "f").get_single_node()
    assert explain(caught.value) == words


def explained(text: str) -> str | None:
    """The words for the error of this text; None if there is none of PyYAML's with a place."""
    try:
        python_loader(text, "f").get_single_node()
    except yaml.MarkedYAMLError as error:
        return explain(error)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        return None
    return None


def test_there_are_words_for_all_errors_of_the_corpus() -> None:
    found = [explained(raw.decode(errors="replace")) for raw in corpus("config").values()]
    assert NOT_YAML not in found
    assert len(set(found)) > 5


@settings(deadline=None)
@given(st.lists(st.sampled_from([word.decode() for word in words("config")]), max_size=12))
def test_there_are_words_for_all_errors_of_generated_files(parts: list[str]) -> None:
    assert explained("".join(parts)) != NOT_YAML


def test_an_error_that_pyyaml_has_not_today_is_told_without_its_words() -> None:
    assert explain(yaml.MarkedYAMLError("while doing", None, "found 's3cr3t'", None)) == NOT_YAML
