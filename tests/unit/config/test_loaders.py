"""libyaml's loader reads a file as PyYAML's own does, or leaves it to that one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerd.config.loaders import DEPTH_MAX, compose_fast, discard, python_loader
from fingerd.errors import ConfigError
from fingerd.settings import read_config
from tests.fuzz.seeds import configurations, corpus, words

LIBYAML = pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML is without libyaml here")

PLAIN = {
    "options": b"listen: ':79'\nbackend: {type: static, users: {bob: Happy!}}\n",
    "a byte order mark": b"\xef\xbb\xbfa: b\r\nc: d\r\n",
    "comments": b"# one\na: b  # two\n",
    "blocks": b"a: |\n  b? c\n  d! e\nf: >-\n  g\n  h\n",
    "a question": b"a: How are you? Fine\nb: {c: 'You? Me'}\n",
    "JSON": b'{"a": ["b", "c? d"], "e": {"f": 1}}',
    "anchors": b"a: &b [c, d]\ne: *b\n",
    "several chunks": b"a:\n" + b"  - some words, and some more\n" * 10_000,
}
# What the loaders read differently, or what only one of them reads.
LEFT = {
    "a tab in a text": b"a: b\tc\n",
    "a tab before a comment": b"a: b \t# c\n",
    "a tab for an indent": b"a:\n\tb: c\n",
    "a tag": b"a: !b c\n",
    "a tag of YAML's": b"a: !!str 5\n",
    "a tag in a list": b"a: [b,!c d]\n",
    "a tag at the beginning": b"!a b",
    "a directive": b"%YAML 1.1\n---\na: b\n",
    "a byte order mark within": b"a: b\xef\xbb\xbfc\n",
    "the line end NEL": b"a: b\xc2\x85c: d\n",
    "the line end LS": "a: b\u2028c: d\n".encode(),
    "no blank before a comment": b"a: |#b\n  c\n",
    "a question in a flow mapping": b"{a: How are you? Fine}",
    "a tag far behind": b"a: b\n" * 20_000 + b"c: !d e\n",
    "nested deeply": b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1),
    "nested beyond any stack": b"[" * 9_000,
    "half of a character": b'a: "\\ud83c"',
    "a character in two escapes": b'a: "\\ud83c\\udf89"',
    "wrong": b"a: b: c\n",
    "empty": b"",
}


def facts(node: yaml.Node, seen: dict[int, int]) -> Iterator[Any]:
    """What the configuration needs of a tree: kinds, tags, texts, quotes, aliases, and places except of empty texts."""
    if (number := seen.setdefault(id(node), len(seen))) < len(seen) - 1:
        yield number
        return
    yield type(node), node.tag
    if not isinstance(node, yaml.ScalarNode) or node.value:
        yield node.start_mark.name, node.start_mark.line, node.start_mark.column
    if not isinstance(node, yaml.CollectionNode):
        yield node.value, isinstance(node, yaml.ScalarNode) and (node.style or "")
        return
    yield bool(node.flow_style), len(node.value)
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            yield from facts(part, seen)


def check_equal(raw: bytes) -> bool:
    """Whether libyaml's loader reads these bytes; then as PyYAML's own does."""
    fast = compose_fast(raw, "f")
    if fast is None:
        return False
    exact = python_loader(raw.decode(), "f").get_single_node()
    assert exact is not None
    assert list(facts(fast, {})) == list(facts(exact, {}))
    return True


@LIBYAML
@pytest.mark.parametrize("raw", PLAIN.values(), ids=PLAIN)
def test_libyaml_s_loader_reads_what_both_read_alike(raw: bytes) -> None:
    assert check_equal(raw)


@pytest.mark.parametrize("raw", LEFT.values(), ids=LEFT)
def test_the_rest_is_left_to_pyyaml_s_own(raw: bytes) -> None:
    assert compose_fast(raw, "f") is None


@pytest.mark.parametrize("size", range(16_380, 16_390))
def test_what_begins_in_one_chunk_and_ends_in_the_next_is_found(size: int) -> None:
    assert compose_fast(b"#" * size + b"\na: !b c\n", "f") is None
    assert compose_fast(b"a: " + b"b" * size + b"\nc: |-2#\n  d\n", "f") is None


def decodable(raw: bytes) -> bool:
    try:
        return bool(raw.decode())
    except UnicodeDecodeError:
        return False


FILES = {title: raw for title, raw in (*corpus("config").items(), *configurations().items()) if decodable(raw)}


@LIBYAML
def test_all_files_of_the_corpus_are_read_alike() -> None:
    fast = [title for title, raw in FILES.items() if check_equal(raw)]
    assert set(configurations()) <= set(fast)
    assert len(fast) > 100


PARTS = st.sampled_from(
    [*words("config"), b"? ", b"!", b"%", b"#", b"[", b"]", b"{", b"}", b", ", b'"a":', b"'b'", b":", b"-", b"|", b"  "]
)


@LIBYAML
@settings(deadline=None)
@given(st.sampled_from([b"", *FILES.values()]), st.integers(0), st.integers(0, 12), st.lists(PARTS, max_size=12))
def test_generated_files_are_read_alike(seed: bytes, where: int, length: int, parts: list[bytes]) -> None:
    start = where % (len(seed) + 1)
    raw = seed[:start] + b"".join(parts) + seed[start + length :]
    if decodable(raw):
        check_equal(raw)


EMPTY_VALUES = [
    "backend: {type: , users: {}}",
    "backend:\n  type:\n  users: {}",
    "? log\nbackend: {type: hold, }",
    "log: {to: , a: }",
]


@LIBYAML
def test_problems_have_the_same_words_and_places_by_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "fingerd.yaml"

    def problems(raw: bytes) -> tuple[str, ...]:
        path.write_bytes(raw)
        try:
            return read_config(str(path), {})[1]
        except ConfigError as error:
            return error.problems

    files = [*FILES.values(), *(text.encode() for text in EMPTY_VALUES)]
    by_libyaml = list(map(problems, files))
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert list(map(problems, files)) == by_libyaml


def test_without_libyaml_pyyaml_s_own_loader_reads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert compose_fast(b"a: b", "f") is None


@pytest.mark.parametrize("text", ["a: [b, {c: [d]}, e]\n", "- &a [b, [*a]]\n", "a: &b {c: *b}\n", "text", ""])
def test_a_tree_is_taken_apart_to_its_last_node(text: str) -> None:
    root = python_loader(text, "f").get_single_node()
    nodes = list(collections_below(root, []))
    discard(root)
    assert [node.value for node in nodes] == [[] for _ in nodes]


def collections_below(node: yaml.Node | None, seen: list[yaml.Node]) -> Iterator[yaml.Node]:
    if not isinstance(node, yaml.CollectionNode) or node in seen:
        return
    seen.append(node)
    yield node
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            yield from collections_below(part, seen)


ESCAPED = {
    "a pair": (r'"\ud83c\udf89"', "\U0001f389"),
    "two pairs": (r'"a\ud83c\udf89b\uD83D\uDE00"', "a\U0001f389b\U0001f600"),
    "a pair and a half": (r'"\ud83c\ud83c\udf89"', "\ud83c\U0001f389"),
    "the wrong way round": (r'"\udf89\ud83c"', "\udf89\ud83c"),
    "apart": (r'"\ud83c \udf89"', "\ud83c \udf89"),
    "in single quotes": (r"'\ud83c\udf89'", r"\ud83c\udf89"),
    "without quotes": (r"\ud83c\udf89", r"\ud83c\udf89"),
    "with escaped backslashes": (r'"\\ud83c\\udf89"', r"\ud83c\udf89"),
}


@pytest.mark.parametrize(("text", "value"), ESCAPED.values(), ids=ESCAPED)
def test_two_escapes_for_a_character_are_that_character(text: str, value: str) -> None:
    for whole, path in ((text, ()), (f"[{text}]", (0,)), (f"{{a: {text}}}", (0, 1)), (f"{{{text}: a}}", (0, 0))):
        node: Any = python_loader(whole, "f").get_single_node()
        for number in path:
            node = node.value[number] if isinstance(node, yaml.Node) else node[number]
        assert node.value == value


# YAML 1.1 allows a key on one line 1,024 characters; one of Python's may be written as twelve.
@given(st.dictionaries(st.text(min_size=1, max_size=80), st.text()))
def test_json_is_read_as_it_was_written(people: dict[str, str]) -> None:
    node: Any = python_loader(json.dumps(people), "f").get_single_node()
    assert {key.value: value.value for key, value in node.value} == people
