"""What messages show of options that may hold a secret."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, get_type_hints

import pytest
import yaml

from fingerd.config.redaction import is_braced, is_name, may_be_secret, redact, redact_exception
from fingerd.config.system_options import SecretFile, read_path


@dataclass
class Options:
    """Options that may hold a secret, and others."""

    declared: str = field(default="", repr=False)
    url: str = ""
    api_token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    password_file: SecretFile | None = None
    password_env: str = ""
    certificate: Annotated[str, read_path] = field(default="", repr=False)
    name: str = ""
    keyboard: str = ""


def test_an_option_may_hold_a_secret_by_its_declaration_or_its_name() -> None:
    hints = get_type_hints(Options, include_extras=True)
    secrets = [each.name for each in dataclasses.fields(Options) if may_be_secret(each, hints[each.name])]
    assert secrets == ["declared", "url", "api_token", "headers"]


def node_of(text: str) -> yaml.Node:
    node = yaml.compose(text, yaml.SafeLoader)
    assert node is not None
    return node


REDACTED = {
    "a text": ("abc", "no abc here", "no *** here"),
    "a short text": ("ab", "no ab here", "no ab here"),
    "values of a mapping": ("{A: secret, B: other}", "A is secret, B is other", "A is ***, B is ***"),
    "a key that is no name": ("{A=secret: }", "A=secret is no name", "*** is no name"),
    "a quoted text": ('"a\\tb"', "no 'a\\tb'", "no '***'"),
    "the longest first": ("[abc, abcdef]", "abcdef and abc", "*** and ***"),
    "an address": ("http://host/", "must begin with http:// and host", "must begin with http:// and host"),
    "a password of an address": ("http://user:pass@host/", "no port 'pass' of host", "no port '***' of host"),
    "a password that was split": ("http://user:pa/ss@host/", "no port 'pass'", "no port 'pass'"),
    "the query of an address": ("http://host/?key=abc", "no key=abc", "no ***"),
    "an alias of itself": ("&a [*a, secret]", "secret", "***"),
}


@pytest.mark.parametrize(("text", "message", "redacted"), REDACTED.values(), ids=REDACTED)
def test_texts_of_the_nodes_are_masked(text: str, message: str, redacted: str) -> None:
    assert redact(message, [node_of(text)]) == redacted


def test_an_exception_and_its_causes_are_redacted() -> None:
    error, cause = KeyError("a secret"), ValueError("secret of the cause", 5)
    error.__cause__ = cause
    cause.__context__ = error
    redact_exception(error, [node_of("secret")])
    assert error.args == ("a ***",)
    assert cause.args == ("*** of the cause", 5)


def test_a_value_in_the_place_of_a_key_is_no_name() -> None:
    keys = {"TOKEN": "x", "X-Token": "''", "TOKEN=secret": "x", "secret": "", "a b": "x", "": "x"}
    assert [key for key, value in keys.items() if is_name(key, node_of(f"[{value}]").value[0] if value else EMPTY)] == [
        "TOKEN",
        "X-Token",
    ]


EMPTY = yaml.ScalarNode("tag:yaml.org,2002:null", "", None, None, None)


@pytest.mark.parametrize(("text", "braced"), [("{user}", True), ("{a: b}", False), ("a: ", False), ("[a]", False)])
def test_a_text_in_braces_is_recognized(text: str, braced: bool) -> None:
    assert is_braced(node_of(text)) == braced
